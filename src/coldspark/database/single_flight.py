"""Single flight: concurrent callers of one key share one task."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Work in progress by key.

    A caller who is cancelled does not end the work: another may wait for it, and the next one
    will want what it made.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}

    async def join(self, key: str, make: Callable[[], Coroutine[object, object, T]]) -> T:
        """Return what ``make`` returns, or raise what it raises; begin it unless it runs."""
        task = self._tasks.get(key)
        if task is None:
            # Held here until it ends; every waiting caller gets its failure.
            task = self._tasks[key] = asyncio.Task(make(), name=f"flight {key}")
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    def _landed(self, key: str, task: asyncio.Task[T]) -> None:
        del self._tasks[key]
        if not task.cancelled():
            task.exception()
