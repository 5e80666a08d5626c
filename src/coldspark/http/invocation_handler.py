"""One invocation on the hot path: takes the request in, submits it, and writes the reply.

No task, no future, no ASGI: the platform calls the sink, the sink writes to the socket.

A short body, or one that is here with its head, is submitted whole. A long one is submitted once
``HELD_BYTES_MAX`` are here and goes to its replica while it comes (``streamed_body``), or waits on
disk where only all of it can prove who sent it (``body_spool``), or is gathered after all where
only it can say which endpoint is called.

A reply is one write unless it is long. What cannot be known before the end of a stream (cost, time)
goes into trailers.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from coldspark.errors import BY_CODE, BodyTooLarge, ColdsparkError, StorageFull
from coldspark.http import replies
from coldspark.http.auth.refusals import AuthRefused
from coldspark.http.auth.scopes import KeyAction
from coldspark.http.body_spool import BodySpool
from coldspark.http.context import HttpContext
from coldspark.http.counters import NO_ENDPOINT
from coldspark.http.door import Reply, Route
from coldspark.http.framing import ReplyFraming, framing_for
from coldspark.http.head import Head
from coldspark.http.retries import is_retried
from coldspark.http.streamed_body import StreamedBody
from coldspark.platform.body_stream import HELD_BYTES_MAX, BodyStream
from coldspark.platform.ports import Invocation, Key, Receipt, Ticket
from coldspark.spec.types import Failure, FailureKind

if TYPE_CHECKING:
    from coldspark.http.connection import Connection

log = logging.getLogger(__name__)

_UNCHECKED_BYTES = 1024 * 1024
"""A body below this is judged by the endpoint's fleet; a longer one before it is read."""
_UNCHECKED_DIGITS = 7
"""The parser has checked that Content-Length is a number: a shorter one is below the limit."""
_JOINED_BYTES = 128 * 1024
"""A shorter body is copied behind its head; for a longer one malloc would map fresh pages."""
_BUFFERED_BYTES_MAX = 64 * 1024
"""Of a stream that the door answers whole: an error, whose rest nobody reads."""


class InvocationHandler:
    """One invocation: a ``PipelinedRequest`` of its connection, and the platform's ``Sink``."""

    __slots__ = (
        "_body",
        "_buffered",
        "_chunks",
        "_connection",
        "_context",
        "_endpoint",
        "_head",
        "_is_done",
        "_is_http10",
        "_is_keep_alive",
        "_is_paused",
        "_is_started",
        "_is_whole",
        "_limit",
        "_media",
        "_payload_hash",
        "_refusal",
        "_request",
        "_route",
        "_size",
        "_spool",
        "_started_s",
        "_status",
        "_stream",
        "_ticket",
        "_upload",
    )

    def __init__(
        self,
        context: HttpContext,
        connection: "Connection",
        route: Route,
        head: Head,
        started_s: float,
        *,
        is_keep_alive: bool,
        is_http10: bool,
    ) -> None:
        """``started_s``: monotonic seconds when the head was read."""
        self._context = context
        self._connection = connection
        self._route = route
        self._head = head
        self._started_s = started_s
        self._is_keep_alive = is_keep_alive
        # HTTP/1.0: no chunks, no trailers, no 100-continue, and keep-alive must be said.
        self._is_http10 = is_http10
        self._request = next(context.ids)
        self._endpoint = NO_ENDPOINT
        self._is_started = False
        """Every earlier request of the connection is answered."""
        self._is_whole = False
        self._is_paused = False
        self._is_done = False
        self._ticket: Ticket | None = None
        # The body.
        self._body = b""
        self._chunks: list[bytes] | None = None
        self._size = 0
        self._limit = _UNCHECKED_BYTES
        self._refusal: ColdsparkError | None = None
        self._upload: StreamedBody | None = None
        """The body, when it is handed on while it comes."""
        self._spool: BodySpool | None = None
        """The body, when only all of it can prove who sent it, or when its caller may retry."""
        self._payload_hash: str | None = None
        """SHA-256 of a body that was spooled."""
        # The reply.
        self._stream: ReplyFraming | None = None
        self._buffered: tuple[int, Sequence[tuple[str, str]], bytearray] | None = None
        """A stream that the door answers whole, as far as it is here."""
        self._status = 0
        self._media = ""

    # --- for its connection -------------------------------------------------------------------

    def start(self) -> None:
        """Start: every earlier request of this connection is answered."""
        self._is_started = True
        if self._is_whole:
            self._guard(self._submit)
            return
        headers = self._head.headers
        length = headers.get("content-length", "")
        if len(length) >= _UNCHECKED_DIGITS and not self._fits(int(length)):
            return
        if "expect" in headers and self._expects_continue():
            self._connection.write(replies.CONTINUE)
        if self._size > HELD_BYTES_MAX:
            self._connection.resume_body()
            self._stream_long_body()

    def feed(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self._upload is not None:
            self._feed_upload(self._upload, data)
            return
        if self._refusal is not None:
            return
        self._size += len(data)
        if self._size > self._limit and not self._fits(self._size):
            return
        if self._spool is not None:
            self._feed_spool(self._spool, data)
        elif self._chunks is not None:
            self._chunks.append(data)
        elif self._body:
            self._chunks = [self._body, data]
        else:
            self._body = data
        if self._size > HELD_BYTES_MAX:
            self._stream_long_body()

    def complete(self) -> None:
        """End the body."""
        if self._is_whole:
            return
        self._is_whole = True
        if self._upload is not None:
            self._end_upload(self._upload)
        elif self._spool is not None and self._refusal is None:
            self._spool.end(self._on_spooled)
        elif self._is_started:
            self._guard(self._submit)

    def start_whole(self, body: bytes) -> None:
        """Start with a whole short body: nothing of it is left to check."""
        self._is_started = self._is_whole = True
        self._body = body
        self._size = len(body)
        self._guard(self._submit)

    def disconnect(self) -> None:
        """Cancel the call: the caller disconnected."""
        self._is_done = True
        self._release_body()
        if self._ticket is not None:
            self._ticket.cancel()
            self._ticket = None

    def pause(self) -> None:
        """Pause the reply: the caller reads slowly."""
        self._is_paused = True
        if self._ticket is not None:
            self._ticket.pause()

    def resume(self) -> None:
        """Resume the reply: the caller keeps up again."""
        self._is_paused = False
        if self._ticket is not None:
            self._ticket.resume()

    def close_after(self) -> None:
        """Let the connection end with this reply."""
        self._is_keep_alive = False

    # --- the body -----------------------------------------------------------------------------

    def _expects_continue(self) -> bool:
        is_asked = self._head.headers["expect"].lower() == "100-continue"
        return is_asked and not self._is_http10 and self._size == 0

    def _fits(self, size: int) -> bool:
        """Compare with the endpoint's own limit; refuse the rest of a body that is over it."""
        if size <= self._limit:
            return True
        limit = self._route.door.body_bytes_max(self._route, self._context.platform)
        self._limit = max(limit, _UNCHECKED_BYTES)
        if size <= self._limit:
            return True
        self._refusal = BodyTooLarge(
            f"a body of {size} bytes is over the limit of {limit} bytes (body_bytes_max)"
        )
        self._is_keep_alive = False
        self._chunks, self._body = None, b""
        self._connection.stop_reading()
        self.complete()
        return False

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ColdsparkError as error:
            self._write_error(error, None)
        except Exception:
            # A request's outermost edge: a bug must not take the server's other requests with it.
            log.exception("request %s met a bug", self._request)
            self._write_error(
                ColdsparkError("the platform made a mistake; its log says which"), None
            )

    def _stream_long_body(self) -> None:
        """Stream a long body, unless it is here already, or must be read first."""
        length = self._head.headers.get("content-length")
        if length is not None and self._size >= int(length):
            return
        if self._route.endpoint is None or self._spool is not None:
            return
        if self._is_started:
            self._guard(self._submit_early)
        else:
            self._connection.pause_body()

    def _submit_early(self) -> None:
        head = self._head
        ahead = self._context.authentication.identify_by_head(
            head.method, head.raw_path, head.query, head.headers
        )
        length = head.headers.get("content-length")
        pieces = [self._body] if self._chunks is None else self._chunks
        self._chunks, self._body = None, b""
        # Who would retry may disconnect before a replica has taken it: it must be here then.
        if ahead is None or (self._route.is_retried and is_retried(head.headers)):
            self._spool = spool = BodySpool(
                self._connection, self._context.spool_quota, self._on_spool_error
            )
            for piece in pieces:
                spool.feed(piece)
            return
        size = None if length is None else int(length)
        self._upload = upload = StreamedBody(self._connection, size, ahead, pieces)
        self._submit_to_platform(b"", upload.key, upload.stream)

    def _feed_upload(self, upload: StreamedBody, data: bytes) -> None:
        if self._is_done:
            return
        try:
            upload.feed(data)
        except BodyTooLarge as error:
            self._break_call(error)

    def _end_upload(self, upload: StreamedBody) -> None:
        try:
            upload.end()
        except AuthRefused as error:
            self._break_call(error)

    def _feed_spool(self, spool: BodySpool, data: bytes) -> None:
        try:
            spool.feed(data)
        except StorageFull as error:
            self._on_spool_error(error)

    def _on_spooled(self, payload_hash: str) -> None:
        self._guard(lambda: self._submit_spooled(payload_hash))

    def _submit_spooled(self, payload_hash: str) -> None:
        head, spool = self._head, self._spool
        assert spool is not None
        self._payload_hash = payload_hash
        key = self._context.authentication.identify(
            head.method, head.raw_path, head.query, head.headers, payload_hash
        )
        self._submit_to_platform(b"", key, spool.stream())

    def _on_spool_error(self, error: ColdsparkError) -> None:
        if self._ticket is None:
            self._write_error(error, None)
        else:
            self._break_call(error)

    def _break_call(self, error: ColdsparkError) -> None:
        """End a call whose body went wrong, before its replica can take it for whole."""
        self._refusal = error
        if self._ticket is not None:
            failure = Failure(kind=FailureKind(error.code), message=str(error))
            self._ticket.break_off(failure)

    def _release_body(self) -> None:
        if self._upload is not None:
            self._upload.close()
        if self._spool is not None:
            self._spool.close()

    def _submit(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        head = self._head
        body = self._body if self._chunks is None else b"".join(self._chunks)
        self._chunks, self._body = None, b""
        key = self._context.authentication.identify(
            head.method, head.raw_path, head.query, head.headers, body
        )
        self._submit_to_platform(body, key, None)

    def _submit_to_platform(self, body: bytes, key: Key | None, stream: BodyStream | None) -> None:
        head, context, route = self._head, self._context, self._route
        invocation = route.door.invocation(route, head, body, key, self._request, self._started_s)
        if stream is not None:
            invocation = replace(invocation, stream=stream)
        context.authentication.allow(key, KeyAction.INVOKE, invocation.endpoint)
        self._endpoint = invocation.endpoint
        if route.is_retried and is_retried(head.headers):
            ticket = self._submit_retried(invocation, head.headers)
        else:
            ticket = context.platform.submit(invocation, self)
        if self._is_done:
            return  # The platform answered before it returned.
        self._ticket = ticket
        if self._is_paused:
            ticket.pause()

    def _submit_retried(self, invocation: Invocation, headers: Mapping[str, str]) -> Ticket:
        """Submit, or subscribe to an earlier attempt that is in flight or was answered."""
        context, retries, hash = self._context, self._context.retries, self._payload_hash
        in_flight = retries.find(headers, invocation, hash)
        if in_flight is not None:
            self._release_body()
            self._request = in_flight.request
            return in_flight.subscribe(headers, self)
        spool, self._spool = self._spool, None
        release_body = None if spool is None else spool.close
        return retries.submit(context.platform, headers, invocation, self, hash, release_body)

    # --- for the platform ---------------------------------------------------------------------

    def reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, receipt: Receipt
    ) -> None:
        """Write a whole reply, in one write unless it is long."""
        if not self._is_done:
            reply = (status, headers, body)
            self._write_whole(
                self._route.door.reply(self._route, self._request, reply, receipt), receipt
            )

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Write the head of a stream."""
        if self._is_done:
            return
        route, ticket = self._route, self._ticket
        variant = None if ticket is None else ticket.variant
        begun = route.door.begin(route, self._request, status, headers, variant)
        if begun is None:
            self._buffered = status, headers, bytearray()
            return
        stream = framing_for(
            self._head.method, status, headers, is_http10=self._is_http10, wrap=route.wrap
        )
        status, headers = begun
        self._status = status
        self._media = next((text for name, text in headers if name.lower() == "content-type"), "")
        self._stream = stream
        self._is_keep_alive = self._is_keep_alive and stream.is_reusable
        own = f"x-coldspark-request-id: {self._request}\r\n"
        self._connection.write(self._render_head(status, headers, stream.line, own))

    def write(self, chunk: bytes) -> None:
        """Write a piece of a stream."""
        if not chunk or self._is_done:
            return
        if self._buffered is not None:
            body = self._buffered[2]
            body += chunk[: _BUFFERED_BYTES_MAX - len(body)]
            return
        assert self._stream is not None, "write before begin"
        self._stream.write(self._connection, chunk)

    def end(self, receipt: Receipt) -> None:
        """Write the end of a stream."""
        if self._is_done:
            return
        if self._buffered is not None:
            status, headers, body = self._buffered
            self.reply(status, headers, bytes(body), receipt)
            return
        assert self._stream is not None, "end before begin"
        is_good = self._stream.end(self._connection, receipt)
        self._settle(self._status, receipt)
        if is_good:
            self._connection.finish_request(self._is_keep_alive)
        else:
            self._connection.break_off(is_reset=False)

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        """Write an error, or break the stream that has begun."""
        if not self._is_done:
            self._write_error(self._refusal or _error_of(failure), receipt)

    # --- the reply ----------------------------------------------------------------------------

    def _write_error(self, error: ColdsparkError, receipt: Receipt | None) -> None:
        if self._is_done:
            return
        if self._stream is None:
            reply = self._route.door.failure(self._route, self._request, error, receipt)
            self._write_whole(reply, receipt)
        else:
            self._break_stream(self._stream, error, receipt)

    def _break_stream(
        self, stream: ReplyFraming, error: ColdsparkError, receipt: Receipt | None
    ) -> None:
        error_bytes = self._route.door.stream_error(self._request, error, self._media)
        if error_bytes and stream.can_write_error:
            stream.write_error(self._connection, error_bytes)
        self._settle(self._status, receipt)
        # Where only closing ends the reply, a plain close would look like a good end.
        self._connection.break_off(is_reset=not stream.is_reusable)

    def _write_whole(self, reply: Reply, receipt: Receipt | None) -> None:
        status, headers, body = reply
        framing = "" if status in (204, 304) else f"content-length: {len(body)}\r\n"
        if receipt is None:
            own = f"x-coldspark-request-id: {self._request}\r\n"
        else:
            own = replies.receipt_lines(self._request, receipt)
        head = self._render_head(status, headers, framing, own)
        is_bodiless = not framing or self._head.method == "HEAD"
        if is_bodiless:
            self._connection.write(head)
        elif len(body) < _JOINED_BYTES:
            self._connection.write(head + body)
        else:
            self._connection.write(head)
            self._connection.write(body)
        self._settle(status, receipt)
        self._connection.finish_request(self._is_keep_alive)

    def _render_head(
        self, status: int, headers: Sequence[tuple[str, str]], framing: str, own: str
    ) -> bytes:
        persistence = ""
        if not (self._is_keep_alive and self._is_whole) or self._context.is_draining:
            self._is_keep_alive = False
            persistence = replies.CLOSE
        elif self._is_http10:
            persistence = replies.KEEP_ALIVE
        lines = replies.header_lines(headers, self._request)
        return (
            f"{replies.status_line(status)}\r\n{lines}{framing}{own}"
            f"{self._context.date_line}{persistence}\r\n"
        ).encode("latin-1", "replace")

    def _settle(self, status: int, receipt: Receipt | None) -> None:
        """Count the reply. From here on nothing more is written."""
        self._is_done = True
        self._ticket = None
        if not self._is_whole:
            self._connection.stop_reading()
        if self._upload is not None or self._spool is not None:
            self._release_body()
        counters = self._context.counters
        # Without a receipt there may be no such endpoint: callers must not choose label values.
        counters.count_reply(NO_ENDPOINT if receipt is None else self._endpoint, status)
        if receipt is not None and receipt.usage.is_cold:
            counters.count_wake(receipt.usage.waterfall)


def _error_of(failure: Failure) -> ColdsparkError:
    return BY_CODE[failure.kind](
        failure.message, log_tail=failure.log_tail, retry_after_s=failure.retry_after_s
    )
