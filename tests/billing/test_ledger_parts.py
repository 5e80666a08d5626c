"""Several processes write one ledger: a run, its parts, and what one that was killed left."""

import asyncio
from pathlib import Path

from ledger_lines import holding
from test_ledger import killed

from coldspark.billing.journal import segments
from coldspark.billing.ledger import LedgerStore
from coldspark.database.database import Database


def test_a_killed_part_is_taken_over_and_belongs_to_its_run(tmp_path: Path) -> None:
    """Its lines count once, it is no crashed run by itself, and the next start knows the whole."""
    part = tmp_path / "routers" / "1"
    database_of_part = part / "ledger.db"
    killed(part, 2)

    async def lead() -> int:
        database = Database.open(database_of_part)
        ledger = LedgerStore(tmp_path / "journal", database, boot=3, wall_ms=lambda: 9)
        await ledger.open()
        await ledger.add_part(4)
        member = LedgerStore(part / "more", database, boot=4, wall_ms=lambda: 9)
        await member.open(is_part=True)
        member.record_idle([holding(1, nanos=7)])
        await member.close()
        ledger.record_idle([holding(2, nanos=5)])
        await ledger.ingest()
        first = await ledger.ingest_part(part / "journal", 2)
        assert first == await ledger.ingest_part(part / "journal", 2)
        assert segments(part / "journal") == []
        assert await ledger.ingest_part(part / "none", 4) == 7
        database.close()
        return first

    async def next_start(before: int) -> None:
        database = Database.open(database_of_part)
        ledger = LedgerStore(tmp_path / "journal", database, boot=5, wall_ms=lambda: 9)
        await ledger.open()
        runs = await ledger.crashed()
        assert [(run.boot, run.nanos) for run in runs] == [(2, before), (3, 12)]
        for run in runs:
            await ledger.close_crashed(run, None)
        assert await ledger.crashed() == []
        await ledger.close()
        database.close()

    asyncio.run(next_start(asyncio.run(lead())))
