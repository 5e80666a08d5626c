"""Move journal lines into the database: each exactly once, a segment deleted only after its commit.

Inserting a line again does nothing, so whatever was interrupted is simply done again. A thread does
the work, or, when there is much of it, another process: the thread would take the interpreter from
the event loop.
"""

import asyncio
import logging
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from coldspark import clock
from coldspark.billing import journal
from coldspark.billing.ingest_main import IngestOrder
from coldspark.billing.ingest_process import IngestProcess
from coldspark.billing.journal import JournalPosition
from coldspark.billing.ledger_lines import IngestResult, Inserts, holding_row, insert_segment_range
from coldspark.billing.usage import IdleUsage
from coldspark.database.database import Database
from coldspark.database.dialect import insert_new, sqlite_text
from coldspark.database.schema import holdings, usages

_log = logging.getLogger(__name__)

BUSY_BYTES = 256 * 1024
"""Some 500 lines: fewer than 1000 requests a second are not worth another process."""
IDLE_S = 30.0
_USAGES, _HOLDINGS = insert_new(usages), insert_new(holdings)


class Ingester:
    """How far the lines of one boot are in the database."""

    def __init__(
        self,
        directory: Path,
        database: Database,
        boot: int,
        *,
        busy_bytes: int = BUSY_BYTES,
        idle_s: float = IDLE_S,
    ) -> None:
        self._directory = directory
        self._database = database
        self._busy_bytes = busy_bytes
        """How much must wait for another process to be asked."""
        self._idle_s = idle_s
        """How long that process may have nothing to do before it is ended."""
        self._process = IngestProcess()
        self._last_order_s = 0.0
        self._is_ending = False
        self._lock = asyncio.Lock()
        self.position = JournalPosition(boot, 1, 0)
        """Everything before it is in the database."""
        self._preserved: set[JournalPosition] = set()
        """Beginnings of segments with a line that could not be read."""

    @property
    def pid(self) -> int | None:
        """Return the id of the other process while there is one."""
        return self._process.pid

    async def replay(self) -> int:
        """Ingest what earlier boots left behind; return how many lines that was."""
        lines = 0
        for boot, segment in await asyncio.to_thread(journal.segments, self._directory):
            if boot < self.position.boot:
                lines += await self._finish(JournalPosition(boot, segment, 0))
        return lines

    async def ingest_until(self, end: JournalPosition) -> None:
        """Ingest this boot's lines before ``end``."""
        async with self._lock:
            while self.position.segment < end.segment:
                await self._finish(self.position)
                self.position = JournalPosition(end.boot, self.position.segment + 1, 0)
            if self.position < end:
                await self._ingest(self.position, end.offset)
                self.position = end

    async def finish(self) -> None:
        """Delete the last segment, which is closed and whose lines were all ingested."""
        async with self._lock:
            await self._finish(self.position)

    async def end_if_idle(self) -> float | None:
        """End an idle process; return after how many seconds to check again, None for never."""
        if self.pid is None:
            return None
        left_s = self._last_order_s + self._idle_s - clock.monotonic_s()
        if left_s > 0:
            return left_s
        await self._database.run_outside_transaction(self._process.end)
        return None

    async def end_process(self) -> None:
        """Leave the rest to the thread."""
        self._is_ending = True
        await self._database.run_outside_transaction(self._process.end)

    async def _finish(self, start: JournalPosition) -> int:
        """Ingest the rest of a segment that nobody writes any more, and delete it."""
        result = await self._ingest(start, None)
        path = self._directory / journal.segment_name(start.boot, start.segment)
        whole = JournalPosition(start.boot, start.segment, 0)
        # What could not be read is money, too: it is preserved for a person to inspect.
        if whole in self._preserved:
            self._preserved.remove(whole)
            await asyncio.to_thread(path.replace, path.with_suffix(".kept"))
        else:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        return result.lines

    async def _ingest(self, start: JournalPosition, end: int | None) -> IngestResult:
        result = await self._delegate(start, end)
        if result is None:
            result = await self._database.run(_insert, self._directory, start, end)
        name = journal.segment_name(start.boot, start.segment)
        if result.torn:
            _log.warning("ledger segment %s ends within a line; no reply was sent for it", name)
        if result.unread:
            self._preserved.add(JournalPosition(start.boot, start.segment, 0))
            _log.error(
                "ledger segment %s: %d line(s) could not be read, by checksum or by content;"
                " it is kept beside the journal as .kept",
                name,
                result.unread,
            )
        return result

    async def _delegate(self, start: JournalPosition, end: int | None) -> IngestResult | None:
        """Have the other process ingest an interval; None: it is small, or that failed."""
        file = self._database.file
        # Before this boot's first line nobody calls yet: the thread disturbs none.
        if file is None or self._is_ending or start.boot != self.position.boot:
            return None
        if end is None:
            end = journal.size_bytes(self._directory, start)
        if end - start.offset < self._busy_bytes:
            return None
        result = await self._database.run_outside_transaction(
            self._process.run_order, self._order(file, start, end)
        )
        self._last_order_s = clock.monotonic_s()
        return result

    def _order(self, file: Path, start: JournalPosition, end: int) -> IngestOrder:
        return IngestOrder(
            database=str(file),
            is_synced=self._database.is_synced,
            insert_usages=sqlite_text(_USAGES),
            insert_holdings=sqlite_text(_HOLDINGS),
            directory=str(self._directory.absolute()),
            boot=start.boot,
            segment=start.segment,
            offset=start.offset,
            end=end,
        )


def insert_holding(connection: Connection, holding: IdleUsage, position: JournalPosition) -> None:
    """Insert idle usage that no journal holds."""
    _HOLDINGS.run(connection, holding_row(holding, position))


def _insert(
    connection: Connection, directory: Path, start: JournalPosition, end: int | None
) -> IngestResult:
    inserts = Inserts(
        usages=partial(_USAGES.run, connection), holdings=partial(_HOLDINGS.run, connection)
    )
    return insert_segment_range(inserts, directory, start, end)
