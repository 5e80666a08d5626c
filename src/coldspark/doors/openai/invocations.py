"""``/v1/chat/completions`` and its like: unmodified OpenAI clients on the hot path.

``model`` is the endpoint's name, or ``endpoint/anything`` for servers that tell models apart by
what follows. The body is passed on untouched, to the same path of a command's server; a handler
finds the path in the header ``x-coldspark-path``.
"""

import msgspec

from coldspark.doors.openai.errors import error_json, error_reply
from coldspark.errors import ColdsparkError, InvalidRequest
from coldspark.http.door import BODY_BYTES_MAX, Headers, Reply, Route
from coldspark.http.head import Head
from coldspark.platform.ports import Invocation, Key, Platform, Receipt
from coldspark.spec.types import EndpointName, RequestId, VariantName

PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")


class _Named(msgspec.Struct):
    model: str


_decoder = msgspec.json.Decoder(_Named)


class OpenAIDoor:
    """Implements ``InvocationDoor``."""

    def __init__(self, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._body_bytes_max = body_bytes_max

    def match(self, method: str, raw_path: str, query: str) -> Route | None:
        """Return the route of one of the paths that are passed on."""
        if method != "POST" or raw_path not in PATHS:
            return None
        return Route(self, None, f"{raw_path}?{query}" if query else raw_path)

    def body_bytes_max(self, route: Route, platform: Platform) -> int:
        """Return the door's limit: which endpoint it is, the body says."""
        return self._body_bytes_max

    def invocation(
        self,
        route: Route,
        head: Head,
        body: bytes,
        key: Key | None,
        request: RequestId,
        started_s: float,
    ) -> Invocation:
        """Read the model's name and pass the rest on."""
        path = route.path
        assert path is not None
        return Invocation(
            endpoint=_endpoint(body),
            path=path,
            content_type=head.headers.get("content-type"),
            accept=head.headers.get("accept"),
            headers=(*head.passed, ("x-coldspark-path", head.raw_path)),
            body=body,
            key=None if key is None else key.id,
            started_s=started_s,
            request=request,
        )

    def reply(self, route: Route, request: RequestId, reply: Reply, receipt: Receipt) -> Reply:
        """Add the request's id, which the clients show."""
        status, headers, body = reply
        return status, [*headers, ("x-request-id", request)], body

    def begin(
        self,
        route: Route,
        request: RequestId,
        status: int,
        headers: Headers,
        variant: VariantName | None,
    ) -> tuple[int, Headers]:
        """Add the request's id."""
        return status, [*headers, ("x-request-id", request)]

    def failure(
        self, route: Route, request: RequestId, error: ColdsparkError, receipt: Receipt | None
    ) -> Reply:
        """Tell the error as OpenAI does."""
        status, headers, body = error_reply(error)
        return status, [*headers, ("x-request-id", request)], body

    def stream_error(self, request: RequestId, error: ColdsparkError, media: str) -> bytes:
        """Tell the error as the event from which the clients raise APIError."""
        if not media.startswith("text/event-stream"):
            return b""
        return b"data: %b\n\n" % error_json(error)


def _endpoint(body: bytes) -> EndpointName:
    try:
        model = _decoder.decode(body).model
    except msgspec.ValidationError as error:
        raise InvalidRequest(
            f"'model' must be the name of an endpoint: {error}", field="model"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None
    return EndpointName(model.partition("/")[0])
