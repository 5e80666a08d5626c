"""One request between its door and its replica: the reply's way back, its bill and its waterfall.

A call ends once, by a reply, a stream's end or a failure; what the replica still sends after that
(it was told to give up) only frees its slot.
"""

from collections.abc import Sequence
from typing import Protocol

from coldspark import errors
from coldspark.core.metering import Usage
from coldspark.core.types import (
    Failure,
    FailureKind,
    ReplicaId,
    RevisionId,
)
from coldspark.core.waterfall import Marks, StartTimeline, attribute
from coldspark.runtime import clock
from coldspark.runtime.cells import Cell
from coldspark.runtime.ports import Flow, Invocation, Receipt, Sink

_STATUSES = {
    kind.code: kind.http_status
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.ColdsparkError)
}


class Desk(Protocol):
    """What a call needs of its controller."""

    def settle_call(self, call: "Call") -> int:
        """Stop the request's meter; return its nanos."""

    def charge_start(self, call: "Call") -> int:
        """Return what the start cost that this request caused, in nanos."""

    def devices_of(self, replica: ReplicaId) -> tuple[str | None, float, bool]:
        """Return type, count and whether simulated of a replica's devices."""

    def timeline_of(self, call: "Call") -> StartTimeline | None:
        """Return the start that the call waited for."""

    def record(self, usage: Usage) -> None:
        """Write the ledger's line."""

    def let_go(self, call: "Call") -> None:
        """Tell the fleet that the replica is done with the request."""

    def cancel(self, call: "Call") -> None:
        """Tell the fleet that the caller hung up."""


class Call:
    """A request that was handed in. It is its own ``Ticket`` and its replica's ``ReplySink``."""

    __slots__ = (
        "_bytes_out",
        "_desk",
        "_is_paused",
        "_status",
        "arrived_ms",
        "arrived_s",
        "cell",
        "deadline_s",
        "flow",
        "forwarded_s",
        "invocation",
        "is_done",
        "replica",
        "revision",
        "sink",
    )

    def __init__(
        self,
        desk: Desk,
        cell: Cell,
        invocation: Invocation,
        sink: Sink,
        timeout_s: float,
    ) -> None:
        self._desk = desk
        self._bytes_out = 0
        self._status = 200
        self._is_paused = False
        self.cell = cell
        self.invocation = invocation
        self.sink = sink
        self.arrived_s = clock.monotonic_s()
        self.arrived_ms = clock.wall_ms()
        self.deadline_s = self.arrived_s + timeout_s
        self.forwarded_s: float | None = None
        self.replica: ReplicaId | None = None
        self.revision: RevisionId | None = None
        self.flow: Flow | None = None
        self.is_done = False

    def cancel(self) -> None:
        """Say that the caller hung up."""
        if not self.is_done:
            self._desk.cancel(self)

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
        self.flow = flow
        if self._is_paused:
            flow.pause()

    def on_reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, handler_us: int | None
    ) -> None:
        """Pass a whole reply on."""
        if not self.is_done:
            self._status, self._bytes_out = status, len(body)
            receipt = self._close(handler_us, None)
            self.sink.reply(status, headers, body, receipt)
        self._desk.let_go(self)

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
            self.sink.end(self._close(handler_us, None))
        self._desk.let_go(self)

    def on_failure(self, failure: Failure) -> None:
        """Pass a failure of the replica on."""
        self.fail(failure)
        self._desk.let_go(self)

    def fail(self, failure: Failure) -> None:
        """End the call without an answer."""
        if not self.is_done:
            self._status = _STATUSES[failure.kind]
            self.sink.fail(failure, self._close(None, failure.kind))

    def refuse(self, failure: Failure) -> None:
        """End a call that was never taken: it has no line in the ledger."""
        self.is_done = True
        self.sink.fail(failure, None)

    def _close(self, handler_us: int | None, error: FailureKind | None) -> Receipt:
        self.is_done = True
        now_s = clock.monotonic_s()
        busy_nanos = self._desk.settle_call(self)
        start = self._desk.timeline_of(self)
        usage = self._usage(now_s, start, handler_us, error, busy_nanos)
        start_nanos = self._desk.charge_start(self) if usage.is_cold else 0
        self._desk.record(usage)
        return Receipt(usage=usage, cost_nanos=busy_nanos + start_nanos)

    def _usage(
        self,
        now_s: float,
        start: StartTimeline | None,
        handler_us: int | None,
        error: FailureKind | None,
        busy_nanos: int,
    ) -> Usage:
        gpu, gpu_count, is_simulated = (None, 0.0, False)
        if self.replica is not None:
            gpu, gpu_count, is_simulated = self._desk.devices_of(self.replica)
        marks = Marks(
            started_s=self.invocation.started_s,
            arrived_s=self.arrived_s,
            forwarded_s=self.forwarded_s,
            answered_s=now_s,
            returned_s=now_s,
            handler_us=handler_us,
        )
        busy_s = 0.0 if self.forwarded_s is None else now_s - self.forwarded_s
        return Usage(
            request=self.invocation.request,
            endpoint=self.cell.endpoint,
            variant=self.cell.variant,
            revision=self.revision,
            replica=self.replica,
            gpu=gpu,
            gpu_count=gpu_count,
            is_simulated=is_simulated,
            arrived_ms=self.arrived_ms,
            duration_ms=round((now_s - self.arrived_s) * 1000),
            busy_ms=round(busy_s * 1000),
            bytes_in=len(self.invocation.body),
            bytes_out=self._bytes_out,
            status=self._status,
            error=error,
            is_cold=start is not None,
            key=self.invocation.key,
            busy_nanos=busy_nanos,
            waterfall=attribute(marks, start),
        )
