"""Connections between routers: a request for another's endpoint takes its connection there.

A connection looks at a request before its parser does. If the endpoint is another router's, the
socket goes there with the bytes read so far, and that router goes on as if it had accepted it:
clients tend to stay with one endpoint per connection, so it costs nothing afterwards. It goes only
when nothing of it is in flight; until then it is read no further.
"""

import asyncio
import socket
from collections.abc import Sequence
from enum import Enum
from math import inf
from urllib.parse import unquote

import httptools

from coldspark import clock
from coldspark.cluster.fd_channel import receive_connection, send_connection
from coldspark.cluster.ownership import PRIMARY, owner_of
from coldspark.doors.door import DoorRegistry
from coldspark.errors import ColdsparkError
from coldspark.http.connection import Connection, ParserState
from coldspark.http.context import HttpContext
from coldspark.http.door_match import RequestTarget
from coldspark.http.head import read_head
from coldspark.http.pipeline import PipelinedRequest, RefusedRequest
from coldspark.tasks import Tasks

_FLUSH_S = 0.01
_TAKEN_AT_ONCE = 64


class _Unknown(Enum):
    MORE = "more"
    """Too little was read to tell."""
    BODY = "body"
    """The body says."""


class Handoff:
    """Who owns what, and the ways there."""

    def __init__(
        self,
        own: int,
        fd_channels: Sequence[socket.socket],
        context: HttpContext,
        body_bytes_max: int,
        doors: DoorRegistry,
    ) -> None:
        self._own = own
        self._doors = doors
        self._fd_channels = fd_channels
        self._door_matcher = context.door_matcher
        self._head_bytes_max = context.limits.head_bytes_max
        self.bytes_max = self._head_bytes_max + body_bytes_max
        """Of a request whose body has to be read before its owner is known."""

    def owner_of_target(self, target: RequestTarget) -> int | None:
        """Return who answers a request, or None where its body says."""
        if target.route is None:
            name = self._doors.endpoint_of(target.raw_path)
            return self.owner(unquote(name)) if name else PRIMARY
        return None if target.route.endpoint is None else self.owner(target.route.endpoint)

    def owner(self, endpoint: str) -> int:
        """Return an endpoint's owner."""
        return owner_of(endpoint, len(self._fd_channels))

    def is_own(self, owner: int | None) -> bool:
        """Return whether this router is it."""
        return owner == self._own

    def owner_of_head(self, data: bytes) -> int | _Unknown:
        """Return whose request begins with these bytes; what is no request is one's own."""
        line, end, _ = data.lstrip(b"\r\n").partition(b"\r\n")
        if not end:
            return _Unknown.MORE if len(data) < self._head_bytes_max else self._own
        words = line.split(b" ")
        if len(words) != 3:
            return self._own
        try:
            owner = self.owner_of_target(self._door_matcher.match(words[0], words[1]))
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
            return self._own
        return _Unknown.BODY if owner is None else owner

    def owner_of_body(self, lookahead: "RequestLookahead", context: HttpContext) -> int:
        """Return whose request this is by its body."""
        if not lookahead.is_whole:
            return self._own  # It is malformed, or too large for all.
        target = context.door_matcher.match(lookahead.method, lookahead.url)
        assert target.route is not None
        head = read_head(target.method, target.raw_path, target.query, lookahead.headers)
        try:
            request = next(context.ids)
            body = b"".join(lookahead.body)
            invocation = target.route.door.invocation(target.route, head, body, None, request, 0.0)
        except ColdsparkError:
            return self._own  # It answers what was wrong.
        return self.owner(invocation.endpoint)

    def send(self, owner: int, descriptor: int, data: bytes) -> bool:
        """Hand a connection over; False: its owner is too far behind."""
        return send_connection(self._fd_channels[owner], descriptor, data)


class RequestLookahead:
    """Reads one request ahead of the connection's parser."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self.method = self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self.is_whole = self.is_bad = False

    def read(self, data: bytes) -> None:
        """Take a request's bytes; what follows it does not count."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.is_bad = not self.is_whole

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        if not self.is_whole:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header."""
        if not self.is_whole:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is read."""
        if not self.is_whole:
            self.method = self._parser.get_method()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if not self.is_whole:
            self.body.append(data)

    def on_message_complete(self) -> None:
        """The request is read."""
        self.is_whole = True


class RoutedConnection(Connection):
    """A connection of one router among several."""

    def __init__(self, context: HttpContext, handoff: Handoff, read: bytes = b"") -> None:
        super().__init__(context)
        self._handoff = handoff
        self._read = read
        """What another router had read when it handed the connection over."""
        self._unparsed: list[bytes] = []
        """Bytes of a request that the parser has not seen."""
        self._unparsed_bytes = 0
        self._is_looked_ahead = False
        """The parser reads what was looked at ahead of it."""
        self._lookahead: RequestLookahead | None = None
        self._next_owner: int | None = None
        """Where the connection goes once nothing is in flight."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go on where the other router was."""
        super().connection_made(transport)
        if self._read:
            read, self._read = self._read, b""
            self.data_received(read)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless the owner of its request is not known yet."""
        if not self._unparsed:
            super().data_received(data)
            return
        self._unparsed.append(data)
        self._unparsed_bytes += len(data)
        if self._next_owner is None:
            self._look_ahead(data)

    def finish_request(self, is_keep_alive: bool) -> None:
        """End the active request, and go if the next one is for another router."""
        super().finish_request(is_keep_alive)
        self._go_if_free()

    def drain(self) -> None:
        """Close once the active request is answered; what is not parsed was taken by nobody."""
        self._next_owner = None
        super().drain()

    def _parse(self, data: bytes) -> None:
        if self._state is not ParserState.BETWEEN:
            super()._parse(data)
            return
        self._unparsed, self._unparsed_bytes = [data], len(data)
        self._deadline_s = clock.monotonic_s() + self._context.limits.head_timeout_s
        self._look_ahead(data)

    def _look_ahead(self, data: bytes) -> None:
        """Look ahead in what is not parsed (``data`` came last), and decide if that is enough."""
        if self._lookahead is None:
            data = b"".join(self._unparsed)
            self._unparsed = [data]
            owner = self._handoff.owner_of_head(data)
            if owner is _Unknown.MORE:
                return
            if not isinstance(owner, _Unknown):
                self._decide(owner)
                return
            self._lookahead = RequestLookahead()
            self._answer_expectation(data)
        lookahead = self._lookahead
        lookahead.read(data)
        if lookahead.is_whole or lookahead.is_bad or self._unparsed_bytes > self._handoff.bytes_max:
            self._lookahead = None
            self._decide(self._handoff.owner_of_body(lookahead, self._context))
        else:
            self._deadline_s = clock.monotonic_s() + self._context.limits.body_timeout_s

    def _decide(self, owner: int) -> None:
        if not self._handoff.is_own(owner):
            self._next_owner = owner
            self._deadline_s = inf
            self._pause_reading()
            self._go_if_free()
            return
        data, self._unparsed = b"".join(self._unparsed), []
        if self._active is not None:
            self._deadline_s = inf
        self._is_looked_ahead = True
        super()._parse(data)
        self._is_looked_ahead = False

    def _answer_expectation(self, data: bytes) -> None:
        """Ask for the body that a careful client holds back until then."""
        head, end, body = data.partition(b"\r\n\r\n")
        if end and not body and self._active is None and b"100-continue" in head.lower():
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _make_request(self) -> PipelinedRequest:
        target = self._context.door_matcher.match(self._method, self._url)
        owner = self._handoff.owner_of_target(target)
        is_looked_ahead = self._is_looked_ahead and self._heads_parsed == 1
        if not (self._handoff.is_own(owner) or (owner is None and is_looked_ahead)):
            # It came in one piece with the request before it: that one's bytes are past.
            return RefusedRequest(
                self, 421, "Another process serves this endpoint: send it over a new connection."
            )
        request = super()._make_request()
        if owner is None:
            # The same head again may name another endpoint in its body.
            self._cacheable = None
        return request

    def _go_if_free(self) -> None:
        transport, owner = self._transport, self._next_owner
        if owner is None or transport is None or transport.is_closing():
            return
        if self._active is not None or self._waiting:
            return
        if transport.get_write_buffer_size():
            # The last reply is not out yet. The sweep ends a client that does not read it.
            self._deadline_s = clock.monotonic_s() + self._context.limits.body_timeout_s
            asyncio.get_running_loop().call_later(_FLUSH_S, self._go_if_free)
            return
        self._next_owner = None
        data, self._unparsed = b"".join(self._unparsed), []
        descriptor = transport.get_extra_info("socket").fileno()
        if self._handoff.send(owner, descriptor, data):
            self._state = ParserState.CLOSED
            transport.abort()
        else:
            self._refuse(503, "The process that serves this endpoint is too far behind; try again.")


class ConnectionReceiver:
    """Receives connections from other routers."""

    def __init__(self, outlet: socket.socket, context: HttpContext, handoff: Handoff) -> None:
        self._outlet = outlet
        self._context = context
        self._handoff = handoff
        self._tasks = Tasks()

    def open(self) -> None:
        """Begin to take."""
        asyncio.get_running_loop().add_reader(self._outlet.fileno(), self._take)

    def close(self) -> None:
        """Take no more. Idempotent."""
        asyncio.get_running_loop().remove_reader(self._outlet.fileno())

    def _take(self) -> None:
        for _ in range(_TAKEN_AT_ONCE):
            received = receive_connection(self._outlet)
            if received is None:
                return
            self._tasks.spawn(self._connect(*received))

    async def _connect(self, connection: socket.socket, read: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: RoutedConnection(self._context, self._handoff, read), connection
            )
        except OSError:
            connection.close()  # The caller hung up meanwhile.
