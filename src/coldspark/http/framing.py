"""How a streamed reply is framed, so that its caller knows where it ends (RFC 9112, section 6)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from coldspark.http import replies
from coldspark.platform.ports import Receipt

if TYPE_CHECKING:
    from coldspark.http.connection import Connection

Wrap = Callable[[bytes], bytes]
"""Puts a piece of a reply into a door's own frames."""


class ReplyFraming(Protocol):
    """One framing of a streamed reply."""

    line: str
    """The header line that announces it."""
    is_reusable: bool
    """Whether the connection can carry another reply afterwards."""
    can_write_error: bool
    """Whether an error can be sent inside it before it breaks."""

    def write(self, connection: "Connection", data: bytes) -> None:
        """Send a piece that is not empty."""

    def write_error(self, connection: "Connection", error: bytes) -> None:
        """Send the error that breaks a stream, in the door's own form."""

    def end(self, connection: "Connection", receipt: Receipt) -> bool:
        """Send the end; return False where too much or too little was sent."""


class ChunkedFraming:
    """HTTP/1.1 without a known length: chunks, then trailers with cost and time."""

    line = f"transfer-encoding: chunked\r\n{replies.TRAILERS}"
    is_reusable = True
    can_write_error = True

    def write(self, connection: "Connection", data: bytes) -> None:
        """Send one chunk."""
        connection.write(replies.chunk(data))

    def write_error(self, connection: "Connection", error: bytes) -> None:
        """Send one chunk."""
        connection.write(replies.chunk(error))

    def end(self, connection: "Connection", receipt: Receipt) -> bool:
        """Send the last chunk and the trailers."""
        connection.write(replies.last_chunk(receipt))
        return True


class SizedFraming:
    """The replica said how long its reply is."""

    is_reusable = True
    can_write_error = False

    def __init__(self, size: int) -> None:
        self.line = f"content-length: {size}\r\n"
        self._left = size

    def write(self, connection: "Connection", data: bytes) -> None:
        """Send what belongs to the reply: more would be read as the next one."""
        if self._left > 0:
            connection.write(data[: self._left])
        self._left -= len(data)

    def write_error(self, connection: "Connection", error: bytes) -> None:
        """There is no place for it."""

    def end(self, connection: "Connection", receipt: Receipt) -> bool:
        """Check that the replica sent as much as it announced."""
        return self._left == 0


class CloseDelimitedFraming:
    """An HTTP/1.0 caller reads until the connection closes."""

    line = ""
    is_reusable = False
    can_write_error = False

    def write(self, connection: "Connection", data: bytes) -> None:
        """Send a piece as it is."""
        connection.write(data)

    def write_error(self, connection: "Connection", error: bytes) -> None:
        """There is no place for it: the end would look like a good one."""

    def end(self, connection: "Connection", receipt: Receipt) -> bool:
        """Closing says it."""
        return True


class EmptyFraming:
    """A reply to HEAD, or one whose status allows no body."""

    is_reusable = True
    can_write_error = False

    def __init__(self, size: int | None) -> None:
        self.line = "" if size is None else f"content-length: {size}\r\n"

    def write(self, connection: "Connection", data: bytes) -> None:
        """Drop what may not be sent."""

    def write_error(self, connection: "Connection", error: bytes) -> None:
        """There is no place for it."""

    def end(self, connection: "Connection", receipt: Receipt) -> bool:
        """The head was all."""
        return True


class WrappedFraming:
    """Pieces in a door's own frames, which say how the stream ends, within another framing."""

    can_write_error = True

    def __init__(self, outer: ChunkedFraming | CloseDelimitedFraming, wrap: Wrap) -> None:
        self.line = outer.line
        self.is_reusable = outer.is_reusable
        self._outer = outer
        self._wrap = wrap

    def write(self, connection: "Connection", data: bytes) -> None:
        """Send a piece in its frames."""
        self._outer.write(connection, self._wrap(data))

    def write_error(self, connection: "Connection", error: bytes) -> None:
        """Send a frame of the door's."""
        self._outer.write(connection, error)

    def end(self, connection: "Connection", receipt: Receipt) -> bool:
        """Send the end."""
        return self._outer.end(connection, receipt)


def framing_for(
    method: str,
    status: int,
    headers: Sequence[tuple[str, str]],
    *,
    is_http10: bool,
    wrap: Wrap | None = None,
) -> ReplyFraming:
    """Choose the framing. ``is_http10``: the caller speaks HTTP/1.0."""
    if wrap is not None:
        return WrappedFraming(CloseDelimitedFraming() if is_http10 else ChunkedFraming(), wrap)
    size = _declared(headers)
    if method == "HEAD" or status in (204, 304):
        return EmptyFraming(size if method == "HEAD" else None)
    if size is not None:
        return SizedFraming(size)
    return CloseDelimitedFraming() if is_http10 else ChunkedFraming()


def _declared(headers: Sequence[tuple[str, str]]) -> int | None:
    for name, value in headers:
        if name.lower() == "content-length" and value.isascii() and value.isdecimal():
            return int(value)
    return None
