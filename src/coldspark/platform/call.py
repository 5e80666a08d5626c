"""One request between its door and its replica: the reply's way back, its bill and its waterfall.

A call ends once, by a reply, a stream's end or a failure; what the replica still sends after that
(it was told to give up) only frees its slot.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from coldspark import clock, errors
from coldspark.billing.replica_accounts import ReplicaAccount
from coldspark.billing.usage import Usage
from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.platform.ports import Flow, Invocation, Receipt, Sink
from coldspark.spec.types import Failure, FailureKind, VariantName
from coldspark.spec.waterfall import (
    RequestTimeline,
    StartTimeline,
    Waterfall,
    to_warm_waterfall,
    to_waterfall,
    with_batch_wait,
)


class CallCallbacks(Protocol):
    """What a call needs of its controller."""

    def settle_call(self, call: "Call", now_s: float) -> int:
        """Stop the request's meter; return its nanos."""

    def charge_start(self, account: ReplicaAccount) -> int:
        """Return what a replica's start cost, once, in nanos."""

    def timeline_of(self, call: "Call") -> StartTimeline | None:
        """Return the start that the call waited for, or None when it waited for none."""

    def record(self, usage: Usage) -> None:
        """Write the ledger's line."""

    def record_then(self, usage: Usage, done: Callable[[], None]) -> None:
        """Write the ledger's line at the end of this turn of the loop, then call ``done``."""

    def let_go(self, call: "Call") -> None:
        """Tell the fleet that the replica is done with the request."""

    def cancel(self, call: "Call") -> None:
        """Tell the fleet that the caller hung up."""


class Call:
    """A request that was handed in. It is its own ``Ticket`` and its replica's ``ReplySink``."""

    __slots__ = (
        "_break",
        "_bytes_out",
        "_callbacks",
        "_is_paused",
        "_status",
        "_waited_us",
        "account",
        "arrived_ms",
        "arrived_s",
        "deadline_s",
        "flow",
        "forwarded_s",
        "hosted",
        "invocation",
        "is_done",
        "sink",
    )

    def __init__(
        self,
        callbacks: CallCallbacks,
        hosted: HostedFleet,
        invocation: Invocation,
        sink: Sink,
        timeout_s: float,
    ) -> None:
        self._callbacks = callbacks
        self._bytes_out = 0
        self._status = 200
        self._is_paused = False
        self._waited_us = 0
        self._break: Failure | None = None
        self.hosted = hosted
        self.invocation = invocation
        self.sink = sink
        self.arrived_s = clock.monotonic_s()
        self.arrived_ms = clock.wall_ms()
        self.deadline_s = self.arrived_s + timeout_s
        self.forwarded_s: float | None = None
        self.account: ReplicaAccount | None = None
        """Of the replica that it was forwarded to."""
        self.flow: Flow | None = None
        self.is_done = False

    @property
    def variant(self) -> VariantName:
        """Return which variant answers it."""
        return self.hosted.variant

    def cancel(self) -> None:
        """Say that the caller hung up."""
        if not self.is_done:
            self._callbacks.cancel(self)

    def break_off(self, failure: Failure) -> None:
        """Say that the body went wrong."""
        if not self.is_done:
            # To the fleet it is a caller who went away; the ledger and the caller hear why.
            self._break = failure
            self._callbacks.cancel(self)

    def pause(self) -> None:
        """Say that the caller reads slowly."""
        self._is_paused = True
        if self.flow is not None:
            self.flow.pause()

    def resume(self) -> None:
        """Say that the caller keeps up again."""
        self._is_paused = False
        if self.flow is not None:
            self.flow.resume()

    def sent(self, flow: Flow) -> None:
        """Take the replica's flow, once the request went out."""
        if not self.is_done:
            self.flow = flow
        if self._is_paused:
            flow.pause()

    def on_waited(self, waited_us: int) -> None:
        """Note how long the request waited for its batch."""
        self._waited_us = waited_us

    def on_reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, handler_us: int | None
    ) -> None:
        """Pass a whole reply on."""
        if not self.is_done:
            self._status, self._bytes_out = status, len(body)
            receipt = self._close(handler_us, None)
            # The replies of one turn of the loop share one write of the ledger's journal.
            done = partial(self.sink.reply, status, headers, body, receipt)
            self._callbacks.record_then(receipt.usage, done)
        self._callbacks.let_go(self)

    def on_head(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Pass the head of a stream on."""
        self._status = status
        if not self.is_done:
            self.sink.begin(status, headers)

    def on_chunk(self, chunk: bytes) -> None:
        """Pass a piece of a stream on."""
        if not self.is_done:
            self._bytes_out += len(chunk)
            self.sink.write(chunk)

    def on_end(self, handler_us: int | None) -> None:
        """Pass the end of a stream on."""
        if not self.is_done:
            receipt = self._close(handler_us, None)
            self._callbacks.record(receipt.usage)
            self.sink.end(receipt)
        self._callbacks.let_go(self)

    def on_failure(self, failure: Failure) -> None:
        """Pass a failure of the replica on."""
        self.fail(failure)
        self._callbacks.let_go(self)

    def fail(self, failure: Failure) -> None:
        """End the call without an answer."""
        if not self.is_done:
            failure = self._break or failure
            self._status = errors.BY_CODE[failure.kind].http_status
            receipt = self._close(None, failure.kind)
            self._callbacks.record(receipt.usage)
            self.sink.fail(failure, receipt)

    def refuse(self, failure: Failure) -> None:
        """End a call that was never taken: it has no line in the ledger."""
        self.is_done = True
        self.sink.fail(failure, None)

    def _close(self, handler_us: int | None, error: FailureKind | None) -> Receipt:
        self.is_done = True
        # It holds this call: together they would stay until the collector comes for the cycle.
        self.flow = None
        now_s, account, callbacks = clock.monotonic_s(), self.account, self._callbacks
        busy_nanos = callbacks.settle_call(self, now_s)
        if self.forwarded_s is None or account is None or account.ready_s > self.arrived_s:
            start = callbacks.timeline_of(self)
            fall = self._fall(now_s, start, handler_us)
            start_nanos = callbacks.charge_start(account) if start and account else 0
        else:
            start, start_nanos = None, 0
            started_s = self.invocation.started_s
            fall = to_warm_waterfall(started_s, self.arrived_s, self.forwarded_s, now_s, handler_us)
        if self._waited_us:
            fall = with_batch_wait(fall, self._waited_us)
        usage = self._usage(account, now_s, error, busy_nanos, fall, is_cold=start is not None)
        return Receipt(usage=usage, cost_nanos=busy_nanos + start_nanos)

    def _fall(self, now_s: float, start: StartTimeline | None, handler_us: int | None) -> Waterfall:
        marks = RequestTimeline(
            started_s=self.invocation.started_s,
            arrived_s=self.arrived_s,
            forwarded_s=self.forwarded_s,
            answered_s=now_s,
            returned_s=now_s,
            handler_us=handler_us,
        )
        return to_waterfall(marks, start)

    def _usage(
        self,
        account: ReplicaAccount | None,
        now_s: float,
        error: FailureKind | None,
        busy_nanos: int,
        fall: Waterfall,
        *,
        is_cold: bool,
    ) -> Usage:
        invocation, hosted = self.invocation, self.hosted
        stream = invocation.stream
        busy_s = 0.0 if self.forwarded_s is None else now_s - self.forwarded_s
        return Usage(
            request=invocation.request,
            endpoint=hosted.endpoint,
            variant=hosted.variant,
            revision=account.revision if account else None,
            replica=account.replica if account else None,
            gpu=account.gpu if account else None,
            gpu_count=account.gpu_count if account else 0.0,
            is_simulated=account is not None and account.is_simulated,
            arrived_ms=self.arrived_ms,
            duration_ms=_whole_ms(now_s - self.arrived_s),
            busy_ms=_whole_ms(busy_s),
            bytes_in=len(invocation.body) if stream is None else stream.fed_bytes,
            bytes_out=self._bytes_out,
            status=self._status,
            error=error,
            is_cold=is_cold,
            key=invocation.key,
            busy_nanos=busy_nanos,
            waterfall=fall,
        )


def _whole_ms(duration_s: float) -> int:
    return int(duration_s * 1_000 + 0.5)
