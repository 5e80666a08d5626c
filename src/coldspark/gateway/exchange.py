"""One invocation on the hot path: gathers the body, hands it in, and writes what comes back.

No task, no future, no ASGI: the platform calls the sink, the sink writes to the socket. A reply
is one write unless it is long. What cannot be known before the end of a stream (cost, time) goes
into trailers.
"""

import logging
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from coldspark.core.types import Failure, FailureKind
from coldspark.errors import BodyTooLarge, ColdsparkError
from coldspark.gateway import replies
from coldspark.gateway.auth.refusals import AuthRefused
from coldspark.gateway.auth.scopes import Action
from coldspark.gateway.context import Context
from coldspark.gateway.doors import Reply, Route
from coldspark.gateway.head import Head
from coldspark.gateway.http_errors import error_from
from coldspark.gateway.streams import Stream, stream_for
from coldspark.gateway.tally import NO_ENDPOINT
from coldspark.gateway.turns import Wire
from coldspark.gateway.uploads import Upload
from coldspark.runtime.body_stream import HELD_BYTES_MAX, BodyStream
from coldspark.runtime.ports import Key, Receipt, Ticket

log = logging.getLogger(__name__)

_UNCHECKED_BYTES = 1024 * 1024
"""A body below this is judged by the endpoint's fleet; a longer one before it is read."""
_UNCHECKED_DIGITS = 7
"""The parser has checked that Content-Length is a number: a shorter one is below the limit."""

_JOINED_BYTES = 128 * 1024
"""A shorter body is copied behind its head; for a longer one malloc would map fresh pages."""


class Exchange:
    """One held request. Implements ``Sink`` for the platform and ``Turn`` for its connection."""

    __slots__ = (
        "_body",
        "_chunks",
        "_context",
        "_endpoint",
        "_head",
        "_is_done",
        "_is_keep_alive",
        "_is_old",
        "_is_paused",
        "_is_sealed",
        "_is_turn",
        "_is_whole",
        "_limit",
        "_media",
        "_refusal",
        "_request",
        "_route",
        "_size",
        "_status",
        "_stream",
        "_ticket",
        "_upload",
        "_wire",
    )

    def __init__(
        self,
        context: Context,
        wire: Wire,
        route: Route,
        head: Head,
        *,
        is_keep_alive: bool,
        is_old: bool,
    ) -> None:
        self._context = context
        self._wire = wire
        self._route = route
        self._head = head
        self._is_keep_alive = is_keep_alive
        # HTTP/1.0: no chunks, no trailers, no 100-continue, and keep-alive must be said.
        self._is_old = is_old
        self._request = next(context.ids)
        self._endpoint = NO_ENDPOINT
        self._body = b""
        self._chunks: list[bytes] | None = None
        self._size = 0
        self._limit = _UNCHECKED_BYTES
        self._is_turn = False
        self._is_whole = False
        self._is_paused = False
        self._is_sealed = False
        """Only the whole body can prove who sent it."""
        self._is_done = False
        self._refusal: ColdsparkError | None = None
        self._ticket: Ticket | None = None
        self._upload: Upload | None = None
        self._stream: Stream | None = None
        self._status = 0
        self._media = ""

    # --- Turn: what the connection says ------------------------------------------------------

    def take_turn(self) -> None:
        """Every earlier request of this connection is answered."""
        self._is_turn = True
        if self._is_whole:
            self._run(self._submit)
            return
        headers = self._head.headers
        length = headers.get("content-length", "")
        if len(length) >= _UNCHECKED_DIGITS and not self._fits(int(length)):
            return
        if "expect" in headers and self._expects_continue():
            self._wire.write(replies.CONTINUE)
        if self._size > HELD_BYTES_MAX:
            self._wire.release_body()
            self._grow_long()

    def feed(self, data: bytes) -> None:
        """Take a piece of the body."""
        if self._upload is not None:
            self._pass_on(self._upload, data)
            return
        if self._refusal is not None:
            return
        self._size += len(data)
        if self._size > self._limit and not self._fits(self._size):
            return
        if self._chunks is not None:
            self._chunks.append(data)
        elif self._body:
            self._chunks = [self._body, data]
        else:
            self._body = data
        if self._size > HELD_BYTES_MAX:
            self._grow_long()

    def complete(self) -> None:
        """The whole body is here."""
        if self._is_whole:
            return
        self._is_whole = True
        if self._upload is not None:
            self._pass_end_on(self._upload)
        elif self._is_turn:
            self._run(self._submit)

    def take_whole(self, body: bytes) -> None:
        """Take the turn and a whole short body at once; nothing of it is left to check."""
        self._is_turn = self._is_whole = True
        self._body = body
        self._size = len(body)
        self._run(self._submit)

    def drop(self) -> None:
        """The caller hung up."""
        self._is_done = True
        if self._ticket is not None:
            self._ticket.cancel()
            self._ticket = None

    def pause(self) -> None:
        """The caller reads slowly."""
        self._is_paused = True
        if self._ticket is not None:
            self._ticket.pause()

    def resume(self) -> None:
        """The caller keeps up again."""
        self._is_paused = False
        if self._ticket is not None:
            self._ticket.resume()

    def close_after(self) -> None:
        """Let the connection end with this reply."""
        self._is_keep_alive = False

    # --- the request --------------------------------------------------------------------------

    def _expects_continue(self) -> bool:
        is_asked = self._head.headers["expect"].lower() == "100-continue"
        return is_asked and not self._is_old and self._size == 0

    def _fits(self, size: int) -> bool:
        """Compare with the endpoint's own limit; refuse the rest of a body that is over it."""
        if size <= self._limit:
            return True
        limit = self._route.door.body_bytes_max(self._route, self._context.platform)
        self._limit = max(limit, _UNCHECKED_BYTES)
        if size <= self._limit:
            return True
        self._refusal = BodyTooLarge(f"a body of {size} bytes is over the limit of {limit} bytes")
        self._is_keep_alive = False
        self._chunks, self._body = None, b""
        self._wire.deafen()
        self.complete()
        return False

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ColdsparkError as error:
            self._tell(error, None)
        except Exception:
            # A request's outermost edge: a bug must not take the server's other requests with it.
            log.exception("request %s met a bug", self._request)
            self._tell(ColdsparkError("the platform made a mistake; its log says which"), None)

    def _grow_long(self) -> None:
        """Hand a long body on while it comes, unless it is here already, or must be read first."""
        length = self._head.headers.get("content-length")
        if length is not None and self._size >= int(length):
            return
        if self._route.endpoint is None or self._is_sealed:
            return
        if self._is_turn:
            self._run(self._submit_early)
        else:
            self._wire.hold_body()

    def _submit_early(self) -> None:
        head = self._head
        ahead = self._context.gate.identify_ahead(
            head.method, head.raw_path, head.query, head.headers
        )
        if ahead is None:
            self._is_sealed = True
            return
        length = head.headers.get("content-length")
        pieces = [self._body] if self._chunks is None else self._chunks
        self._chunks, self._body = None, b""
        size = None if length is None else int(length)
        self._upload = upload = Upload(self._wire, size, ahead, pieces)
        self._hand_in(b"", upload.key, upload.stream)

    def _pass_on(self, upload: Upload, data: bytes) -> None:
        if self._is_done:
            return
        try:
            upload.feed(data)
        except BodyTooLarge as error:
            self._break_off(error)

    def _pass_end_on(self, upload: Upload) -> None:
        try:
            upload.end()
        except AuthRefused as error:
            self._break_off(error)

    def _break_off(self, error: ColdsparkError) -> None:
        """End a call whose body went wrong, before its replica can take it for whole."""
        self._refusal = error
        if self._ticket is not None:
            failure = Failure(kind=FailureKind(error.code), message=str(error))
            self._ticket.break_off(failure)

    def _submit(self) -> None:
        if self._refusal is not None:
            raise self._refusal
        head = self._head
        body = self._body if self._chunks is None else b"".join(self._chunks)
        self._chunks, self._body = None, b""
        gate = self._context.gate
        key = gate.identify(head.method, head.raw_path, head.query, head.headers, body)
        self._hand_in(body, key, None)

    def _hand_in(self, body: bytes, key: Key | None, stream: BodyStream | None) -> None:
        head, context, route = self._head, self._context, self._route
        invocation = route.door.invocation(route, head, body, key, self._request)
        if stream is not None:
            invocation = replace(invocation, stream=stream)
        context.gate.allow(key, Action.INVOKE, invocation.endpoint)
        self._endpoint = invocation.endpoint
        ticket = context.platform.submit(invocation, self)
        if self._is_done:
            return  # The platform answered before it returned.
        self._ticket = ticket
        if self._is_paused:
            ticket.pause()

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
        stream = stream_for(self._head.method, status, headers, is_old=self._is_old)
        status, headers = self._route.door.begin(self._route, self._request, status, headers)
        self._status = status
        self._media = next((text for name, text in headers if name.lower() == "content-type"), "")
        self._stream = stream
        self._is_keep_alive = self._is_keep_alive and stream.is_reusable
        own = f"x-coldspark-request-id: {self._request}\r\n"
        self._wire.write(self._head_bytes(status, headers, stream.line, own))

    def write(self, chunk: bytes) -> None:
        """Write a piece of a stream."""
        if chunk and not self._is_done:
            assert self._stream is not None, "write before begin"
            self._stream.write(self._wire, chunk)

    def end(self, receipt: Receipt) -> None:
        """Write the end of a stream."""
        if self._is_done:
            return
        assert self._stream is not None, "end before begin"
        is_good = self._stream.end(self._wire, receipt)
        self._settle(self._status, receipt)
        if is_good:
            self._wire.finished(self._is_keep_alive)
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
            reply = self._route.door.failure(self._route, self._request, error)
            self._write_whole(reply, receipt)
        else:
            self._break_stream(self._stream, error, receipt)

    def _break_stream(self, stream: Stream, error: ColdsparkError, receipt: Receipt | None) -> None:
        last_words = self._route.door.broken(self._request, error, self._media)
        if last_words and stream.takes_last_words:
            stream.write(self._wire, last_words)
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
        self._wire.finished(self._is_keep_alive)

    def _head_bytes(
        self, status: int, headers: Sequence[tuple[str, str]], framing: str, own: str
    ) -> bytes:
        connection = ""
        if not (self._is_keep_alive and self._is_whole) or self._context.is_draining:
            self._is_keep_alive = False
            connection = replies.CLOSE
        elif self._is_old:
            connection = replies.KEEP_ALIVE
        return (
            f"{replies.status_line(status)}\r\n{replies.header_lines(headers)}{framing}{own}"
            f"{self._context.date_line}{connection}\r\n"
        ).encode("latin-1", "replace")

    def _settle(self, status: int, receipt: Receipt | None) -> None:
        """Count the answer. From here on nothing more is written."""
        self._is_done = True
        self._ticket = None
        if not self._is_whole:
            self._wire.deafen()
        if self._upload is not None:
            self._upload.close()
        tally = self._context.tally
        # Without a receipt there may be no such endpoint: callers must not choose label values.
        tally.answered(NO_ENDPOINT if receipt is None else self._endpoint, status)
        if receipt is not None and receipt.usage.is_cold:
            tally.woke(receipt.usage.waterfall)
