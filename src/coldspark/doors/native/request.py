"""One request to the API: who asks, with which parameters, and how it is answered."""

import re
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coldspark.doors.door import DoorDependencies
from coldspark.doors.native import strict_json
from coldspark.errors import BodyTooLarge, InvalidRequest
from coldspark.http.auth.scopes import KeyAction, is_allowed
from coldspark.platform.ports import Key
from coldspark.spec.types import EndpointName

T = TypeVar("T")

BODY_BYTES_MAX = 1024 * 1024
_TRUE, _FALSE = ("true", "1", "yes", ""), ("false", "0", "no")
_NUMBER = re.compile(r"\d{1,18}")


@dataclass(frozen=True, slots=True)
class NativeRequest:
    """A request whose caller is known."""

    app_state: DoorDependencies
    request: Request
    key: Key | None

    @property
    def endpoint(self) -> EndpointName:
        """Return the endpoint that the path names."""
        return EndpointName(self.request.path_params["name"])

    def allow(self, action: KeyAction, endpoint: EndpointName | None = None) -> None:
        """Raise Forbidden unless the caller may."""
        self.app_state.authentication.allow(self.key, action, endpoint)

    def allow_any(self, action: KeyAction) -> None:
        """Raise Forbidden unless the caller may do this for some endpoint at least."""
        names = [
            None,
            *(scope.partition(":")[2] for scope in (self.key.scopes if self.key else ())),
        ]
        if not any(is_allowed(self.key, action, name) for name in names):
            self.allow(action)

    def may(self, action: KeyAction, endpoint: EndpointName | None) -> bool:
        """Return whether the caller may."""
        return is_allowed(self.key, action, endpoint)

    def text(self, name: str) -> str | None:
        """Return a parameter of the query."""
        return self.request.query_params.get(name)

    def flag(self, name: str) -> bool:
        """Return a parameter that is true or false. Raises InvalidRequest."""
        value = self.request.query_params.get(name, "false").lower()
        if value not in _TRUE + _FALSE:
            raise InvalidRequest(f"{name}={value!r} must be true or false", field=name)
        return value in _TRUE

    def number(self, name: str, default: int, high: int, *, low: int = 0) -> int:
        """Return a parameter from ``low`` to ``high``. Raises InvalidRequest."""
        value = self.optional_number(name)
        if value is None:
            return default
        if not low <= value <= high:
            raise InvalidRequest(f"{name}={value} must lie in {low}..{high}", field=name)
        return value

    def optional_number(self, name: str) -> int | None:
        """Return a whole number, or None where it was not given. Raises InvalidRequest."""
        value = self.request.query_params.get(name)
        if value is None:
            return None
        if not _NUMBER.fullmatch(value):
            raise InvalidRequest(f"{name}={value[:40]!r} must be a whole number", field=name)
        return int(value)

    async def body(self, kind: type[T]) -> T:
        """Read the JSON body strictly. Raises InvalidRequest and BodyTooLarge."""
        chunks: list[bytes] = []
        size = 0
        async for chunk in self.request.stream():
            size += len(chunk)
            if size > BODY_BYTES_MAX:
                raise BodyTooLarge(f"the body is over the limit of {BODY_BYTES_MAX} bytes")
            chunks.append(chunk)
        return strict_json.decode_strictly(kind, b"".join(chunks))


def json_response(body: object, status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(msgspec.json.encode(body), status, media_type="application/json")
