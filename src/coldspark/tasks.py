"""Own background tasks: each is kept, its failure is logged, and all are awaited at the end."""

import asyncio
import logging
from collections.abc import Coroutine

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
