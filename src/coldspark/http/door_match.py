"""Which door a request belongs to: asked once per URL, then remembered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httptools

from coldspark.http.door import InvocationDoor, Route

_TARGETS_MAX = 4_096


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """A request's URL taken apart, and its route if it is an invocation."""

    method: str
    raw_path: str
    query: str
    route: Route | None


class DoorMatcher:
    """Find the door of a request. The first that claims it wins."""

    def __init__(self, doors: Sequence[InvocationDoor]) -> None:
        self._doors = tuple(doors)
        self._targets: dict[tuple[bytes, bytes], RequestTarget] = {}

    def match(self, method: bytes, url: bytes) -> RequestTarget:
        """Take a request line apart. Raises httptools.HttpParserInvalidURLError."""
        target = self._targets.get((method, url))
        return self._learn(method, url) if target is None else target

    def _learn(self, method: bytes, url: bytes) -> RequestTarget:
        raw_path, query = _split(url)
        word = method.decode("ascii")
        target = RequestTarget(word, raw_path, query, self._route(word, raw_path, query))
        # Callers choose URLs, so what is remembered is bounded, and only the hot ones are.
        if target.route is not None:
            if len(self._targets) >= _TARGETS_MAX:
                self._targets.clear()
            self._targets[method, url] = target
        return target

    def _route(self, method: str, raw_path: str, query: str) -> Route | None:
        for door in self._doors:
            route = door.match(method, raw_path, query)
            if route is not None:
                return route
        return None


def _split(url: bytes) -> tuple[str, str]:
    """Return path and query; both stay percent-encoded and must be ASCII."""
    if not url.isascii():
        raise httptools.HttpParserInvalidURLError("the URL must be percent-encoded ASCII")
    if url.startswith(b"/"):
        path, _, query = url.partition(b"?")
        return path.decode("ascii"), query.decode("ascii")
    if url == b"*":
        return "*", ""
    parsed: Any = httptools.parse_url(url)  # Its stubs say bytes where it says None.
    path, query = parsed.path or b"/", parsed.query or b""
    return path.decode("ascii"), query.decode("ascii")
