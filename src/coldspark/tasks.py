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
        interval_s: Callable[[], float | None] | float | None,
        work: Callable[[], Awaitable[None] | None],
        what: str,
        *,
        at_once: bool = False,
        wake: asyncio.Event | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> "asyncio.Task[None]":
        """Do ``work`` after every interval, until these tasks are closed.

        A failure is logged as "could not ``what``", and the next round tries again. ``at_once``:
        the first round needs no wait. An interval that is a function is asked before each wait.
        ``wake`` ends a wait early, and alone if the interval is None. It is cleared before the
        round, so that whoever sets it meanwhile gets a round of their own.
        """

        async def pause() -> None:
            delay_s = interval_s() if callable(interval_s) else interval_s
            if wake is None:
                assert delay_s is not None, "nothing would end this wait"
                await sleep(delay_s)
                return
            try:
                async with asyncio.timeout(delay_s):
                    await wake.wait()
            except TimeoutError:
                pass
            wake.clear()

        async def rounds() -> None:
            if not at_once:
                await pause()
            while True:
                try:
                    running = work()
                    if running is not None:
                        await running
                except Exception:  # noqa: BLE001
                    # The task's edge: what one round could not do, the next one may.
                    _log.exception("could not %s", what)
                await pause()

        return self.spawn(rounds())

    async def close(self, within_s: float) -> None:
        """Cancel what still runs and wait for its end, so long at most."""
        for task in self._tasks:
            task.cancel()
        await self.drain(within_s)

    async def drain(self, within_s: float) -> None:
        """Let what runs finish, so long at most."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a background task failed", exc_info=error)
