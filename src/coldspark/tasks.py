"""Own background tasks: each is kept, its failure is logged, and all are awaited at the end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine

_log = logging.getLogger(__name__)


class Tasks:
    """The tasks of one owner. Unlike a TaskGroup, one that fails does not end the others."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        """Run ``work`` in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def every(
        self,
        interval_s: Callable[[], float] | float,
        work: Callable[[], Awaitable[None]],
        what: str,
        *,
        at_once: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> "asyncio.Task[None]":
        """Do ``work`` after every interval, until these tasks are closed.

        A failure is logged as "could not ``what``", and the next round tries again. ``at_once``:
        the first round needs no wait. An interval that is a function is asked before each wait.
        """
        wait_s = interval_s if callable(interval_s) else lambda: interval_s

        async def rounds() -> None:
            if not at_once:
                await sleep(wait_s())
            while True:
                try:
                    await work()
                except Exception:  # noqa: BLE001
                    # The task's edge: what one round could not do, the next one may.
                    _log.exception("could not %s", what)
                await sleep(wait_s())

        return self.spawn(rounds())

    async def close(self, within_s: float) -> None:
        """Cancel what still runs and wait for its end, so long at most."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    async def drain(self, within_s: float) -> None:
        """Let what runs finish, so long at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a background task failed", exc_info=error)
