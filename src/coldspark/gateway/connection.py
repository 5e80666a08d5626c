"""One client connection: parses HTTP/1.1, keeps replies in order, watches its time limits.

An invocation becomes an ``Exchange``, anything else a request of the Starlette app; both are
turns. Only the first turn runs; later ones (pipelined requests) wait, and when too many wait the
connection is read no further. What cannot be understood ends in a refusal, in its turn as well.
"""

import asyncio
import logging
import socket
import struct
from collections import deque
from enum import Enum
from math import inf
from typing import cast

import httptools

from coldspark.gateway.asgi import AsgiTurn
from coldspark.gateway.context import Context
from coldspark.gateway.exchange import Exchange
from coldspark.gateway.head import read_head
from coldspark.gateway.turns import Refusal, Turn
from coldspark.runtime import clock

log = logging.getLogger(__name__)

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends RST."""


class Reading(Enum):
    """Where in the client's bytes the parser is."""

    BETWEEN = "between"
    HEAD = "head"
    BODY = "body"
    DEAF = "deaf"
    """Nothing more is taken; what still comes is dropped."""


class Connection(asyncio.Protocol):
    """Implements ``Wire`` for its turns and ``Held`` for the server."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._reading = Reading.BETWEEN
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._fed_bytes = 0
        self._overhead_bytes = 0
        """Read of the present head, or since the body last grew."""
        self._has_grown = False
        self._is_resumed = False
        """The parser reads a head of our own making: see ``_ignore_upgrades``."""
        self._has_completed = False
        """Some request ended within the bytes that are being parsed."""
        self._deadline_s = inf
        self._incoming: Turn | None = None
        """The request that is being read."""
        self._active: Turn | None = None
        """The request that is being answered."""
        self._waiting: deque[Turn] = deque()
        self._is_advancing = False
        self._is_write_paused = False
        self._unsent_bytes = 0

    # --- the socket ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it.
        context = self._context
        self._deadline_s = clock.monotonic_s() + context.bounds.head_timeout_s
        is_full = len(context.connections) >= context.bounds.connections_max
        context.connections.add(self)
        if is_full:
            self._refuse(503, "Too many connections are open.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what runs: its caller is gone."""
        self._context.forget(self)
        self._transport = None
        self._waiting.clear()
        if self._active is not None:
            self._active.drop()
        self._active = self._incoming = None

    def data_received(self, data: bytes) -> None:
        """Parse; the callbacks below are called for what is complete."""
        if self._reading is Reading.DEAF:
            return
        self._fed_bytes = len(data)
        self._has_completed = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrades(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._malformed(error)
        if self._reading is not Reading.BETWEEN:
            self._check_partial(len(data))

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._is_write_paused = True
        if self._active is not None:
            self._active.pause()

    def resume_writing(self) -> None:
        """The client keeps up again."""
        self._is_write_paused = False
        if self._active is not None:
            self._active.resume()
        self._advance()

    # --- the parser ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request line begins."""
        if self._reading is not Reading.DEAF and not self._is_resumed:
            self._reading = Reading.HEAD
            self._url = b""
            self._headers = []

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header; trailers of a body are of no use here."""
        if self._reading is Reading.HEAD:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Decide whose request it is."""
        if self._reading is Reading.DEAF or self._is_resumed:
            self._is_resumed = False
            return
        self._reading = Reading.BODY
        refusal = self._refusal_of_head()
        if refusal is not None:
            self._refuse(*refusal)
            return
        try:
            turn = self._turn()
        except httptools.HttpParserInvalidURLError as error:
            self._refuse(400, f"The URL is not valid: {error}.")
        else:
            self._start(turn)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._has_grown = True
        if self._incoming is not None:
            self._incoming.feed(data)

    def on_message_complete(self) -> None:
        """The request was read to its end."""
        if self._reading is Reading.DEAF:
            return
        if self._parser.should_upgrade() and self._body_line():
            return  # The parser took the body for another protocol: it is read yet.
        self._reading = Reading.BETWEEN
        self._overhead_bytes = 0
        self._has_completed = True
        if self._active is not None:
            self._deadline_s = inf
        turn, self._incoming = self._incoming, None
        if turn is not None:
            turn.complete()

    def _turn(self) -> Turn:
        parser, context = self._parser, self._context
        target = context.dispatch.target(parser.get_method(), self._url)
        is_old = parser.get_http_version() == "1.0"
        is_keep_alive = parser.should_keep_alive()
        if target.route is None:
            assert self._transport is not None
            return AsgiTurn(
                context,
                self,
                self._transport,
                target,
                self._headers,
                is_keep_alive=is_keep_alive,
                is_old=is_old,
            )
        head = read_head(
            target.method, target.raw_path, target.query, self._headers, clock.monotonic_s()
        )
        return Exchange(
            context, self, target.route, head, is_keep_alive=is_keep_alive, is_old=is_old
        )

    def _refusal_of_head(self) -> tuple[int, str] | None:
        """Return why a head cannot be served, or None."""
        limit = self._context.bounds.head_bytes_max
        if self._overhead_bytes + self._fed_bytes > limit and self._head_size() > limit:
            return 431, f"The head of the request is over {limit} bytes."
        if self._parser.get_method() == b"CONNECT":
            return 405, "This is not a proxy."
        if self._parser.get_http_version() not in ("1.1", "1.0"):
            return 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here."
        return None

    def _head_size(self) -> int:
        lines = sum(len(name) + len(value) + 4 for name, value in self._headers)
        return len(self._url) + lines

    def _malformed(self, error: httptools.HttpParserError) -> None:
        if isinstance(error, httptools.HttpParserCallbackError):
            log.error("a connection met a bug", exc_info=error)
            self.abort()
        else:
            self._refuse(400, f"This is not HTTP/1.1: {error}.")

    def _ignore_upgrades(self, rest: memoryview) -> None:
        """Go on in HTTP/1.1, as a server may that was asked for another protocol (RFC 9110).

        The parser stops behind the head. If a body follows (Java's client asks for h2c even when
        it posts), a new parser is told so by a head of our own making.
        """
        while self._reading is not Reading.DEAF:
            body_line = self._body_line() if self._reading is Reading.BODY else b""
            try:
                if body_line:
                    self._is_resumed = True
                    self._parser = httptools.HttpRequestParser(self)
                    self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % body_line)
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                self._malformed(error)
                return
            else:
                return

    def _body_line(self) -> bytes:
        """Return the header that announces the present request's body, or nothing."""
        for name, value in self._headers:
            word = name.lower()
            if word == b"transfer-encoding" or (
                word == b"content-length" and value.strip() != b"0"
            ):
                return b"%b: %b" % (word, value)
        return b""

    # --- turns --------------------------------------------------------------------------------

    def _start(self, turn: Turn) -> None:
        self._incoming = turn
        self._waiting.append(turn)
        self._advance()
        if len(self._waiting) >= self._context.bounds.pipeline_max:
            self._pause_reading()

    def _advance(self) -> None:
        """Let the next turn begin. A loop: turns may end within their beginning."""
        if self._is_advancing:
            return
        self._is_advancing = True
        try:
            while self._waiting and self._active is None and not self._is_write_paused:
                self._active = turn = self._waiting.popleft()
                turn.take_turn()
        finally:
            self._is_advancing = False

    def _refuse(self, status: int, message: str) -> None:
        """Answer what is no request, once everything before it is answered; then end."""
        if self._reading is Reading.DEAF:
            return
        broken, self._incoming = self._incoming, None
        self._reading = Reading.DEAF
        if broken is not None and broken is self._active:
            broken.drop()
            self._active = None
            if isinstance(broken, AsgiTurn):
                self.abort()  # Its reply may have begun.
                return
        elif broken is not None and broken in self._waiting:
            self._waiting.remove(broken)
        self._pause_reading()
        self._waiting.append(Refusal(self, status, message))
        self._advance()

    # --- Wire: what a turn may do -------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes, if anybody is there."""
        if self._transport is not None:
            self._transport.write(data)

    def deafen(self) -> None:
        """Take no more requests; drop what is still being sent."""
        self._reading = Reading.DEAF
        self._incoming = None
        self._pause_reading()

    def finished(self, is_keep_alive: bool) -> None:
        """End the turn: the next one begins, or the connection ends."""
        self._active = None
        transport = self._transport
        if transport is None:
            return
        if not is_keep_alive:
            self._end(transport)
            return
        if self._waiting:
            self._resume_reading()
            self._advance()
        elif self._reading is Reading.BETWEEN:
            self._deadline_s = clock.monotonic_s() + self._context.bounds.idle_timeout_s

    def break_off(self, *, is_reset: bool) -> None:
        """End the connection so that no caller takes what was sent for whole."""
        self._active = None
        if self._transport is None:
            return
        if is_reset:
            _set_reset(self._transport)
            self._transport.abort()
        else:
            self._close(self._transport)

    def _end(self, transport: asyncio.Transport) -> None:
        """Close. A client that is still sending first gets to read the reply.

        Closing a socket with unread bytes sends a reset, which can overtake the reply.
        """
        is_all_read = self._reading is Reading.BETWEEN and not self._waiting
        if is_all_read or transport.is_closing():
            self._close(transport)
            return
        self._close_soon()
        transport.write_eof()
        self._resume_reading()

    def _close(self, transport: asyncio.Transport) -> None:
        self._close_soon()
        transport.close()

    def _close_soon(self) -> None:
        """Serve nothing more, and let the sweep cut the connection if it does not end."""
        self._reading = Reading.DEAF
        self._waiting.clear()
        self._deadline_s = clock.monotonic_s() + self._context.bounds.linger_timeout_s

    # --- Held: what the server may do ---------------------------------------------------------

    def drain(self) -> None:
        """Close once what runs is answered."""
        if self._active is not None:
            self._active.close_after()
        elif self._transport is not None:
            self._close(self._transport)

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    # --- time limits --------------------------------------------------------------------------

    def _check_partial(self, size: int) -> None:
        """Bound what is neither a whole head nor body: in bytes, and in time without progress."""
        now_s, bounds = clock.monotonic_s(), self._context.bounds
        if self._has_completed:
            size = self._head_size()  # The rest of the bytes belonged to earlier requests.
        if self._reading is Reading.HEAD:
            if self._overhead_bytes == 0:
                self._deadline_s = now_s + bounds.head_timeout_s
            self._overhead_bytes += size + 1
        elif self._reading is Reading.BODY:
            self._deadline_s = now_s + bounds.body_timeout_s
            self._overhead_bytes = 0 if self._has_grown else self._overhead_bytes + size
            self._has_grown = False
        if self._overhead_bytes > bounds.head_bytes_max:
            self._refuse(431, f"Head or framing is over {bounds.head_bytes_max} bytes.")

    def expire(self, now_s: float) -> None:
        """Act on a time limit that has passed."""
        transport = self._transport
        if transport is None or now_s < self._deadline_s:
            return
        if self._is_excused(transport, now_s):
            return
        match self._reading:
            case Reading.HEAD:
                self._refuse(408, "The head of the request did not arrive in time.")
            case Reading.BETWEEN if transport.get_write_buffer_size() == 0:
                self._close(transport)
            case _:
                transport.abort()

    def _is_excused(self, transport: asyncio.Transport, now_s: float) -> bool:
        """Grant more time where the client is not idle: it is held up by us, or still reading."""
        unsent, before = transport.get_write_buffer_size(), self._unsent_bytes
        self._unsent_bytes = unsent
        is_reading_us = unsent > 0 and (before == 0 or unsent < before)
        is_held_up = self._reading is Reading.BODY and not transport.is_reading()
        if is_reading_us or is_held_up:
            self._deadline_s = now_s + self._context.bounds.body_timeout_s
        return is_reading_us or is_held_up

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


def _set_reset(transport: asyncio.Transport) -> None:
    """Make closing an error for the client: it was to read until the end, and this is none."""
    handle = transport.get_extra_info("socket")
    if handle is not None:
        with socket.fromfd(handle.fileno(), socket.AF_INET, socket.SOCK_STREAM) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
