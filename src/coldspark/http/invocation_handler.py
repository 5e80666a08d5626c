"""One invocation on the hot path: hands it in, and writes what comes back.

No task, no future, no ASGI: the platform calls the sink, the sink writes to the socket. A reply
is one write unless it is long. What cannot be known before the end of a stream (cost, time) goes
into trailers.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from coldspark.errors import ColdsparkError
from coldspark.http import replies
from coldspark.http.auth.scopes import KeyAction
from coldspark.http.context import HttpContext
from coldspark.http.counters import NO_ENDPOINT
from coldspark.http.door import Reply, Route
from coldspark.http.failure_errors import error_from
from coldspark.http.framing import ReplyFraming, framing_for
from coldspark.http.head import Head
from coldspark.http.invocation_intake import InvocationReceiver
from coldspark.http.pipeline import ConnectionPort
from coldspark.http.retries import is_retried
from coldspark.platform.body_stream import BodyStream
from coldspark.platform.ports import Invocation, Key, Receipt, Ticket
from coldspark.spec.types import Failure

_JOINED_BYTES = 128 * 1024
"""A shorter body is copied behind its head; for a longer one malloc would map fresh pages."""
_GATHERED_BYTES_MAX = 64 * 1024
"""Of a stream that the door tells whole: an error, whose rest nobody reads."""


class InvocationHandler(InvocationReceiver):
    """One held request.

    Implements ``Sink`` for the platform and ``PipelinedRequest`` for its connection.
    """

    __slots__ = ("_gathered", "_media", "_status", "_stream")

    def __init__(
        self,
        context: HttpContext,
        wire: ConnectionPort,
        route: Route,
        head: Head,
        *,
        is_keep_alive: bool,
        is_old: bool,
    ) -> None:
        super().__init__(context, wire, route, head, is_keep_alive=is_keep_alive, is_old=is_old)
        self._stream: ReplyFraming | None = None
        self._gathered: tuple[int, Sequence[tuple[str, str]], bytearray] | None = None
        """A stream that the door tells whole, as far as it is here."""
        self._status = 0
        self._media = ""

    def _hand_in(self, body: bytes, key: Key | None, stream: BodyStream | None) -> None:
        head, context, route = self._head, self._context, self._route
        invocation = route.door.invocation(route, head, body, key, self._request)
        if stream is not None:
            invocation = replace(invocation, stream=stream)
        context.authentication.allow(key, KeyAction.INVOKE, invocation.endpoint)
        self._endpoint = invocation.endpoint
        if route.is_retried and is_retried(head.headers):
            ticket = self._hand_in_once(invocation, head.headers)
        else:
            ticket = context.platform.submit(invocation, self)
        if self._is_done:
            return  # The platform answered before it returned.
        self._ticket = ticket
        if self._is_paused:
            ticket.pause()

    def _hand_in_once(self, invocation: Invocation, headers: Mapping[str, str]) -> Ticket:
        """Hand it in unless an earlier attempt runs or was answered: then its answer is ours."""
        context, retries, hash = self._context, self._context.retries, self._payload_hash
        run = retries.find(headers, invocation, hash)
        if run is not None:
            self._let_body_go()
            self._request = run.request
            return run.subscribe(headers, self)
        spool, self._spool = self._spool, None
        let_go = None if spool is None else spool.close
        return retries.submit(context.platform, headers, invocation, self, hash, let_go)

    # --- Sink: what the platform says ---------------------------------------------------------

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
        told = route.door.begin(route, self._request, status, headers, variant)
        if told is None:
            self._gathered = status, headers, bytearray()
            return
        stream = framing_for(
            self._head.method, status, headers, is_old=self._is_old, wrap=route.wrap
        )
        status, headers = told
        self._status = status
        self._media = next((text for name, text in headers if name.lower() == "content-type"), "")
        self._stream = stream
        self._is_keep_alive = self._is_keep_alive and stream.is_reusable
        own = f"x-coldspark-request-id: {self._request}\r\n"
        self._wire.write(self._head_bytes(status, headers, stream.line, own))

    def write(self, chunk: bytes) -> None:
        """Write a piece of a stream."""
        if not chunk or self._is_done:
            return
        if self._gathered is not None:
            body = self._gathered[2]
            body += chunk[: _GATHERED_BYTES_MAX - len(body)]
            return
        assert self._stream is not None, "write before begin"
        self._stream.write(self._wire, chunk)

    def end(self, receipt: Receipt) -> None:
        """Write the end of a stream."""
        if self._is_done:
            return
        if self._gathered is not None:
            status, headers, body = self._gathered
            self.reply(status, headers, bytes(body), receipt)
            return
        assert self._stream is not None, "end before begin"
        is_good = self._stream.end(self._wire, receipt)
        self._settle(self._status, receipt)
        if is_good:
            self._wire.finish_request(self._is_keep_alive)
        else:
            self._wire.break_off(is_reset=False)

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        """Write an error, or break the stream that has begun."""
        if not self._is_done:
            self._tell(self._refusal or error_from(failure), receipt)

    # --- the reply ----------------------------------------------------------------------------

    def _tell(self, error: ColdsparkError, receipt: Receipt | None) -> None:
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
        last_words = self._route.door.stream_error(self._request, error, self._media)
        if last_words and stream.can_write_error:
            stream.write_error(self._wire, last_words)
        self._settle(self._status, receipt)
        # Where only closing ends the reply, a plain close would look like a good end.
        self._wire.break_off(is_reset=not stream.is_reusable)

    def _write_whole(self, reply: Reply, receipt: Receipt | None) -> None:
        status, headers, body = reply
        framing = "" if status in (204, 304) else f"content-length: {len(body)}\r\n"
        if receipt is None:
            own = f"x-coldspark-request-id: {self._request}\r\n"
        else:
            own = replies.receipt_lines(self._request, receipt)
        head = self._head_bytes(status, headers, framing, own)
        is_bodiless = not framing or self._head.method == "HEAD"
        if is_bodiless:
            self._wire.write(head)
        elif len(body) < _JOINED_BYTES:
            self._wire.write(head + body)
        else:
            self._wire.write(head)
            self._wire.write(body)
        self._settle(status, receipt)
        self._wire.finish_request(self._is_keep_alive)

    def _head_bytes(
        self, status: int, headers: Sequence[tuple[str, str]], framing: str, own: str
    ) -> bytes:
        connection = ""
        if not (self._is_keep_alive and self._is_whole) or self._context.is_draining:
            self._is_keep_alive = False
            connection = replies.CLOSE
        elif self._is_old:
            connection = replies.KEEP_ALIVE
        lines = replies.header_lines(headers, self._request)
        return (
            f"{replies.status_line(status)}\r\n{lines}{framing}{own}"
            f"{self._context.date_line}{connection}\r\n"
        ).encode("latin-1", "replace")

    def _settle(self, status: int, receipt: Receipt | None) -> None:
        """Count the answer. From here on nothing more is written."""
        self._is_done = True
        self._ticket = None
        if not self._is_whole:
            self._wire.stop_reading()
        self._let_body_go()
        tally = self._context.counters
        # Without a receipt there may be no such endpoint: callers must not choose label values.
        tally.count_reply(NO_ENDPOINT if receipt is None else self._endpoint, status)
        if receipt is not None and receipt.usage.is_cold:
            tally.count_wake(receipt.usage.waterfall)
