"""One client connection: parses HTTP/1.1 within bounds, keeps replies in order, watches limits.

Bytes become requests: an invocation becomes an ``InvocationHandler``, anything else an
``AsgiRequest`` for the Starlette app. Only the first one runs; later ones (pipelined requests)
wait, so replies leave in the order of the requests, and when too many wait the connection is read
no further. What cannot be parsed is refused in its order as well, and ends the connection.

A head that came before is not parsed again (``CachedHead``): it and its body pass by the parser.
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

from coldspark import clock
from coldspark.http.asgi_request import AsgiRequest
from coldspark.http.context import HttpContext
from coldspark.http.door import Route
from coldspark.http.head import Head, read_head
from coldspark.http.header_cache import CachedHead, cache_head
from coldspark.http.invocation_handler import InvocationHandler
from coldspark.http.pipeline import PipelinedRequest, RefusedRequest

log = logging.getLogger(__name__)

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends RST."""
_CACHE_MISSES_MAX = 4
"""Heads cached in a row and not met again, until a connection's heads are cached no more."""


class ParserState(Enum):
    """Where in the client's bytes the connection is."""

    BETWEEN = "between"
    HEAD = "head"
    BODY = "body"
    CLOSED = "closed"
    """Nothing more is taken; what still comes is dropped."""


# Looking a member up on its Enum takes longer than the comparison, and this is done per header.
_BETWEEN, _HEAD, _BODY, _CLOSED = (
    ParserState.BETWEEN,
    ParserState.HEAD,
    ParserState.BODY,
    ParserState.CLOSED,
)


class Connection(asyncio.Protocol):
    """A client's connection, from accept to close. The callbacks of httptools are ``on_…``."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._transport: asyncio.Transport | None = None
        # The parser.
        self._parser = httptools.HttpRequestParser(self)
        self._state = _BETWEEN
        self._method = self._url = b""
        self._version = ""
        self._headers: list[tuple[bytes, bytes]] = []
        self._parsed_bytes = 0
        """Of what is being parsed."""
        self._overhead_bytes = 0
        """Read of the present head, or since the body last grew."""
        self._has_body_grown = False
        self._has_ended_request = False
        """Some request ended within the bytes that are being parsed."""
        self._is_resumed = False
        """The parser reads a head of our own making: see ``_ignore_upgrades``."""
        self._heads_parsed = 0
        """Within the bytes that are being parsed."""
        # The cached head.
        self._cached: CachedHead | None = None
        self._cacheable: tuple[Route, Head] | None = None
        """A head within the bytes being parsed that may come again, at most with another length."""
        self._cache_misses_left = _CACHE_MISSES_MAX
        self._body_left_bytes = 0
        """Of a body whose head was cached: it passes by the parser."""
        # The requests.
        self._incoming: PipelinedRequest | None = None
        """The request that is being read."""
        self._active: PipelinedRequest | None = None
        """The request that is being answered."""
        self._waiting: deque[PipelinedRequest] = deque()
        self._is_advancing = False
        # Flow control and time limits.
        self._is_write_paused = False
        self._is_body_paused = False
        self._watched: int | None = None
        """The socket's descriptor, while a disconnect would not be noticed by reading."""
        self._is_head_timed = False
        self._deadline_s = inf
        self._unsent_bytes = 0

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
        """Cancel the active request: its caller disconnected."""
        self._unwatch()
        self._context.remove_connection(self)
        self._transport = None
        self._waiting.clear()
        if self._active is not None:
            self._active.disconnect()
        self._active = self._incoming = None

    def pause_writing(self) -> None:
        """Pause the reply: the client reads slowly."""
        self._is_write_paused = True
        if self._active is not None:
            self._active.pause()

    def resume_writing(self) -> None:
        """Resume the reply: the client keeps up again."""
        self._is_write_paused = False
        if self._active is not None:
            self._active.resume()
        self._advance()

    def data_received(self, data: bytes) -> None:
        """Take what came: a head that is cached, the body behind it, or what must be parsed."""
        at, end = 0, len(data)
        while at < end and self._state is not _CLOSED:
            if self._body_left_bytes:
                at = self._skip_body(data, at)
                continue
            cached = self._cached
            found = cached.find(data, at) if cached and self._state is _BETWEEN else None
            if cached is None or found is None:
                self._parse(data[at:])
                return
            at = self._take_cached(cached, data, *found)

    # --- heads that came before ---------------------------------------------------------------

    def _take_cached(self, cached: CachedHead, data: bytes, length: bytes, at: int) -> int:
        """Take a request whose head came before; return where the next one begins."""
        self._cache_misses_left = _CACHE_MISSES_MAX
        request = InvocationHandler(
            self._context,
            self,
            cached.route,
            cached.with_length(length),
            clock.monotonic_s(),
            is_keep_alive=True,
            is_http10=False,
        )
        end = at + int(length)
        if end > len(data):
            self._state = _BODY
            self._body_left_bytes = end - at
            self._begin(request)
            if at == len(data):
                self._wait_for_more()
            return at
        if self._can_start():
            self._deadline_s = inf
            self._active = request
            request.start_whole(data[at:end])
        else:
            self._begin(request)
            self._feed_body(data[at:end])
            self._end_body()
        return end

    def _skip_body(self, data: bytes, at: int) -> int:
        """Take a piece of a body that passes by the parser; return where it ends."""
        piece = data[at : at + self._body_left_bytes]
        self._body_left_bytes -= len(piece)
        self._feed_body(piece)
        if self._body_left_bytes:
            self._wait_for_more()
        elif self._state is _BODY:
            self._state = _BETWEEN
            self._end_body()
        return at + len(piece)

    # --- the parser ---------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        """Parse; the callbacks below are called for what is complete."""
        is_first = self._state is _BETWEEN
        self._begin_bytes(len(data))
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrades(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse_malformed(error)
        if self._state is not _BETWEEN:
            self._check_partial()
        # Only of the first head of these bytes is it plain where it stands.
        if self._cacheable is not None and is_first and self._heads_parsed == 1:
            self._cache(data, *self._cacheable)

    def _begin_bytes(self, size: int) -> None:
        # A method of its own: within one, a type checker (and a compiler that trusts it) believes
        # that the cacheable head is still none behind the call that parses.
        self._parsed_bytes = size
        self._has_ended_request = False
        self._heads_parsed = 0
        self._cacheable = None

    def _cache(self, data: bytes, route: Route, head: Head) -> None:
        """Cache a head, unless this client never sends one twice."""
        if self._cache_misses_left:
            self._cache_misses_left -= 1
            self._cached = cache_head(data, route, head)

    def on_message_begin(self) -> None:
        """Begin a request line."""
        if self._state is not _CLOSED and not self._is_resumed:
            self._state = _HEAD
            self._url = b""
            self._headers = []

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a whole header; trailers of a body are of no use here."""
        if self._state is _HEAD:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Begin a request, or refuse its head."""
        if self._state is _CLOSED or self._is_resumed:
            self._is_resumed = False
            return
        self._state = _BODY
        self._heads_parsed += 1
        self._method = self._parser.get_method()
        self._version = self._parser.get_http_version()
        refusal = self._refusal_of_head()
        if refusal is not None:
            self._refuse(*refusal)
            return
        try:
            request = self._make_request()
        except httptools.HttpParserInvalidURLError as error:
            self._refuse(400, f"The URL is not valid: {error}.")
        else:
            self._begin(request)

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._has_body_grown = True
        self._feed_body(data)

    def on_message_complete(self) -> None:
        """End the request's body."""
        if self._state is _CLOSED:
            return
        if self._parser.should_upgrade() and self._body_line():
            return  # The parser took the body for another protocol: it is read yet.
        self._state = _BETWEEN
        self._overhead_bytes = 0
        self._has_ended_request = True
        self._end_body()

    def _check_partial(self) -> None:
        """Bound what is neither a whole head nor a piece of a body."""
        # If requests ended within these bytes, not all of them belong to the present one.
        size = self._head_size() if self._has_ended_request else self._parsed_bytes
        if self._state is _HEAD:
            self._overhead_bytes += size
        elif self._state is _BODY:
            self._overhead_bytes = 0 if self._has_body_grown else self._overhead_bytes + size
            self._has_body_grown = False
        limit = self._context.limits.head_bytes_max
        if self._overhead_bytes > limit:
            self._refuse(431, f"Head or framing of the request is over {limit} bytes.")
        else:
            self._wait_for_more()

    def _refusal_of_head(self) -> tuple[int, str] | None:
        """Return why a head cannot be served, or None."""
        limit = self._context.limits.head_bytes_max
        if self._overhead_bytes + self._parsed_bytes > limit and self._head_size() > limit:
            return 431, f"The head of the request is over {limit} bytes."
        if self._method == b"CONNECT":
            return 405, "This is not a proxy."
        if self._version not in ("1.1", "1.0"):
            return 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here."
        return None

    def _head_size(self) -> int:
        lines = sum(len(name) + len(value) + 4 for name, value in self._headers)
        return len(self._url) + lines

    def _refuse_malformed(self, error: httptools.HttpParserError) -> None:
        if isinstance(error, httptools.HttpParserCallbackError):
            log.error("a connection met a bug", exc_info=error)
            self.abort()
        else:
            self._refuse(400, f"This is not HTTP/1.1: {error}.")

    def _ignore_upgrades(self, rest: memoryview) -> None:
        """Go on in HTTP/1.1, as a server may that was asked for another protocol (RFC 9110).

        The parser stops behind the head. If a body follows (Java's client asks for h2c even when
        it posts), a new parser is prepared for it with a head of our own making.
        """
        while self._state is not _CLOSED:
            body_line = self._body_line() if self._state is _BODY else b""
            try:
                if body_line:
                    self._is_resumed = True
                    self._parser = httptools.HttpRequestParser(self)
                    self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % body_line)
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                self._refuse_malformed(error)
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

    # --- requests -----------------------------------------------------------------------------

    def _make_request(self) -> PipelinedRequest:
        """Return the request whose head was parsed. Raises HttpParserInvalidURLError."""
        context = self._context
        target = context.door_matcher.match(self._method, self._url)
        is_http10 = self._version == "1.0"
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
                is_http10=is_http10,
            )
        started_s = clock.monotonic_s()
        head = read_head(target.method, target.raw_path, target.query, self._headers)
        if is_keep_alive and not is_http10:
            self._cacheable = target.route, head
        return InvocationHandler(
            context,
            self,
            target.route,
            head,
            started_s,
            is_keep_alive=is_keep_alive,
            is_http10=is_http10,
        )

    def _begin(self, request: PipelinedRequest) -> None:
        """Take a request whose body is still to come; start it if no other is before it."""
        self._is_head_timed = False
        self._incoming = request
        if self._can_start():
            self._active = request
            request.start()
            return
        self._waiting.append(request)
        self._advance()
        if len(self._waiting) >= self._context.limits.pipeline_max:
            self._pause_reading()

    def _can_start(self) -> bool:
        return self._active is None and not self._waiting and not self._is_write_paused

    def _feed_body(self, data: bytes) -> None:
        if self._incoming is not None:
            self._incoming.feed(data)

    def _end_body(self) -> None:
        if self._active is not None:
            self._deadline_s = inf
        request, self._incoming = self._incoming, None
        if request is not None:
            request.complete()

    def _advance(self) -> None:
        """Start the next request. A loop: a request may be answered within its start."""
        if self._is_advancing:
            return
        self._is_advancing = True
        try:
            while self._waiting and self._active is None and not self._is_write_paused:
                self._active = request = self._waiting.popleft()
                request.start()
        finally:
            self._is_advancing = False

    def _refuse(self, status: int, message: str) -> None:
        """Answer what is no request, once everything before it is answered; then end."""
        if self._state is _CLOSED:
            return
        broken, self._incoming = self._incoming, None
        self._state = _CLOSED
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

    # --- for its requests ---------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes, unless the client disconnected."""
        if self._transport is not None:
            self._transport.write(data)

    def stop_reading(self) -> None:
        """Take no more requests; drop what is still being sent."""
        self._state = _CLOSED
        self._incoming = None
        self._is_body_paused = False
        self._pause_reading()

    def pause_body(self) -> None:
        """Read no more for now; a disconnect is noticed all the same. Idempotent."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._is_body_paused:
            return
        self._is_body_paused = True
        transport.pause_reading()
        if self._watched is None and (handle := transport.get_extra_info("socket")) is not None:
            self._watched = handle.fileno()
            self._context.disconnect_watcher.watch(handle.fileno(), self.abort)

    def resume_body(self) -> None:
        """Read on. Idempotent."""
        if not self._is_body_paused:
            return
        self._is_body_paused = False
        if len(self._waiting) < self._context.limits.pipeline_max:
            self._resume_reading()
        if self._state is _BODY:
            self._wait_for_more()

    def finish_request(self, is_keep_alive: bool) -> None:
        """End the active request: start the next one, or end the connection."""
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
        elif self._state is _BETWEEN:
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
        is_all_read = self._state is _BETWEEN and not self._waiting
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
        self._state = _CLOSED
        self._waiting.clear()
        self._deadline_s = clock.monotonic_s() + self._context.limits.linger_timeout_s

    # --- for the server -----------------------------------------------------------------------

    def drain(self) -> None:
        """Close once the active request is answered."""
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
        if self._state is _BODY:
            self._deadline_s = now_s + bounds.body_timeout_s
        elif self._state is _HEAD and not self._is_head_timed:
            self._is_head_timed = True  # Every byte of progress must not extend it.
            self._deadline_s = now_s + bounds.head_timeout_s

    def expire(self, now_s: float) -> None:
        """Act on a time limit that has passed."""
        transport = self._transport
        if transport is None or now_s < self._deadline_s:
            return
        if self._is_excused(transport, now_s):
            return
        match self._state:
            case ParserState.HEAD:
                self._refuse(408, "The head of the request did not arrive in time.")
            case ParserState.BETWEEN if transport.get_write_buffer_size() == 0:
                self._close(transport)
            case _:
                transport.abort()

    def _is_excused(self, transport: asyncio.Transport, now_s: float) -> bool:
        """Grant more time where the client is not idle: we have paused it, or it still reads."""
        unsent, before = transport.get_write_buffer_size(), self._unsent_bytes
        self._unsent_bytes = unsent
        is_reading_us = unsent > 0 and (before == 0 or unsent < before)
        is_our_pause = self._state is _BODY and not transport.is_reading()
        if is_reading_us or is_our_pause:
            self._deadline_s = now_s + self._context.limits.body_timeout_s
        return is_reading_us or is_our_pause

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._is_body_paused:
            return
        self._unwatch()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def _unwatch(self) -> None:
        descriptor, self._watched = self._watched, None
        if descriptor is not None:
            self._context.disconnect_watcher.unwatch(descriptor, self.abort)


def _set_reset(transport: asyncio.Transport) -> None:
    """Make closing an error for the client: it reads until the end, and this is none."""
    handle = transport.get_extra_info("socket")
    if handle is not None:
        with socket.fromfd(handle.fileno(), socket.AF_INET, socket.SOCK_STREAM) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
