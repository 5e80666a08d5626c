"""How a streamed reply is framed, so that its caller knows where it ends (RFC 9112, section 6)."""

from collections.abc import Callable, Sequence
from typing import Protocol

from coldspark.http import replies
from coldspark.http.pipeline import Wire
from coldspark.platform.ports import Receipt

Wrap = Callable[[bytes], bytes]
"""Puts a piece of a reply into a door's own frames."""


class Stream(Protocol):
    """One framing of a streamed reply."""

    line: str
    """The header line that announces it."""
    is_reusable: bool
    """Whether the connection can carry another reply afterwards."""
    takes_last_words: bool
    """Whether an error can be told inside it before it breaks."""

    def write(self, wire: Wire, data: bytes) -> None:
        """Send a piece that is not empty."""

    def tell(self, wire: Wire, words: bytes) -> None:
        """Send the last words of a stream that breaks, in the door's own form."""

    def end(self, wire: Wire, receipt: Receipt) -> bool:
        """Send the end; return False where too much or too little was sent."""


class Chunked:
    """HTTP/1.1 without a known length: chunks, then trailers with cost and time."""

    line = f"transfer-encoding: chunked\r\n{replies.TRAILERS}"
    is_reusable = True
    takes_last_words = True

    def write(self, wire: Wire, data: bytes) -> None:
        """Send one chunk."""
        wire.write(replies.chunk(data))

    def tell(self, wire: Wire, words: bytes) -> None:
        """Send one chunk."""
        wire.write(replies.chunk(words))

    def end(self, wire: Wire, receipt: Receipt) -> bool:
        """Send the last chunk and the trailers."""
        wire.write(replies.last_chunk(receipt))
        return True


class Sized:
    """The replica said how long its reply is."""

    is_reusable = True
    takes_last_words = False

    def __init__(self, size: int) -> None:
        self.line = f"content-length: {size}\r\n"
        self._left = size

    def write(self, wire: Wire, data: bytes) -> None:
        """Send what belongs to the reply: more would be read as the next one."""
        if self._left > 0:
            wire.write(data[: self._left])
        self._left -= len(data)

    def tell(self, wire: Wire, words: bytes) -> None:
        """There is no place for them."""

    def end(self, wire: Wire, receipt: Receipt) -> bool:
        """Check that the replica kept its word."""
        return self._left == 0


class UntilClose:
    """An HTTP/1.0 caller reads until the connection closes."""

    line = ""
    is_reusable = False
    takes_last_words = False

    def write(self, wire: Wire, data: bytes) -> None:
        """Send a piece as it is."""
        wire.write(data)

    def tell(self, wire: Wire, words: bytes) -> None:
        """There is no place for them: the end would look like a good one."""

    def end(self, wire: Wire, receipt: Receipt) -> bool:
        """Closing says it."""
        return True


class Bodiless:
    """A reply to HEAD, or one whose status allows no body."""

    is_reusable = True
    takes_last_words = False

    def __init__(self, size: int | None) -> None:
        self.line = "" if size is None else f"content-length: {size}\r\n"

    def write(self, wire: Wire, data: bytes) -> None:
        """Drop what may not be sent."""

    def tell(self, wire: Wire, words: bytes) -> None:
        """There is no place for them."""

    def end(self, wire: Wire, receipt: Receipt) -> bool:
        """The head was all."""
        return True


class Wrapped:
    """Pieces in a door's own frames, which say how the stream ends, within another framing."""

    takes_last_words = True

    def __init__(self, outer: Chunked | UntilClose, wrap: Wrap) -> None:
        self.line = outer.line
        self.is_reusable = outer.is_reusable
        self._outer = outer
        self._wrap = wrap

    def write(self, wire: Wire, data: bytes) -> None:
        """Send a piece in its frames."""
        self._outer.write(wire, self._wrap(data))

    def tell(self, wire: Wire, words: bytes) -> None:
        """Send a frame of the door's."""
        self._outer.write(wire, words)

    def end(self, wire: Wire, receipt: Receipt) -> bool:
        """Send the end."""
        return self._outer.end(wire, receipt)


def stream_for(
    method: str,
    status: int,
    headers: Sequence[tuple[str, str]],
    *,
    is_old: bool,
    wrap: Wrap | None = None,
) -> Stream:
    """Choose the framing. ``is_old``: the caller speaks HTTP/1.0."""
    if wrap is not None:
        return Wrapped(UntilClose() if is_old else Chunked(), wrap)
    size = _declared(headers)
    if method == "HEAD" or status in (204, 304):
        return Bodiless(size if method == "HEAD" else None)
    if size is not None:
        return Sized(size)
    return UntilClose() if is_old else Chunked()


def _declared(headers: Sequence[tuple[str, str]]) -> int | None:
    for name, value in headers:
        if name.lower() == "content-length" and value.isascii() and value.isdecimal():
            return int(value)
    return None
