"""One keep-alive HTTP/1.1 connection to a replica's own server: one exchange at a time.

It knows sockets and the parser; which exchange goes where is ``http_upstream``'s business.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

import httptools

from coldspark.node.transport.http_headers import HttpHeaderCache, HttpReplyHead

WHOLE_BYTES_MAX = 1024 * 1024
"""A reply that says it is no longer than this is handed on whole."""
_HEADERS_MAX = 256
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "content-length",
    )
)


class HttpReplyListener(Protocol):
    """What a connection tells the one call that it carries."""

    def on_whole(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Take a whole reply: it ends the exchange."""

    def on_head(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Take the head of a streamed reply."""

    def on_chunk(self, chunk: bytes) -> None:
        """Take a piece of it."""

    def on_end(self) -> None:
        """Take its end."""

    def on_room(self) -> None:
        """More of a streamed body can be written."""

    def on_broken(self, message: str, *, was_unanswered: bool) -> None:
        """The connection broke; ``was_unanswered``: before the first byte of the reply."""


class ConnectionCallbacks(Protocol):
    """What a connection tells its pool."""

    def on_free(self, connection: "HttpConnection") -> None:
        """The exchange is over, and the connection can carry another."""

    def on_closed(self, connection: "HttpConnection") -> None:
        """The connection is gone."""


class HttpConnection(asyncio.Protocol):
    """A connection and the parser of what comes back on it."""

    def __init__(self, owner: ConnectionCallbacks, heads: HttpHeaderCache) -> None:
        self._owner = owner
        self._heads = heads
        self._transport: asyncio.Transport | None = None
        self._exchange: HttpReplyListener | None = None
        self._parser = httptools.HttpResponseParser(self)
        self.exchanges = 0
        """How many exchanges it has begun."""
        self._has_answer = False
        self._is_paused = False
        self._is_full = False
        self._is_sending = False
        """A streamed body is under way: its end is not written yet."""
        self._head_bytes = b""
        """Of a reply that is being parsed, if they came at once and may be worth keeping."""
        self._begin_reply()

    def send(
        self,
        pieces: tuple[bytes, ...],
        exchange: HttpReplyListener,
        *,
        is_head: bool,
        is_streamed: bool = False,
    ) -> None:
        """Begin an exchange; the connection must be free. ``write`` and ``sent`` may follow."""
        assert self._exchange is None
        assert self._transport is not None
        self._exchange = exchange
        self._is_head_request = is_head
        self._has_answer = False
        self._is_sending = is_streamed
        self.exchanges += 1
        if len(pieces) == 1:
            self._transport.write(pieces[0])
        else:
            self._transport.writelines(pieces)

    @property
    def has_room(self) -> bool:
        """Whether the server reads as fast as it is sent to; ``on_room`` follows if not."""
        return self.is_open and not self._is_full

    def write(self, data: bytes) -> None:
        """Send a piece of a streamed body, framed."""
        if self._transport is not None:
            self._transport.write(data)

    def sent(self) -> None:
        """Take that the streamed body was written to its end."""
        self._is_sending = False

    def pause_writing(self) -> None:
        """The server reads slowly."""
        self._is_full = True

    def resume_writing(self) -> None:
        """It keeps up again."""
        self._is_full = False
        if self._exchange is not None and self._is_sending:
            self._exchange.on_room()

    def pause(self) -> None:
        """Read no more for now: the socket fills, and the server waits."""
        if self._transport is not None and self.is_open and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._is_paused and self._transport is not None and self.is_open:
            self._is_paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Hang up at once; ``connection_lost`` follows."""
        if self._transport is not None:
            self._transport.abort()

    def void(self) -> None:
        """Hang up, and tell the exchange nothing."""
        self._exchange = None
        self.abort()

    @property
    def is_open(self) -> bool:
        """Whether the socket is there and nobody began to close it."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        # Not an isinstance check: uvloop's transports are no subclasses.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Parse; whatever is no HTTP breaks the exchange."""
        if self._exchange is None:
            # A server that speaks unasked (a 408 before it closes) is not worth keeping.
            self.abort()
            return
        if not self._has_answer:
            self._has_answer = True
            if self._take_known(data):
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            # What a sink raised is a bug of ours, not the server's words.
            if error.__context__ is not None and not isinstance(error.__context__, ValueError):
                raise
            self._break(f"its server sent what is no HTTP reply: {error}")
            self.abort()

    def _take_known(self, data: bytes) -> bool:
        """Take a whole reply whose head came before; return whether it was one.

        The parser is between two replies: it need not hear of this one.
        """
        if self._is_sending:
            return False  # It answers early: this connection carries no other exchange.
        size = data.find(b"\r\n\r\n") + 4
        self._head_bytes = b"" if size < 4 or self._is_head_request else data[:size]
        reply = self._heads.replies.get(self._head_bytes)
        if reply is None or size + reply.length != len(data):
            return False
        exchange, self._exchange = self._exchange, None
        self._head_bytes = b""
        self.resume()
        assert exchange is not None
        exchange.on_whole(reply.status, reply.headers, data[size:])
        # Whether it is still open is asked when it is to carry the next exchange.
        self._owner.on_free(self)
        return True

    def _learn(self, status: int) -> None:
        """Keep a reply's head if nothing else need be known to take the next one like it."""
        is_plain = self._is_whole and not self._is_chunked and status not in (204, 304)
        if self._head_bytes and is_plain and self._length:
            reply = HttpReplyHead(status, self._headers, self._length)
            self._heads.put(self._head_bytes, reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange: well, if the end of the connection is the end of the reply."""
        self._transport = None
        if self._exchange is not None and self._ends_by_close and self._has_head and exc is None:
            self._complete()
        self._break("its server closed the connection " + self._where(exc))
        self._owner.on_closed(self)

    def _where(self, exc: Exception | None) -> str:
        place = "in the middle of the reply" if self._has_answer else "before it replied"
        return place if exc is None else f"{place} ({exc})"

    def _break(self, message: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.on_broken(message, was_unanswered=not self._has_answer)

    def _begin_reply(self) -> None:
        self._headers: list[tuple[str, str]] = []
        self._length: int | None = None
        self._is_chunked = False
        self._has_head = False
        self._is_whole = False
        self._ends_by_close = False
        self._body: list[bytes] = []
        self._is_head_request = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; the parser calls this, as all that follow."""
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        if key == "content-length":
            self._length = int(text)
        elif key == "transfer-encoding":
            self._is_chunked = "chunked" in text.lower()
        if key not in _HOP_BY_HOP:
            if len(self._headers) >= _HEADERS_MAX:
                raise ValueError(f"more than {_HEADERS_MAX} headers")
            self._headers.append((key, text))

    def on_headers_complete(self) -> None:
        """Decide how the body comes: whole, or in pieces."""
        status = self._status()
        if status < 200:
            return
        self._has_head = True
        is_empty = self._is_head_request or status in (204, 304)
        length = 0 if is_empty else self._length
        self._ends_by_close = length is None and not self._is_chunked
        self._is_whole = length is not None and length <= WHOLE_BYTES_MAX
        if not self._is_whole and self._exchange is not None:
            self._exchange.on_head(status, self._headers)
        if self._is_head_request:
            # The parser would wait for the body that Content-Length speaks of.
            self._complete()
            self.abort()

    def on_body(self, chunk: bytes) -> None:
        """Collect or hand on."""
        if self._is_whole:
            self._body.append(chunk)
        elif self._exchange is not None:
            self._exchange.on_chunk(chunk)

    def on_message_complete(self) -> None:
        """End the exchange; keep the connection if the server does."""
        status = self._status()
        if status < 200:
            self._headers, self._head_bytes = [], b""
            return
        keeps = self._parser.should_keep_alive() and not self._is_sending
        if keeps:
            self._learn(status)
        self._complete()
        if keeps and self.is_open:
            self._owner.on_free(self)
        else:
            self.abort()

    def _status(self) -> int:
        return int(self._parser.get_status_code())

    def _complete(self) -> None:
        exchange, self._exchange = self._exchange, None
        status, headers, body = self._status(), self._headers, b"".join(self._body)
        is_whole = self._is_whole
        self._begin_reply()
        self.resume()
        if exchange is None:
            return
        if is_whole:
            exchange.on_whole(status, headers, body)
        else:
            exchange.on_end()
