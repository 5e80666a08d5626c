"""Calls to a replica that is an HTTP server: keep-alive connections, streaming, back-pressure.

A streamed body cannot be sent twice. So it goes out on a fresh connection, which no server can have
given up as idle, and what breaks then has failed.

A connection that breaks says nothing of why. If the process has died, its exit says so in a
moment, with its log: so a broken call waits ``VERDICT_DELAY_S`` for that word before it fails.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from coldspark.node.transport.channel import CANCELLED
from coldspark.node.transport.http_connection import HttpConnection
from coldspark.node.transport.http_headers import HttpHeaderCache
from coldspark.node.transport.http_headers import request_head as request_head
from coldspark.platform.ports import Invocation, ReplySink
from coldspark.spec.types import Failure, FailureKind, RequestId

VERDICT_DELAY_S = 0.2
CONNECT_TIMEOUT_S = 5.0
_PIECE_BYTES = 256 * 1024
Spawn = Callable[[Coroutine[object, object, None]], object]


class HttpCall:
    """One open call, its ``Flow``, and the exchange on whatever connection carries it."""

    __slots__ = (
        "_sink",
        "_upstream",
        "connection",
        "invocation",
        "is_aborted",
        "is_paused",
        "was_reused",
    )

    def __init__(self, upstream: "HttpUpstream", invocation: Invocation, sink: ReplySink) -> None:
        self.invocation = invocation
        self.is_paused = False
        self.is_aborted = False
        self.connection: HttpConnection | None = None
        self.was_reused = False
        """The connection had carried another exchange before."""
        self._upstream = upstream
        self._sink = sink

    def pause(self) -> None:
        """Read no more of the reply for now."""
        self.is_paused = True
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        """Read on."""
        self.is_paused = False
        if self.connection is not None:
            self.connection.resume()

    def on_room(self) -> None:
        """Write what there is of a streamed body, for as long as the server takes it."""
        connection, body = self.connection, self.invocation.stream
        assert body is not None
        while connection is not None and connection.has_room and not self.is_aborted:
            is_over = body.is_over
            piece = body.take(_PIECE_BYTES)
            if piece:
                connection.write(piece if body.size_bytes is not None else _chunk(piece))
            elif is_over:
                if body.size_bytes is None:
                    connection.write(_LAST_CHUNK)
                connection.sent()
                return
            else:
                return

    def fail(self, failure: Failure) -> None:
        """End the call with a failure, unless it is over."""
        if self._upstream.forget(self):
            self._sink.on_failure(CANCELLED if self.is_aborted else failure)

    def on_whole(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Hand the whole reply on."""
        self.connection = None
        if self._upstream.forget(self):
            self._sink.on_reply(status, headers, body, None)

    def on_head(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Hand the head on."""
        if not self.is_aborted:
            self._sink.on_head(status, headers)

    def on_chunk(self, chunk: bytes) -> None:
        """Hand a piece on."""
        if not self.is_aborted:
            self._sink.on_chunk(chunk)

    def on_end(self) -> None:
        """Hand the end on."""
        self.connection = None
        if self._upstream.forget(self):
            self._sink.on_end(None)

    def on_broken(self, message: str, *, was_unanswered: bool) -> None:
        """Try a fresh connection if this one was stale; fail otherwise."""
        self.connection = None
        self._upstream.broken(self, message, may_retry=was_unanswered and self.was_reused)


_LAST_CHUNK = b"0\r\n\r\n"


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class HttpUpstream:
    """The connections to one replica: at most ``concurrency`` are kept."""

    def __init__(self, port: int, invoke_path: str, concurrency: int, spawn: Spawn) -> None:
        self._port = port
        self._heads = HttpHeaderCache(port)
        self._invoke_path = invoke_path
        self._concurrency = concurrency
        self._spawn = spawn
        """Runs a coroutine in a task that the engine owns and awaits."""
        self._free: list[HttpConnection] = []
        self._all: set[HttpConnection] = set()
        self._calls: dict[RequestId, HttpCall] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._is_void = False

    @property
    def open_calls(self) -> int:
        """How many calls wait for their end."""
        return len(self._calls)

    def call(self, invocation: Invocation, sink: ReplySink) -> HttpCall:
        """Send a call. Its sink hears one end, or none if the replica is lost."""
        call = HttpCall(self, invocation, sink)
        self._calls[invocation.request] = call
        is_streamed = invocation.stream is not None
        while self._free:
            connection = self._free.pop()
            if is_streamed:
                # In its place: a server that serves one connection at a time waits on this one.
                connection.abort()
                break
            if connection.is_open:
                self._send(call, connection)
                return call
        self._spawn(self._connect(call))
        return call

    def abort(self, request: RequestId) -> None:
        """Hang up on a call. Its sink hears ``CANCELLED`` once the connection is closed."""
        call = self._calls.get(request)
        if call is None or call.is_aborted:
            return
        call.is_aborted = True
        if call.connection is not None:
            call.connection.abort()

    def void(self) -> None:
        """Forget every open call and hang up. Idempotent."""
        self._is_void = True
        self._calls.clear()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for connection in list(self._all):
            connection.void()
        self._free.clear()

    def forget(self, call: HttpCall) -> bool:
        """Take a call out; return whether its sink has not heard an end yet."""
        if self._calls.get(call.invocation.request) is not call:
            return False
        del self._calls[call.invocation.request]
        return True

    def broken(self, call: HttpCall, message: str, *, may_retry: bool) -> None:
        """Retry, or fail once it is clear that the process did not die."""
        if self._calls.get(call.invocation.request) is not call:
            return
        if call.is_aborted:
            call.fail(CANCELLED)
        elif may_retry:
            self._spawn(self._connect(call))
        else:
            kind = FailureKind.HANDLER_FAILED
            failure = Failure(kind=kind, message=f"The replica did not reply: {message}")
            self._fail_later(call, failure)

    def on_free(self, connection: HttpConnection) -> None:
        """Keep a connection for the next call."""
        if len(self._free) < self._concurrency and not self._is_void:
            self._free.append(connection)
        else:
            connection.abort()

    def on_closed(self, connection: HttpConnection) -> None:
        """Forget a connection."""
        self._all.discard(connection)
        if connection in self._free:
            self._free.remove(connection)

    async def _connect(self, call: HttpCall) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(
                    lambda: HttpConnection(self, self._heads), "127.0.0.1", self._port
                )
        except (OSError, TimeoutError) as error:
            reason = str(error) or f"no answer within {CONNECT_TIMEOUT_S:g} s"
            message = f"its server takes no connection on port {self._port}: {reason}"
            self.broken(call, message, may_retry=False)
            return
        self._all.add(connection)
        if self._is_void or call.is_aborted:
            connection.void()
            if not self._is_void:
                call.fail(CANCELLED)
            return
        self._send(call, connection)

    def _send(self, call: HttpCall, connection: HttpConnection) -> None:
        invocation = call.invocation
        call.connection = connection
        call.was_reused = connection.exchanges > 0
        if call.is_paused:
            connection.pause()
        pieces = self._heads.request(invocation, invocation.path or self._invoke_path)
        is_head, body = invocation.method == "HEAD", invocation.stream
        connection.send(pieces, call, is_head=is_head, is_streamed=body is not None)
        if body is not None:
            body.attach(call.on_room)

    def _fail_later(self, call: HttpCall, failure: Failure) -> None:
        def verdict() -> None:
            self._timers.discard(timer)
            call.fail(failure)

        timer = asyncio.get_running_loop().call_later(VERDICT_DELAY_S, verdict)
        self._timers.add(timer)
