"""Own background tasks and timers: a task is kept, its failure is logged, its end is awaited."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

_log = logging.getLogger(__name__)
Interval = float | None | Callable[[], float | None]
"""Seconds between two rounds, or what returns them when a round is over; None: until woken."""


class Tasks:
    """The tasks of one owner. Unlike a TaskGroup, one that fails does not end the others."""

    def __init__(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """``sleep`` is what ``every`` waits with."""
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        """Run ``work`` in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def every(
        self,
        interval_s: Interval,
        work: Callable[[], Awaitable[None] | None],
        *,
        failure: str,
        waits_first: bool = False,
        wake: asyncio.Event | None = None,
    ) -> "asyncio.Task[None]":
        """Do ``work`` at once, and again after each interval, until the task is cancelled.

        An error is logged with ``failure``, and the next round tries again. ``waits_first``: the
        first round comes after an interval. ``wake`` ends an interval early; it is cleared before
        the round, so that what sets it meanwhile has a round of its own.
        """
        return self.spawn(self._repeat(interval_s, work, failure, waits_first, wake))

    async def close(self, within_s: float) -> None:
        """Cancel what still runs and wait for its end, so long at most."""
        for task in self._tasks:
            task.cancel()
        await self.drain(within_s)

    async def drain(self, within_s: float) -> None:
        """Let what runs finish, so long at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    async def _repeat(
        self,
        interval_s: Interval,
        work: Callable[[], Awaitable[None] | None],
        failure: str,
        waits_first: bool,
        wake: asyncio.Event | None,
    ) -> None:
        if waits_first:
            await self._pause(interval_s, wake)
        while True:
            try:
                running = work()
                if running is not None:
                    await running
            except Exception:  # noqa: BLE001
                # The task's edge: the next round tries again.
                _log.exception(failure)
            await self._pause(interval_s, wake)

    async def _pause(self, interval_s: Interval, wake: asyncio.Event | None) -> None:
        delay_s = interval_s() if callable(interval_s) else interval_s
        if wake is None:
            assert delay_s is not None, "nothing would end this interval"
            await self._sleep(delay_s)
            return
        try:
            async with asyncio.timeout(delay_s):
                await wake.wait()
        except TimeoutError:
            pass
        wake.clear()

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a background task failed", exc_info=error)
