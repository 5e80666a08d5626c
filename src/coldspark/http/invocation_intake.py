"""How the body of an invocation comes in: gathered if it is short, handed on as it comes if long.

A short body, or one that is here with its head, is handed in whole. A long one is submitted once
``HELD_BYTES_MAX`` are here and goes to its replica while it comes (``uploads``), or waits on disk
where only all of it can prove who sent it (``spool``), or is gathered after all where only it can
say which endpoint is called.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable

from coldspark.errors import BodyTooLarge, ColdsparkError, StorageFull
from coldspark.http import replies
from coldspark.http.auth.refusals import AuthRefused
from coldspark.http.body_spool import BodySpool
from coldspark.http.context import HttpContext
from coldspark.http.counters import NO_ENDPOINT
from coldspark.http.door import Route
from coldspark.http.head import Head
from coldspark.http.pipeline import ConnectionPort
from coldspark.http.retries import is_retried
from coldspark.http.streamed_body import StreamedBody
from coldspark.platform.body_stream import HELD_BYTES_MAX, BodyStream
from coldspark.platform.ports import Key, Receipt, Ticket
from coldspark.spec.types import Failure, FailureKind

log = logging.getLogger(__name__)

_UNCHECKED_BYTES = 1024 * 1024
"""A body below this is judged by the endpoint's fleet; a longer one before it is read."""
_UNCHECKED_DIGITS = 7
"""The parser has checked that Content-Length is a number: a shorter one is below the limit."""


class InvocationReceiver(ABC):
    """The half of an exchange that takes the request.

    Implements ``PipelinedRequest`` for its connection.
    """

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
        "_is_turn",
        "_is_whole",
        "_limit",
        "_payload_hash",
        "_refusal",
        "_request",
        "_route",
        "_size",
        "_spool",
        "_ticket",
        "_upload",
        "_wire",
    )

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
        self._is_done = False
        self._refusal: ColdsparkError | None = None
        self._ticket: Ticket | None = None
        self._upload: StreamedBody | None = None
        """The body, when it is handed on while it comes."""
        self._spool: BodySpool | None = None
        """The body, when only all of it can prove who sent it, or when its caller may hang up."""
        self._payload_hash: str | None = None
        """SHA-256 of a body that was spooled."""

    @abstractmethod
    def _hand_in(self, body: bytes, key: Key | None, stream: BodyStream | None) -> None:
        """Hand the request to the platform. Raises ColdsparkError."""

    @abstractmethod
    def _tell(self, error: ColdsparkError, receipt: Receipt | None) -> None:
        """Answer with an error."""

    # --- Turn: what the connection says ------------------------------------------------------

    def start(self) -> None:
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
            self._wire.resume_body()
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
        if self._spool is not None:
            self._keep(self._spool, data)
        elif self._chunks is not None:
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
        elif self._spool is not None and self._refusal is None:
            self._spool.end(self._on_spooled)
        elif self._is_turn:
            self._run(self._submit)

    def start_whole(self, body: bytes) -> None:
        """Take the turn and a whole short body at once; nothing of it is left to check."""
        self._is_turn = self._is_whole = True
        self._body = body
        self._size = len(body)
        self._run(self._submit)

    def disconnect(self) -> None:
        """The caller hung up."""
        self._is_done = True
        self._let_body_go()
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
        self._refusal = BodyTooLarge(
            f"a body of {size} bytes is over the limit of {limit} bytes (body_bytes_max)"
        )
        self._is_keep_alive = False
        self._chunks, self._body = None, b""
        self._wire.stop_reading()
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
        if self._route.endpoint is None or self._spool is not None:
            return
        if self._is_turn:
            self._run(self._submit_early)
        else:
            self._wire.pause_body()

    def _submit_early(self) -> None:
        head = self._head
        ahead = self._context.authentication.identify_by_head(
            head.method, head.raw_path, head.query, head.headers
        )
        length = head.headers.get("content-length")
        pieces = [self._body] if self._chunks is None else self._chunks
        self._chunks, self._body = None, b""
        # Who would send it again may hang up before a replica has taken it: it must be here then.
        if ahead is None or (self._route.is_retried and is_retried(head.headers)):
            self._spool = spool = BodySpool(
                self._wire, self._context.spool_quota, self._on_spool_error
            )
            for piece in pieces:
                spool.feed(piece)
            return
        size = None if length is None else int(length)
        self._upload = upload = StreamedBody(self._wire, size, ahead, pieces)
        self._hand_in(b"", upload.key, upload.stream)

    def _pass_on(self, upload: StreamedBody, data: bytes) -> None:
        if self._is_done:
            return
        try:
            upload.feed(data)
        except BodyTooLarge as error:
            self._break_off(error)

    def _pass_end_on(self, upload: StreamedBody) -> None:
        try:
            upload.end()
        except AuthRefused as error:
            self._break_off(error)

    def _keep(self, spool: BodySpool, data: bytes) -> None:
        try:
            spool.feed(data)
        except StorageFull as error:
            self._on_spool_error(error)

    def _on_spooled(self, payload_hash: str) -> None:
        self._run(lambda: self._submit_spooled(payload_hash))

    def _submit_spooled(self, payload_hash: str) -> None:
        head, spool, gate = self._head, self._spool, self._context.authentication
        assert spool is not None
        self._payload_hash = payload_hash
        key = gate.identify(head.method, head.raw_path, head.query, head.headers, payload_hash)
        self._hand_in(b"", key, spool.stream())

    def _on_spool_error(self, error: ColdsparkError) -> None:
        if self._ticket is None:
            self._tell(error, None)
        else:
            self._break_off(error)

    def _break_off(self, error: ColdsparkError) -> None:
        """End a call whose body went wrong, before its replica can take it for whole."""
        self._refusal = error
        if self._ticket is not None:
            failure = Failure(kind=FailureKind(error.code), message=str(error))
            self._ticket.break_off(failure)

    def _let_body_go(self) -> None:
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
        gate = self._context.authentication
        key = gate.identify(head.method, head.raw_path, head.query, head.headers, body)
        self._hand_in(body, key, None)
