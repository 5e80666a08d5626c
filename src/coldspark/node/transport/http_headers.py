"""The heads of HTTP/1.1 to and from a replica's own server: the same ones come again and again.

What a caller repeats is written once and kept, all but its Content-Length; a reply head that a
server repeats to the byte is parsed once and kept with what it means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from coldspark.node.worker.header_cache import put_bounded
from coldspark.platform.body_stream import BodyStream
from coldspark.platform.ports import Invocation

_JOINED_BYTES = 64 * 1024
"""A shorter body is copied behind its head: one piece costs the loop less than two."""
_NOT_FORWARDED = frozenset(
    (
        "host",
        "content-length",
        "content-type",
        "accept",
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
    )
)
_PATH_SAFE = "/?#[]@!$&'()*+,;=:%-._~"


@dataclass(frozen=True, slots=True)
class HttpReplyHead:
    """What a reply's head says whose body comes whole, on a connection that stays open."""

    status: int
    headers: Sequence[tuple[str, str]]
    length: int


class HttpHeaderCache:
    """The heads that one server's connections have in common."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._requests: dict[tuple[object, ...], tuple[bytes, bytes]] = {}
        self.replies: dict[bytes, HttpReplyHead] = {}
        """By their bytes. Read only."""

    def request(self, invocation: Invocation, path: str) -> tuple[bytes, ...]:
        """Return a request in one piece, or in two if it is long; of a stream only the head."""
        body, method = invocation.body, invocation.method
        if invocation.stream is not None:
            return (_streamed_head(invocation, invocation.stream, path, self._port),)
        if not body and method in ("GET", "HEAD"):
            return (request_head(invocation, path, self._port),)
        key = (path, method, invocation.content_type, invocation.accept, invocation.headers)
        before, after = self._requests.get(key) or self._learn(key, invocation, path)
        if len(body) < _JOINED_BYTES:
            return (b"%b%d%b%b" % (before, len(body), after, body),)
        return (b"%b%d%b" % (before, len(body), after), body)

    def _learn(
        self, key: tuple[object, ...], invocation: Invocation, path: str
    ) -> tuple[bytes, bytes]:
        parts = _around_length(invocation, path, self._port)
        return put_bounded(self._requests, key, parts, len(parts[0]) + len(parts[1]))

    def put(self, data: bytes, reply: HttpReplyHead) -> None:
        """Remember a reply's head. Bounded: servers put the time and more into theirs."""
        put_bounded(self.replies, data, reply, len(data))


def request_head(invocation: Invocation, path: str, port: int) -> bytes:
    """Return the request's head: what HTTP needs, and the invocation's own headers."""
    if not invocation.body and invocation.method in ("GET", "HEAD"):
        return _encoded((*_first_lines(invocation, path, port), *_own_lines(invocation), "\r\n"))
    before, after = _around_length(invocation, path, port)
    return b"%b%d%b" % (before, len(invocation.body), after)


def _streamed_head(invocation: Invocation, body: BodyStream, path: str, port: int) -> bytes:
    size = body.size_bytes
    framing = "transfer-encoding: chunked" if size is None else f"content-length: {size}"
    lines = (*_first_lines(invocation, path, port), framing, *_own_lines(invocation), "", "")
    return _encoded(lines)


def _around_length(invocation: Invocation, path: str, port: int) -> tuple[bytes, bytes]:
    """Return what stands before and behind the digits of Content-Length."""
    before = _encoded((*_first_lines(invocation, path, port), "content-length: "))
    return before, _encoded(("", *_own_lines(invocation), "\r\n"))


def _first_lines(invocation: Invocation, path: str, port: int) -> list[str]:
    lines = [f"{invocation.method} {_target(path)} HTTP/1.1", f"host: 127.0.0.1:{port}"]
    if invocation.content_type is not None:
        lines.append(f"content-type: {_value(invocation.content_type)}")
    if invocation.accept is not None:
        lines.append(f"accept: {_value(invocation.accept)}")
    return lines


def _own_lines(invocation: Invocation) -> list[str]:
    return [
        f"{_value(name)}: {_value(value)}"
        for name, value in invocation.headers
        if name.lower() not in _NOT_FORWARDED
    ]


def _encoded(lines: Sequence[str]) -> bytes:
    return "\r\n".join(lines).encode("latin-1", "replace")


def _value(text: str) -> str:
    """Return a header's text on one line: a line break in it would begin another header."""
    if "\r" in text or "\n" in text or "\0" in text:
        return text.replace("\r", " ").replace("\n", " ").replace("\0", " ")
    return text


def _target(path: str) -> str:
    return path if path.isascii() and path.isprintable() and " " not in path else _quoted(path)


def _quoted(path: str) -> str:
    return quote(path, safe=_PATH_SAFE)
