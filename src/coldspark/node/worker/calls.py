"""One call in a replica, and the lanes that run calls: how a running call is interrupted.

A call may be cancelled at any instant and its lane must survive that, so the rules are strict:

- At most one ``CallCancelled`` is raised for a call: from outside while it is unmasked (the user's
  code runs), or by ``unmask`` when it was cancelled while masked.
- The lane takes locks and writes frames only while the call is masked: an exception between
  acquiring a lock and entering its block would leave the lock held for ever, and half a frame
  would break the channel.
- The canceller sets ``cancelled`` before it looks at ``masked``; the lane sets ``masked`` before it
  looks at ``cancelled``. One of the two sees the other.
"""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from . import frames
from .context import HandlerRequest

T = TypeVar("T")


class CallCancelled(BaseException):
    """The router gave up the call that this thread runs. Not an Exception: user code lets it by."""


class Work:
    """What a lane runs, and may be interrupted in. Masked until the lane runs user code."""

    def __init__(self) -> None:
        self.lane: CallLane | None = None
        self.cancelled = False
        self.masked = True
        self.is_told = False
        """The canceller is done: no interrupt will be raised that was not raised yet."""

    def mask(self) -> None:
        """Let no interrupt in. Raises CallCancelled if the call was cancelled."""
        self.masked = True
        self._raise_if_cancelled()

    def unmask(self) -> None:
        """Let interrupts in again. Raises CallCancelled if one was held off."""
        self.masked = False
        self._raise_if_cancelled()

    def _raise_if_cancelled(self) -> None:
        if self.cancelled:
            self.masked = True
            if self.lane is not None:
                self.lane.settle(self)
            raise CallCancelled


class ReplicaCall(Work):
    """One request as it comes in, and how far it got."""

    def __init__(self, number: int, head: dict[str, Any]) -> None:
        super().__init__()
        self.number = number
        self.parts: list[bytes] = []
        self.credit_bytes = frames.CREDIT_BYTES
        self.due_bytes = int(head.get("more") or 0)
        """Of its body, at most these are still to come."""
        self.is_whole = False
        """Its body is here, and the lanes have it."""
        self.came_ns = 0
        """When it began to wait here for its batch."""
        self.waited_us = 0
        """How long it did."""
        self._head = head
        self._handler_ns = 0

    @property
    def has_more(self) -> bool:
        """Say whether parts of the body are still to come after the first."""
        return self.due_bytes > 0

    @property
    def handler_us(self) -> int:
        """Return the time spent in user functions so far."""
        return self._handler_ns // 1000

    def timed(self, work: Callable[[], T]) -> T:
        """Run user code on the call's stopwatch."""
        started_ns = time.perf_counter_ns()
        try:
            return work()
        finally:
            self._handler_ns += time.perf_counter_ns() - started_ns

    def ran_since(self, began_ns: int) -> None:
        """Count all time since then as the handler's, as it is of a call in a batch."""
        self._handler_ns = time.perf_counter_ns() - began_ns

    def request(self) -> HandlerRequest:
        """Return the request, whole."""
        head = self._head
        return HandlerRequest(
            method=head.get("method") or "POST",
            path=head.get("path") or "/invocations",
            content_type=head.get("content_type"),
            accept=head.get("accept"),
            headers=[(name.lower(), value) for name, value in head.get("headers") or ()],
            request_id=head.get("request") or "",
            body=self.parts[0] if len(self.parts) == 1 else b"".join(self.parts),
        )


class CallLane:
    """A thread that runs one call at a time."""

    def interrupt(self, call: Work) -> None:
        """Make the lane's thread leave the user's code, unless the call is masked."""
        raise NotImplementedError

    def settle(self, call: Work) -> None:
        """Return when no interrupt can come any more for this masked call."""


class MainLane(CallLane):
    """The main thread. A signal interrupts it, even in a blocking system call."""

    def __init__(self) -> None:
        self._cancelled: Work | None = None
        self._thread = threading.get_ident()
        signal.signal(signal.SIGUSR1, self._on_signal)

    def interrupt(self, call: Work) -> None:
        """Signal the thread; what comes late finds the call masked, and does nothing."""
        self._cancelled = call
        signal.pthread_kill(self._thread, signal.SIGUSR1)

    def _on_signal(self, *_: object) -> None:
        call = self._cancelled
        if call is not None and not call.masked:
            call.masked = True
            raise CallCancelled


class ThreadLane(CallLane):
    """One of several: the thread it is made in. It is interrupted at its next bytecode, which a
    blocking system call does not reach before it returns.
    """

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def interrupt(self, call: Work) -> None:
        """Raise the exception in the thread, at its next bytecode."""
        if not call.masked:
            _raise_in(self._thread, ctypes.py_object(CallCancelled))

    def settle(self, call: Work) -> None:
        """Wait (microseconds) for the canceller to be done, then withdraw what it raised."""
        if call.cancelled:
            while not call.is_told:
                time.sleep(0)
            _raise_in(self._thread, None)


def _raise_in(thread: int, exception: Any) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)
