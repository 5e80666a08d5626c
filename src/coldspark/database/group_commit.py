"""One transaction for all work that is queued while the one before it runs.

A commit costs the same for one row as for hundreds. Each caller's work is done when the
transaction that holds it is committed; if that fails, it fails for all of its callers.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection

from coldspark.database.database import Database
from coldspark.tasks import Tasks

T = TypeVar("T")

_AT_ONCE = 512
Work = Callable[[Connection], Any]
"""What it returns is its caller's alone."""


class GroupCommit:
    """Group transactions. All calls are made on one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[tuple[Work, asyncio.Future[Any]]] = deque()
        self._tasks = Tasks()
        self._writer: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do the work in a transaction; it is committed on return.

        A caller who is cancelled does not stop the work. It must not raise by itself: that would
        fail the others in its transaction.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        if self._writer is None:
            # It ends when nothing waits, and passes its failure to the callers.
            self._writer = self._tasks.spawn(self._write())
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Wait until everything queued is written."""
        if self._writer is not None:
            await self._writer

    async def _write(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), _AT_ONCE)
                batch = [self._waiting.popleft() for _ in range(count)]
                await self._write_batch(batch)
        finally:
            self._writer = None

    async def _write_batch(self, batch: Sequence[tuple[Work, asyncio.Future[Any]]]) -> None:
        try:
            results = await self._database.run(_all, [work for work, _ in batch])
        except Exception as error:  # noqa: BLE001
            # The database's edge: each caller gets the failure.
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
                    # Whose caller is gone is nobody's to retrieve.
                    future.exception()
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)


def _all(connection: Connection, works: Sequence[Work]) -> list[Any]:
    return [work(connection) for work in works]
