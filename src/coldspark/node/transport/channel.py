"""The router's end of the channel to one Python replica: calls out, replies to their sinks.

The warm path is one ``transport.write`` a call and one sink call a reply: no task, no future.
When the replica's end is lost, the open calls are void: nobody hears of them from here (the
engine's ``on_exited`` says it for all of them at once).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import msgspec

from coldspark.node.transport.frame_headers import (
    CallHeaderEncoder,
    FailedHead,
    decode_broken,
    decode_end,
    decode_failed,
    decode_learned,
    decode_parked,
    decode_ready,
    decode_reply,
)
from coldspark.node.worker.frames import (
    BODY,
    BOOTED,
    BROKEN,
    CALL,
    CANCEL,
    CHUNK,
    CREDIT_BYTES,
    END,
    FAILED,
    HEAD,
    LEARNED,
    PARK,
    PARKED,
    PART_BYTES,
    READY,
    REPLY,
    UNPARK,
    Decoder,
    FrameError,
    encode,
    encode_credit,
    encode_headed,
    split_headed,
)
from coldspark.platform.body_stream import BodyStream, whole
from coldspark.platform.ports import Invocation, ReplySink
from coldspark.spec.types import Failure, FailureKind, RequestId, RootCause

_CREDIT_STEP = CREDIT_BYTES // 4
"""Credit is granted in pieces of this size: one small frame for every 1 MiB consumed."""
_CALLS_MAX = 2**32 - 1
_JOINED_BYTES_MAX = 16 * 1024
_TRACEBACK_LINES = 50


class ChannelListener(Protocol):
    """What a channel says about its replica."""

    def on_booted(self) -> None:
        """The process runs and begins to load."""

    def on_loaded(self, load_us: int | None) -> None:
        """The replica takes calls."""

    def on_hook_done(self, trouble: str | None) -> None:
        """The handler parked or unparked its model; ``trouble`` says what it raised."""

    def on_learned(self, modules: Sequence[str]) -> None:
        """The replica has imported these since its fork."""

    def on_broken(self, cause: RootCause, message: str, traceback: str) -> None:
        """The replica could not load; its exit follows."""

    def on_channel_lost(self, violation: str | None) -> None:
        """The channel is gone; ``violation`` says what the replica did wrong, if it did."""


class ChannelCall:
    """One open call, and its ``Flow``: paused, it grants the replica no more credit."""

    __slots__ = (
        "_channel",
        "_is_paused",
        "_owed_bytes",
        "is_aborted",
        "is_streaming",
        "number",
        "request",
        "sink",
    )

    def __init__(self, channel: "Channel", number: int, request: RequestId, sink: ReplySink):
        self.number = number
        self.request = request
        self.sink = sink
        self.is_aborted = False
        self.is_streaming = False
        self._channel = channel
        self._is_paused = False
        self._owed_bytes = 0

    def pause(self) -> None:
        """Stop granting credit: the replica stops after at most ``CREDIT_BYTES``."""
        self._is_paused = True

    def resume(self) -> None:
        """Grant what was consumed meanwhile."""
        self._is_paused = False
        self._grant(1)

    def consumed(self, size_bytes: int) -> None:
        """Count a chunk that its sink took."""
        self._owed_bytes += size_bytes
        if not self._is_paused:
            self._grant(_CREDIT_STEP)

    def _grant(self, at_least_bytes: int) -> None:
        if self._owed_bytes >= at_least_bytes:
            self._channel.send_credit(self.number, self._owed_bytes)
            self._owed_bytes = 0


class _Upload:
    """The rest of a large body; it travels as it comes and as the socket drains."""

    __slots__ = ("body", "is_in_line", "number")

    def __init__(self, number: int, body: BodyStream) -> None:
        self.number = number
        self.body = body
        self.is_in_line = False


class Channel(asyncio.Protocol):
    """The router's end. Attach it with ``loop.connect_accepted_socket``."""

    def __init__(
        self, listener: ChannelListener, soon: Callable[[Callable[[], None]], object]
    ) -> None:
        """``soon`` calls back at the end of this turn of the event loop."""
        self._listener = listener
        self._soon = soon
        self._transport: asyncio.Transport | None = None
        self._decoder = Decoder()
        self._heads = CallHeaderEncoder()
        self._calls: dict[int, ChannelCall] = {}
        self._numbers: dict[RequestId, int] = {}
        self._last = 0
        self._uploads: deque[_Upload] = deque()
        self._outbox: list[bytes] = []
        self._is_full = False
        self._violation: str | None = None
        self._is_lost = False
        self.has_park_hooks = False
        """Whether the handler has something to do before it is frozen and after."""
        self._on_call_frame: dict[int, Callable[[ChannelCall, bytes], None]] = {
            REPLY: self._on_reply,
            CHUNK: self._on_chunk,
            HEAD: self._on_head,
            END: self._on_end,
            FAILED: self._on_failed,
        }

    @property
    def is_lost(self) -> bool:
        """Whether the replica's end is gone."""
        return self._is_lost

    @property
    def open_calls(self) -> int:
        """How many calls wait for their end."""
        return len(self._calls)

    def call(self, invocation: Invocation, sink: ReplySink) -> ChannelCall:
        """Send a call. Its sink hears one end, or none if the replica is lost."""
        number = self._next_number()
        call = ChannelCall(self, number, invocation.request, sink)
        self._calls[number] = call
        self._numbers[invocation.request] = number
        if invocation.stream is None and len(invocation.body) <= PART_BYTES:
            head = self._heads.call(invocation, 0)
            self._write(encode_headed(CALL, number, head, invocation.body))
        else:
            self._send_parts(number, invocation, invocation.stream or whole(invocation.body))
        return call

    def _send_parts(self, number: int, invocation: Invocation, body: BodyStream) -> None:
        first = body.take(PART_BYTES)
        size_bytes = body.limit_bytes if body.size_bytes is None else body.size_bytes
        # Never 0: the end of the body is still to come.
        head = self._heads.call(invocation, max(1, size_bytes - len(first)))
        self._write(encode_headed(CALL, number, head, first))
        upload = _Upload(number, body)
        body.attach(lambda: self._line_up(upload))

    def abort(self, request: RequestId) -> None:
        """Ask the replica to give a call up. Its sink hears ``CANCELLED`` when it has."""
        number = self._numbers.get(request)
        if number is None:
            return
        call = self._calls[number]
        if not call.is_aborted:
            call.is_aborted = True
            self._write(encode(CANCEL, number))

    def park(self) -> None:
        """Have the handler give back what a frozen process should not hold."""
        self._write(encode(PARK, 0))

    def unpark(self) -> None:
        """Have the handler take it back."""
        self._write(encode(UNPARK, 0))

    def send_credit(self, number: int, size_bytes: int) -> None:
        """Let the replica send so many more bytes of a streamed reply."""
        if number in self._calls:
            self._write(encode_credit(number, size_bytes))

    def void(self) -> None:
        """Forget every open call and hang up. Idempotent."""
        self._calls.clear()
        self._numbers.clear()
        self._uploads.clear()
        if self._transport is not None:
            self._transport.abort()

    def check(self) -> None:
        """Assert what always holds."""
        assert len(self._calls) == len(self._numbers)
        for request, number in self._numbers.items():
            assert self._calls[number].request == request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        # Not an isinstance check: uvloop's transports are no subclasses.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand every whole frame to the call it belongs to."""
        try:
            for kind, number, payload in self._decoder.feed(data):
                handle = self._on_call_frame.get(kind)
                if handle is None:
                    self._on_replica_frame(kind, payload)
                elif (call := self._calls.get(number)) is not None:
                    handle(call, payload)
        except (FrameError, msgspec.MsgspecError) as error:
            self._violation = f"sent what is no frame: {error}"
            self.void()

    def connection_lost(self, exc: Exception | None) -> None:
        """Void the open calls and say so."""
        self._is_lost = True
        self._transport = None
        self.void()
        self._listener.on_channel_lost(self._violation)

    def pause_writing(self) -> None:
        """Hold large bodies back: the socket is full."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Send on: the socket has drained."""
        self._is_full = False
        self._pump()

    def _on_reply(self, call: ChannelCall, payload: bytes) -> None:
        head, body = split_headed(payload)
        reply = decode_reply(head)
        _require(not call.is_streaming, "REPLY after HEAD")
        if self._ends(call):
            if reply.waited_us:
                call.sink.on_waited(reply.waited_us)
            call.sink.on_reply(reply.status, reply.headers, body, reply.handler_us)

    def _on_head(self, call: ChannelCall, payload: bytes) -> None:
        head = decode_reply(payload)
        _require(not call.is_streaming, "second HEAD")
        call.is_streaming = True
        if not call.is_aborted:
            call.sink.on_head(head.status, head.headers)

    def _on_chunk(self, call: ChannelCall, payload: bytes) -> None:
        _require(call.is_streaming, "CHUNK before HEAD")
        if not call.is_aborted:
            call.sink.on_chunk(payload)
        call.consumed(len(payload))

    def _on_end(self, call: ChannelCall, payload: bytes) -> None:
        end = decode_end(payload)
        _require(call.is_streaming, "END before HEAD")
        if self._ends(call):
            if end.waited_us:
                call.sink.on_waited(end.waited_us)
            call.sink.on_end(end.handler_us)

    def _on_failed(self, call: ChannelCall, payload: bytes) -> None:
        failed = decode_failed(payload)
        if self._ends(call):
            call.sink.on_failure(_failure(failed))

    def _ends(self, call: ChannelCall) -> bool:
        """Take the call out; return whether its sink still wants the end as it came."""
        del self._calls[call.number]
        del self._numbers[call.request]
        if call.is_aborted:
            call.sink.on_failure(CANCELLED)
        return not call.is_aborted

    def _on_replica_frame(self, kind: int, payload: bytes) -> None:
        if kind == BOOTED:
            self._listener.on_booted()
        elif kind == READY:
            ready = decode_ready(payload)
            self.has_park_hooks = ready.parks
            self._listener.on_loaded(ready.load_us)
        elif kind == PARKED:
            self._listener.on_hook_done(decode_parked(payload).trouble)
        elif kind == LEARNED:
            self._listener.on_learned(decode_learned(payload).modules)
        elif kind == BROKEN:
            broken = decode_broken(payload)
            cause = _root_cause(broken.cause)
            self._listener.on_broken(cause, broken.message, broken.traceback or "")
        else:
            raise FrameError(f"unknown kind {kind}")

    def _next_number(self) -> int:
        self._last = self._last % _CALLS_MAX + 1
        while self._last in self._calls:
            self._last = self._last % _CALLS_MAX + 1
        return self._last

    def _write(self, frame: bytes) -> None:
        """Send a frame with the others of this turn of the loop, in one write."""
        if self._transport is not None:
            self._outbox.append(frame)
            if len(self._outbox) == 1:
                self._soon(self._flush)

    def _flush(self) -> None:
        frames, self._outbox = self._outbox, []
        if self._transport is not None and frames:
            # Joining copies: worth it where frames are small, and most are.
            is_long = len(frames) > 1 and max(map(len, frames)) > _JOINED_BYTES_MAX
            if is_long:
                self._transport.writelines(frames)
            else:
                self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def _line_up(self, upload: _Upload) -> None:
        """There is more of a body, or its end."""
        if not upload.is_in_line:
            upload.is_in_line = True
            self._uploads.append(upload)
            self._pump()

    def _pump(self) -> None:
        """Send parts of large bodies, in turn, for as long as the socket takes them."""
        while self._uploads and not self._is_full:
            upload = self._uploads.popleft()
            upload.is_in_line = False
            call = self._calls.get(upload.number)
            if call is None or call.is_aborted:
                continue
            is_over = upload.body.is_over
            part = upload.body.take(PART_BYTES)
            if part or is_over:
                self._write(encode(BODY, upload.number, part))
                # At once: whether the socket takes more is known only after it.
                self._flush()
            # Without a part it waits for more, and is then lined up anew.
            if part and not upload.is_in_line:
                upload.is_in_line = True
                self._uploads.append(upload)


CANCELLED = Failure(kind=FailureKind.CANCELLED, message="the caller gave the request up")


def _require(claim: bool, violation: str) -> None:
    if not claim:
        raise FrameError(violation)


def _failure(failed: FailedHead) -> Failure:
    try:
        kind = FailureKind(failed.kind)
    except ValueError:
        kind = FailureKind.HANDLER_FAILED
    lines = tuple((failed.traceback or "").splitlines()[-_TRACEBACK_LINES:])
    return Failure(kind=kind, message=failed.message, log_tail=lines)


def _root_cause(word: str) -> RootCause:
    try:
        return RootCause(word)
    except ValueError:
        return RootCause.UNKNOWN
