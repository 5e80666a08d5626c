"""One client connection: keeps replies in order and watches its time limits.

An invocation becomes an ``Exchange``, anything else a request of the Starlette app; both are
turns. Only the first turn runs; later ones (pipelined requests) wait, and when too many wait the
connection is read no further. What cannot be understood ends in a refusal, in its turn as well.
"""

import asyncio
import socket
import struct
from collections import deque
from math import inf
from typing import cast

from coldspark import clock
from coldspark.http.asgi_request import AsgiRequest
from coldspark.http.context import HttpContext
from coldspark.http.door import Route
from coldspark.http.head import Head, read_head
from coldspark.http.invocation_handler import InvocationHandler
from coldspark.http.parser import ParserState, RequestParser
from coldspark.http.pipeline import PipelinedRequest, RefusedRequest

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends RST."""


class Connection(RequestParser, asyncio.Protocol):
    """Implements ``ConnectionPort`` for its turns and ``ServerConnection`` for the server."""

    def __init__(self, context: HttpContext) -> None:
        super().__init__(context)
        self._transport: asyncio.Transport | None = None
        self._is_head_timed = False
        self._deadline_s = inf
        self._incoming: PipelinedRequest | None = None
        """The request that is being read."""
        self._active: PipelinedRequest | None = None
        """The request that is being answered."""
        self._waiting: deque[PipelinedRequest] = deque()
        self._is_advancing = False
        self._is_write_paused = False
        self._unsent_bytes = 0
        self._is_body_held = False
        self._watched: int | None = None
        """The socket's descriptor, while a hang-up would not be noticed by reading."""

    # --- the socket ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it.
        context = self._context
        self._deadline_s = clock.monotonic_s() + context.limits.head_timeout_s
        is_full = len(context.connections) >= context.limits.connections_max
        context.connections.add(self)
        if is_full:
            self._refuse(503, "Too many connections are open.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel what runs: its caller is gone."""
        self._unwatch()
        self._context.remove_connection(self)
        self._transport = None
        self._waiting.clear()
        if self._active is not None:
            self._active.disconnect()
        self._active = self._incoming = None

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

    # --- turns --------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._is_head_timed = False
        self._start(self._turn())

    def _begin_known(self, route: Route, head: Head) -> None:
        self._is_head_timed = False
        self._start(self._exchange(route, head))

    def _take_known(self, route: Route, head: Head, body: bytes) -> None:
        if self._active is None and not self._waiting and not self._is_write_paused:
            self._deadline_s = inf
            self._active = turn = self._exchange(route, head)
            turn.start_whole(body)
            return
        self._begin_known(route, head)
        self._grow(body)
        self._complete()

    def _exchange(self, route: Route, head: Head) -> InvocationHandler:
        return InvocationHandler(self._context, self, route, head, is_keep_alive=True, is_old=False)

    def _grow(self, data: bytes) -> None:
        if self._incoming is not None:
            self._incoming.feed(data)

    def _complete(self) -> None:
        if self._active is not None:
            self._deadline_s = inf
        turn, self._incoming = self._incoming, None
        if turn is not None:
            turn.complete()

    def _turn(self) -> PipelinedRequest:
        context = self._context
        target = context.door_matcher.match(self._method, self._url)
        is_old = self._version == "1.0"
        is_keep_alive = self._parser.should_keep_alive()
        if target.route is None:
            assert self._transport is not None
            return AsgiRequest(
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
        if is_keep_alive and not is_old:
            self._lesson = target.route, head
        return InvocationHandler(
            context, self, target.route, head, is_keep_alive=is_keep_alive, is_old=is_old
        )

    def _start(self, turn: PipelinedRequest) -> None:
        self._incoming = turn
        if self._active is None and not self._waiting and not self._is_write_paused:
            self._active = turn
            turn.start()
            return
        self._waiting.append(turn)
        self._advance()
        if len(self._waiting) >= self._context.limits.pipeline_max:
            self._pause_reading()

    def _advance(self) -> None:
        """Let the next turn begin. A loop: turns may end within their beginning."""
        if self._is_advancing:
            return
        self._is_advancing = True
        try:
            while self._waiting and self._active is None and not self._is_write_paused:
                self._active = turn = self._waiting.popleft()
                turn.start()
        finally:
            self._is_advancing = False

    def _refuse(self, status: int, message: str) -> None:
        """Answer what is no request, once everything before it is answered; then end."""
        if self._reading is ParserState.CLOSED:
            return
        broken, self._incoming = self._incoming, None
        self._reading = ParserState.CLOSED
        if broken is not None and broken is self._active:
            broken.disconnect()
            self._active = None
            if isinstance(broken, AsgiRequest):
                self.abort()  # Its reply may have begun.
                return
        elif broken is not None and broken in self._waiting:
            self._waiting.remove(broken)
        self._pause_reading()
        self._waiting.append(RefusedRequest(self, status, message))
        self._advance()

    # --- Wire: what a turn may do -------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes, if anybody is there."""
        if self._transport is not None:
            self._transport.write(data)

    def stop_reading(self) -> None:
        """Take no more requests; drop what is still being sent."""
        self._reading = ParserState.CLOSED
        self._incoming = None
        self._is_body_held = False
        self._pause_reading()

    def pause_body(self) -> None:
        """Read no more for now; a caller who hangs up is noticed all the same."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._is_body_held:
            return
        self._is_body_held = True
        transport.pause_reading()
        if self._watched is None and (handle := transport.get_extra_info("socket")) is not None:
            self._watched = handle.fileno()
            self._context.disconnect_watcher.watch(handle.fileno(), self.abort)

    def resume_body(self) -> None:
        """Read on."""
        if not self._is_body_held:
            return
        self._is_body_held = False
        if len(self._waiting) < self._context.limits.pipeline_max:
            self._resume_reading()
        if self._reading is ParserState.BODY:
            self._wait_for_more()

    def finish_request(self, is_keep_alive: bool) -> None:
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
        elif self._reading is ParserState.BETWEEN:
            self._deadline_s = clock.monotonic_s() + self._context.limits.idle_timeout_s

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
        is_all_read = self._reading is ParserState.BETWEEN and not self._waiting
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
        self._reading = ParserState.CLOSED
        self._waiting.clear()
        self._deadline_s = clock.monotonic_s() + self._context.limits.linger_timeout_s

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

    def _wait_for_more(self) -> None:
        now_s, bounds = clock.monotonic_s(), self._context.limits
        if self._reading is ParserState.BODY:
            self._deadline_s = now_s + bounds.body_timeout_s
        elif self._reading is ParserState.HEAD and not self._is_head_timed:
            self._is_head_timed = True  # Every byte of progress must not extend it.
            self._deadline_s = now_s + bounds.head_timeout_s

    def expire(self, now_s: float) -> None:
        """Act on a time limit that has passed."""
        transport = self._transport
        if transport is None or now_s < self._deadline_s:
            return
        if self._is_excused(transport, now_s):
            return
        match self._reading:
            case ParserState.HEAD:
                self._refuse(408, "The head of the request did not arrive in time.")
            case ParserState.BETWEEN if transport.get_write_buffer_size() == 0:
                self._close(transport)
            case _:
                transport.abort()

    def _is_excused(self, transport: asyncio.Transport, now_s: float) -> bool:
        """Grant more time where the client is not idle: it is held up by us, or still reading."""
        unsent, before = transport.get_write_buffer_size(), self._unsent_bytes
        self._unsent_bytes = unsent
        is_reading_us = unsent > 0 and (before == 0 or unsent < before)
        is_held_up = self._reading is ParserState.BODY and not transport.is_reading()
        if is_reading_us or is_held_up:
            self._deadline_s = now_s + self._context.limits.body_timeout_s
        return is_reading_us or is_held_up

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._is_body_held:
            return
        self._unwatch()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _unwatch(self) -> None:
        descriptor, self._watched = self._watched, None
        if descriptor is not None:
            self._context.disconnect_watcher.unwatch(descriptor, self.abort)


def _set_reset(transport: asyncio.Transport) -> None:
    """Make closing an error for the client: it was to read until the end, and this is none."""
    handle = transport.get_extra_info("socket")
    if handle is not None:
        with socket.fromfd(handle.fileno(), socket.AF_INET, socket.SOCK_STREAM) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
