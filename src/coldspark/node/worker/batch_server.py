"""Serve a handler in batches: one call of ``predict_batch_fn`` for several requests.

All of it runs in the main thread, as calls do without batching. ``input_fn`` and ``output_fn`` run
for each request of its own, and what they raise is that request's failure alone. When
``predict_batch_fn`` raises, it is called again for each request alone, so that only the bad ones
fail.

A caller who gives up before the batch is taken is left out of it. Later the call ends at once, and
the batch goes on for the others; when all of them have given up, it is interrupted.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import frames, program
from .batching import BatchQueue
from .calls import CallCancelled, CallLane, ReplicaCall, Work
from .handler import BatchItem, HandlerReply, ProgramHandler, WrongResults, refusal
from .learned_imports import ImportObserver
from .program import message
from .server import HandlerServer, failure, last_frame

_HELD_NS = 1_000_000
"""Replies that are encoded within this time go out together, in one write."""


class Batch(Work):
    """The calls that one call of the program computes."""

    def __init__(self, calls: Sequence[ReplicaCall]) -> None:
        super().__init__()
        self.calls = calls


@dataclass(frozen=True)
class UserCodeOutcome:
    """What came of user code: a value, an error, or neither when it was interrupted."""

    value: Any = None
    error: BaseException | None = None
    is_cancelled: bool = False

    @property
    def is_value(self) -> bool:
        """Say whether the code came to its end."""
        return self.error is None and not self.is_cancelled


class BatchServer(HandlerServer):
    """Everything between a channel and a loaded handler that computes batches."""

    def __init__(
        self,
        channel: socket.socket,
        handler: ProgramHandler,
        size_max: int,
        wait_s: float,
        observer: ImportObserver | None = None,
    ) -> None:
        super().__init__(channel, handler, 1, observer)
        # Whoever holds ``_reading`` may touch it.
        self._gathering: BatchQueue[ReplicaCall] = BatchQueue(size_max, wait_s)
        self._batch: Batch | None = None
        """The one that ``predict_batch_fn`` computes now."""
        self._began_ns = 0
        self._is_taken = False
        self._ended: list[tuple[ReplicaCall, bytes]] = []
        """Calls whose last frame goes out with those of others."""
        self._sent_ns = 0

    # By the thread that reads.

    def _hand_over(self, call: ReplicaCall) -> None:
        call.is_whole = True
        call.came_ns = time.perf_counter_ns()
        with self._state:
            self._active += 1
        self._gathering.add(call, time.perf_counter())

    def _cancel(self, number: int) -> None:
        call = self._calls.get(number)
        super()._cancel(number)
        if call is None:
            return
        self._gathering.drop(call)
        with self._state:
            batch = self._batch
            if batch is None or batch.cancelled or not all(c.cancelled for c in batch.calls):
                return
            batch.cancelled = True
            if batch.lane is not None:
                batch.lane.interrupt(batch)
            batch.is_told = True

    def _next_work(self) -> Callable[[CallLane], None]:
        with self._reading:
            if self._is_taken:
                self._gathering.ended(time.perf_counter())
            # What has come meanwhile may be part of the batch.
            self._read(socket.MSG_DONTWAIT)
            while (delay_s := self._gathering.delay_s(time.perf_counter())) != 0.0:
                if delay_s is None:
                    self._read()
                elif _comes_within(self._channel, delay_s):
                    self._read(socket.MSG_DONTWAIT)
            self._is_taken = True
            calls = self._gathering.take(time.perf_counter())
        return lambda lane: self._compute(lane, calls)

    # The main thread.

    def _compute(self, lane: CallLane, calls: Sequence[ReplicaCall]) -> None:
        self._began_ns = time.perf_counter_ns()
        opened: list[tuple[ReplicaCall, BatchItem]] = []
        for call in calls:
            call.waited_us = (self._began_ns - call.came_ns) // 1000
            outcome = self._guard(lane, call, partial(self._handler.open, call.request()))
            if outcome.is_value and not call.cancelled:
                opened.append((call, outcome.value))
            else:
                self._fail(call, outcome)
        self._send_ended()
        if opened:
            self._answer_all(lane, opened)

    def _answer_all(self, lane: CallLane, opened: Sequence[tuple[ReplicaCall, BatchItem]]) -> None:
        large: list[tuple[ReplicaCall, HandlerReply]] = []
        for call, item, outcome in self._predict(lane, opened):
            if outcome.is_value:
                outcome = self._guard(lane, call, partial(self._reply, call, item, outcome.value))
            if not outcome.is_value:
                self._fail(call, outcome)
            elif isinstance(outcome.value, HandlerReply):
                large.append((call, outcome.value))
            else:
                self._end(call, outcome.value)
        self._send_ended()
        # A slow reader of a large reply holds nobody else's up.
        for call, reply in large:
            outcome = self._guard(lane, call, partial(self._write, call, reply))
            error = outcome.error
            self._finish(call, (outcome.value or b"") if error is None else failure(call, error))

    def _reply(self, call: ReplicaCall, item: BatchItem, prediction: Any) -> bytes | HandlerReply:
        """Return the last frame, or a reply that is too large for one."""
        reply = self._handler.close(item, prediction)
        call.ran_since(self._began_ns)
        assert isinstance(reply.body, bytes)
        return reply if len(reply.body) > frames.PART_BYTES else self._write(call, reply)

    def _predict(
        self, lane: CallLane, opened: Sequence[tuple[ReplicaCall, BatchItem]]
    ) -> Iterator[tuple[ReplicaCall, BatchItem, UserCodeOutcome]]:
        together = self._predict_together(lane, opened)
        self._sent_ns = time.perf_counter_ns()
        is_final = together.is_cancelled or isinstance(together.error, WrongResults)
        is_split = not together.is_value and not is_final and len(opened) > 1
        if is_split and together.error is not None:
            program.print_error(
                f"coldspark: predict_batch_fn failed for {len(opened)} requests together,"
                f" each is tried alone: {message(together.error)}\n"
            )
        for index, (call, item) in enumerate(opened):
            if is_split:
                self._send_ended()
                yield call, item, self._predict_alone(lane, call, item)
            elif together.is_value:
                yield call, item, UserCodeOutcome(together.value[index])
            else:
                yield call, item, together

    def _predict_together(
        self, lane: CallLane, opened: Sequence[tuple[ReplicaCall, BatchItem]]
    ) -> UserCodeOutcome:
        batch = Batch([call for call, _ in opened])
        with self._state:
            if all(call.cancelled for call in batch.calls):
                return UserCodeOutcome(is_cancelled=True)
            self._batch = batch
        items = [item for _, item in opened]
        outcome = self._guard(lane, batch, partial(self._handler.predict_batch, items))
        with self._state:
            self._batch = None
        return outcome

    def _predict_alone(self, lane: CallLane, call: ReplicaCall, item: BatchItem) -> UserCodeOutcome:
        return self._guard(lane, call, lambda: self._handler.predict_batch([item])[0])

    def _guard(self, lane: CallLane, work: Work, act: Callable[[], Any]) -> UserCodeOutcome:
        """Run what this work may be interrupted in, which may happen at any point of the loop."""
        outcome, has_run, is_settled = UserCodeOutcome(is_cancelled=True), False, False
        while not is_settled:
            try:
                if not has_run:
                    has_run = True
                    outcome = self._attempt(lane, work, act)
                lane.settle(work)
                is_settled = True
            except CallCancelled:
                continue
        with self._state:
            # From here on whoever cancels it ends it himself.
            work.lane = None
        return outcome

    def _attempt(self, lane: CallLane, work: Work, act: Callable[[], Any]) -> UserCodeOutcome:
        try:
            try:
                self._enter(lane, work)
                return UserCodeOutcome(act())
            finally:
                work.masked = True
        except CallCancelled:
            return UserCodeOutcome(is_cancelled=True)
        except BaseException as error:  # noqa: BLE001  user code may raise anything, SystemExit too
            return UserCodeOutcome(error=error)

    def _fail(self, call: ReplicaCall, outcome: UserCodeOutcome) -> None:
        call.ran_since(self._began_ns)
        error = outcome.error
        reply = None if error is None else refusal(error)
        if reply is not None:
            self._end(call, self._write(call, reply))
        else:
            self._end(call, b"" if error is None else failure(call, error))

    def _end(self, call: ReplicaCall, last: bytes) -> None:
        """Have the call's last frame sent, with those of others that end about now."""
        self._ended.append((call, last))
        if time.perf_counter_ns() - self._sent_ns > _HELD_NS:
            self._send_ended()

    def _send_ended(self) -> None:
        ended, self._ended = self._ended, []
        self._sent_ns = time.perf_counter_ns()
        due = [(call, last) for call, last in ended if self._takes_out(call)]
        if due:
            program.flush_output()
            self._send(b"".join(last_frame(call, last) for call, last in due))
        for _ in due:
            self._tell_learned()


def _comes_within(channel: socket.socket, delay_s: float) -> bool:
    """Say whether there is something to read before the time is over."""
    try:
        return bool(select.select([channel], [], [], delay_s)[0])
    except ValueError:
        # Its number is over select's limit; this counts in whole milliseconds, rounded up.
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        return bool(poll.poll(delay_s * 1000))
