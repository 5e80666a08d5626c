"""Cache of request heads: a head that a connection repeats is parsed once.

A client that keeps its connection sends one head over and over, and only the digits of its
Content-Length change. What the parser made of such a head is cached, with the bytes on either side
of the digits. Cached are only heads that leave nothing to decide: HTTP/1.1, kept alive, one short
Content-Length, no transfer coding, no upgrade, no expectation.
"""

import re

from coldspark.http.door import Route
from coldspark.http.head import Head

_BYTES_MAX = 4_096
"""Each connection caches one head."""
_DIGITS_MAX = 6
"""A body this short is within every limit that is checked before it is read."""
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,6})[ \t]*\r\n", re.IGNORECASE)
_BARRED = frozenset({"transfer-encoding", "upgrade", "expect"})


class CachedHead:
    """The bytes of a head, and what they mean."""

    __slots__ = ("_after", "_before", "_before_size", "_head", "_length", "route")

    def __init__(self, before: bytes, after: bytes, route: Route, head: Head) -> None:
        self._before = before
        self._before_size = len(before)
        self._after = after
        self._head = head
        self._length = head.headers["content-length"].encode("latin-1")
        self.route = route

    def find(self, data: bytes, at: int) -> tuple[bytes, int] | None:
        """Return Content-Length and where the body begins, if this head stands at ``at``."""
        if not data.startswith(self._before, at):
            return None
        begin = at + self._before_size
        # Spaces may stand behind the digits: then they are the first of what follows.
        end = data.find(self._after[:1], begin, begin + _DIGITS_MAX + 1)
        if end <= begin or not data.startswith(self._after, end):
            return None
        length = data[begin:end]
        return (length, end + len(self._after)) if length.isdigit() else None

    def with_length(self, length: bytes) -> Head:
        """Return the head of one more request: the same one unless its length differs."""
        head = self._head
        if length == self._length:
            return head
        headers = {**head.headers, "content-length": length.decode("ascii")}
        return Head(head.method, head.raw_path, head.query, headers, head.passed)


def cache_head(data: bytes, route: Route, head: Head) -> CachedHead | None:
    """Return what can be cached of the head with which ``data`` begins, if anything.

    ``head`` is what the parser made of it; it is of HTTP/1.1, and the connection stays open.
    """
    size = data.find(b"\r\n\r\n", 0, _BYTES_MAX) + 4
    if size < 4 or not _BARRED.isdisjoint(head.headers):
        return None
    # Only a line that begins so is the header: no value can hold a line's end.
    length = _LENGTH.search(data, 0, size)
    if length is None or length[1].decode("ascii") != head.headers.get("content-length"):
        return None
    before, after = data[: length.start(1)], data[length.end(1) : size]
    return CachedHead(before, after, route, head)
