"""The ledger: lines go into a journal before the reply leaves, and into the database soon after.

Nothing is lost or doubled by kill -9 at any point: a journal segment is deleted only after the
transaction that holds its lines, and inserting a line again does nothing, because a usage is known
by its request and idle usage by its position in the journal. If the database stalls, lines stay in
the journal on disk; memory does not grow.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection

from coldspark.billing import journal
from coldspark.billing.ingester import BUSY_BYTES, IDLE_S, Ingester, insert_holding
from coldspark.billing.journal import Journal, JournalPosition
from coldspark.billing.journal_writer import JournalWriter
from coldspark.billing.ledger_lines import holding_line, usage_line
from coldspark.billing.ledger_queries import (
    LedgerRange,
    end_boot,
    find_crashed,
    find_nanos,
    find_totals,
    find_usage,
    find_usages,
    is_boot_known,
    open_boot,
    open_part,
)
from coldspark.billing.usage import IdleUsage, LedgerTotals, Usage
from coldspark.database.database import Database
from coldspark.database.records import Boot
from coldspark.errors import Conflict, InvalidRequest
from coldspark.spec.types import EndpointName
from coldspark.tasks import Tasks

_log = logging.getLogger(__name__)

LIMIT_MAX = 10_000
"""Lines that one query returns at most."""
_CLOSE_S = 30.0


class LedgerStore:
    """The ledger of one boot. All calls are made on the event loop's thread."""

    def __init__(
        self,
        directory: Path,
        database: Database,
        *,
        boot: int,
        wall_ms: Callable[[], int],
        ingest_every_s: float = 0.5,
        segment_bytes: int = 4 * 1024**2,
        busy_bytes: int = BUSY_BYTES,
        ingester_idle_s: float = IDLE_S,
    ) -> None:
        self._directory = directory
        self._database = database
        self._boot = boot
        self._wall_ms = wall_ms
        self._ingest_every_s = ingest_every_s
        self._segment_bytes = segment_bytes
        self._ingestion = Ingester(
            directory, database, boot, busy_bytes=busy_bytes, idle_s=ingester_idle_s
        )
        self._writer: JournalWriter | None = None
        self._tasks = Tasks()
        self._some = asyncio.Event()
        """Lines wait to be absorbed, or the ledger closes."""
        self._closing = asyncio.Event()

    @property
    def is_writable(self) -> bool:
        """Whether the disk took every line: while it did not, no request may be taken."""
        return self._writer is None or self._writer.is_writable

    @property
    def ingest_pid(self) -> int | None:
        """Return the id of the process that ingests while the ledger is busy, if there is one."""
        return self._ingestion.pid

    async def open(self, *, is_part: bool = False) -> None:
        """Ingest what earlier boots left in the journal, and begin this one.

        ``is_part``: the boot is a part of another's run, which counted it and answers for what no
        line explains (see ``add_part``). Raises Conflict when this boot, or a later one, was here
        before.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        newest = max(journal.segments(self._directory), default=(0, 0))[0]
        is_known = not is_part and await self._database.run(is_boot_known, self._boot)
        if newest >= self._boot or is_known:
            raise Conflict(
                f"boot {self._boot} is not newer than what the ledger holds (boot {newest} in the"
                " journal, or one in the database). Write a larger number into the data"
                " directory's file 'boot'."
            )
        replayed = await self._ingestion.replay()
        if replayed:
            _log.info("ledger: took over %d line(s) of earlier boots", replayed)
        if not is_part:
            await self._database.run(open_boot, self._boot, self._wall_ms())
        self._writer = JournalWriter(
            Journal(
                self._directory,
                self._boot,
                segment_bytes=self._segment_bytes,
                fsync=self._database.is_synced,
            )
        )
        self._tasks.spawn(self._ingest_often())

    async def close(self) -> None:
        """Bring the last lines into the database and end the boot. Idempotent."""
        if self._writer is None:
            return
        self._closing.set()
        self._some.set()
        await self._tasks.drain(_CLOSE_S)
        self._writer.flush()
        await self._ingestion.end_process()
        await self.ingest()
        self._writer.close()
        self._writer = None
        await self._database.run(end_boot, self._boot, self._wall_ms())
        # Everything in it is committed; if it stays, the next boot reads it again to no effect.
        with suppress(OSError):
            await self._ingestion.finish()

    def record(self, usage: Usage) -> None:
        """Journal one request's line: on return it survives kill -9, unless the disk refuses.

        Then the line stays in memory and is tried again, and ``is_writable`` is False until it is
        written: the answer is the caller's whatever the disk does.
        """
        self._open().write([usage_line(usage)])
        self._some.set()

    def record_then(self, usage: Usage, done: Callable[[], None]) -> None:
        """Journal one request's line at the end of this turn of the event loop, then call ``done``.

        The lines of a turn go out in one write, and their ``done`` are called in order after it,
        whatever the disk does (see ``record``). A reply that ``done`` sends is a reply whose line
        survives kill -9.
        """
        self._open().write_then(usage_line(usage), done)
        self._some.set()

    def record_idle(self, holdings: Sequence[IdleUsage]) -> None:
        """Journal idle usage in one write, as ``record`` does."""
        if holdings:
            self._open().write([holding_line(holding) for holding in holdings])
            self._some.set()

    async def ingest(self) -> None:
        """Bring all lines recorded before this call into the database."""
        if self._writer is not None:
            self._writer.write(())
            await self._ingestion.ingest_until(self._writer.end)

    async def usages(
        self,
        endpoint: EndpointName | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int = 100,
    ) -> list[Usage]:
        """Return lines, newest first, that arrived in ``since_ms <= t < until_ms``."""
        if not 1 <= limit <= LIMIT_MAX:
            raise InvalidRequest(f"limit={limit} must lie in 1..{LIMIT_MAX}", field="limit")
        await self.ingest()
        range = LedgerRange(endpoint=endpoint, since_ms=since_ms, until_ms=until_ms)
        return await self._database.run(find_usages, range, limit)

    async def usage(self, request_id: str) -> Usage | None:
        """Return one request's line, or None."""
        await self.ingest()
        return await self._database.run(find_usage, request_id)

    async def totals(
        self,
        endpoint: EndpointName | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        boot: int | None = None,
    ) -> LedgerTotals:
        """Add up the lines that began in ``since_ms <= t < until_ms``, or in one boot."""
        await self.ingest()
        range = LedgerRange(endpoint=endpoint, since_ms=since_ms, until_ms=until_ms, boot=boot)
        return await self._database.run(find_totals, range)

    async def crashed(self) -> list[Boot]:
        """Return the earlier runs that never ended, oldest first, each with all its parts."""
        return await self._database.run(find_crashed, self._boot)

    async def add_part(self, boot: int) -> None:
        """Record another process's boot as a part of this run."""
        await self._database.run(open_part, boot, self._wall_ms())

    async def ingest_part(self, directory: Path, boot: int) -> int:
        """Ingest the journal of a part whose process is gone; return its lines' nanos."""
        if await asyncio.to_thread(directory.is_dir):
            await Ingester(directory, self._database, boot + 1).replay()
        return await self._database.run(find_nanos, boot)

    async def close_crashed(self, boot: int | Boot, overhead: IdleUsage | None) -> None:
        """End a crashed boot, with what it cost beside its lines. A second call does nothing."""
        number = boot.boot if isinstance(boot, Boot) else boot
        await self._database.run(_end_crashed, number, overhead, self._wall_ms())

    def _open(self) -> JournalWriter:
        assert self._writer is not None, "the ledger is not open"
        return self._writer

    async def _ingest_often(self) -> None:
        while not self._closing.is_set():
            try:
                await self._wait_for_lines()
                # Cleared here alone: a line has a round even if a query ingested it before, and
                # the round after an order is what ends the process when it is idle.
                self._some.clear()
                await self.ingest()
                if not self.is_writable:
                    self._some.set()
            except Exception:  # noqa: BLE001
                # The task's edge: the lines are safe in the journal, the next round tries again.
                _log.exception("ledger: lines stay in the journal, the database refused them")
                self._some.set()

    async def _wait_for_lines(self) -> None:
        """Wait until there are some, and then a little, so that a round has many."""
        while not self._some.is_set():
            check_again_s = await self._ingestion.end_if_idle()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._some.wait(), check_again_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), self._ingest_every_s)
        await self._ingestion.end_if_idle()


def _end_crashed(
    connection: Connection, boot: int, overhead: IdleUsage | None, now_ms: int
) -> None:
    if end_boot(connection, boot, now_ms) and overhead is not None:
        # Segments count from 1: this position is free.
        insert_holding(connection, overhead, JournalPosition(boot, 0, 0))
