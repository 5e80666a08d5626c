"""The ledger: nothing acknowledged is lost, nothing is doubled, sums are exact."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import ledger_lines
import pytest
from ledger_lines import holding, usage
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from coldspark.billing.ingester import BUSY_BYTES
from coldspark.billing.journal import line
from coldspark.billing.ledger import LedgerStore
from coldspark.database.database import Database
from coldspark.errors import Conflict, InvalidRequest
from coldspark.spec.types import EndpointName

LINES_BEFORE_KILL = 3_000


def play(root: Path, boot: int, act: Callable[[LedgerStore], Awaitable[None]]) -> None:
    """Open the ledger, act, and close it."""

    async def run() -> None:
        database = Database.open(root / "ledger.db")
        ledger = LedgerStore(root / "journal", database, boot=boot, wall_ms=lambda: 9)
        await ledger.open()
        try:
            await act(ledger)
        finally:
            await ledger.close()
            database.close()

    asyncio.run(run())


def killed(root: Path, boot: int, busy_bytes: int = BUSY_BYTES) -> int:
    """Kill -9 a recording process in the middle; return the last number it acknowledged."""
    argv = [sys.executable, ledger_lines.__file__, str(root), str(boot), str(busy_bytes)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(LINES_BEFORE_KILL):
            process.stdout.readline()
        process.kill()
        rest = process.stdout.read()
    whole = rest[: rest.rfind(b"\n") + 1].split()
    return int(whole[-1]) if whole else boot * 1_000_000 + LINES_BEFORE_KILL - 1


@pytest.mark.process
@pytest.mark.parametrize("busy_bytes", [BUSY_BYTES, 0], ids=["thread", "process"])
def test_every_acknowledged_line_is_there_once_after_kill_9(
    tmp_path: Path, busy_bytes: int
) -> None:
    """Two boots die while they absorb; the third has all lines that either acknowledged."""
    last = {boot: killed(tmp_path, boot, busy_bytes) for boot in (1, 2)}

    async def check(ledger: LedgerStore) -> None:
        for boot, number in last.items():
            first = boot * 1_000_000
            acknowledged = number - first + 1
            totals = await ledger.totals(since_ms=first, until_ms=number + 1)
            assert totals.usages[0].requests == acknowledged
            assert totals.nanos == acknowledged * (7 + 5)
            assert await ledger.usage(f"r{number}") == usage(number)
        assert [boot.boot for boot in await ledger.crashed()] == [1, 2]

    play(tmp_path, 3, check)
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_torn_last_line_is_dropped_and_the_others_stay(tmp_path: Path) -> None:
    """Nobody got a reply for half a line."""

    async def crash() -> None:
        database = Database.open(tmp_path / "ledger.db")
        # Absorbed by nobody: the lines are in the journal alone.
        ledger = LedgerStore(
            tmp_path / "journal", database, boot=1, wall_ms=lambda: 9, ingest_every_s=3_600
        )
        await ledger.open()
        ledger.record(usage(1))
        ledger.record(usage(2))
        database.close()

    asyncio.run(crash())
    (segment,) = (tmp_path / "journal").iterdir()
    segment.write_bytes(segment.read_bytes()[:-5])

    async def check(ledger: LedgerStore) -> None:
        assert await ledger.usages() == [usage(1)]

    play(tmp_path, 2, check)


def test_lines_are_found_newest_first_and_add_up(tmp_path: Path) -> None:
    """A range holds what began in it; an endpoint's totals are its own."""

    async def check(ledger: LedgerStore) -> None:
        for number in range(4):
            ledger.record(usage(number, error="TimedOut" if number == 3 else None))
        ledger.record(usage(10, endpoint="other"))
        ledger.record_idle([holding(0), holding(2_000)])
        echo = EndpointName("echo")
        assert await ledger.usages(echo, limit=2) == [usage(3, error="TimedOut"), usage(2)]
        assert await ledger.usages(since_ms=1, until_ms=2) == [usage(1)]
        (total,) = (await ledger.totals(echo)).usages
        assert (total.requests, total.errors, total.cold, total.busy_nanos) == (4, 1, 1, 28)
        assert (await ledger.totals()).nanos == 5 * 7 + 2 * 5
        assert await ledger.usage("nobody") is None
        with pytest.raises(InvalidRequest, match="limit=0"):
            await ledger.usages(limit=0)

    play(tmp_path, 1, check)


def test_a_line_recorded_twice_counts_once(tmp_path: Path) -> None:
    """A usage is known by its request."""

    async def check(ledger: LedgerStore) -> None:
        ledger.record(usage(1))
        await ledger.ingest()
        ledger.record(usage(1))
        assert (await ledger.totals()).nanos == 7

    play(tmp_path, 1, check)


def test_a_crashed_boot_ends_once_with_its_overhead(tmp_path: Path) -> None:
    """The second end adds nothing."""
    killed(tmp_path, 1)

    async def check(ledger: LedgerStore) -> None:
        (boot,) = await ledger.crashed()
        await ledger.close_crashed(boot, holding(7, nanos=11))
        await ledger.close_crashed(boot, holding(7, nanos=11))
        assert (await ledger.totals(boot=1)).nanos == boot.nanos + 11
        assert (await ledger.totals(boot=2)).nanos == 0
        assert await ledger.crashed() == []

    play(tmp_path, 2, check)


def test_a_boot_that_was_here_before_is_refused(tmp_path: Path) -> None:
    """A copied data directory must not write over what it holds."""

    async def nothing(ledger: LedgerStore) -> None:
        pass

    play(tmp_path, 5, nothing)
    with pytest.raises(Conflict, match="boot 5"):
        play(tmp_path, 5, nothing)


def test_a_database_that_refuses_costs_no_line(tmp_path: Path) -> None:
    """Lines wait in the journal, over several segments, until it takes them."""

    def rename(connection: Connection, old: str, new: str) -> None:
        connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    async def run() -> None:
        database = Database.open(tmp_path / "ledger.db")
        ledger = LedgerStore(
            tmp_path / "journal", database, boot=1, wall_ms=lambda: 9, segment_bytes=2_000
        )
        await ledger.open()
        await database.run(rename, "usages", "away")
        for number in range(50):
            ledger.record(usage(number))
        with pytest.raises(OperationalError):
            await ledger.ingest()
        assert len(list((tmp_path / "journal").iterdir())) > 5
        await database.run(rename, "away", "usages")
        assert (await ledger.totals()).usages[0].requests == 50
        assert len(list((tmp_path / "journal").iterdir())) == 1
        await ledger.close()
        database.close()

    asyncio.run(run())


def test_a_line_that_the_disk_spoiled_is_kept_aside(tmp_path: Path) -> None:
    """It was acknowledged: only a person may throw it away. The others count."""

    async def spoil(ledger: LedgerStore) -> None:
        for number in range(3):
            ledger.record(usage(number))
        (segment,) = (tmp_path / "journal").iterdir()
        segment.write_bytes(segment.read_bytes().replace(b"r1", b"r7"))
        assert (await ledger.totals()).usages[0].requests == 2

    play(tmp_path, 1, spoil)
    assert [path.suffix for path in (tmp_path / "journal").iterdir()] == [".kept"]


def test_lines_of_another_version_are_kept_aside(tmp_path: Path) -> None:
    """What cannot be understood is money, too."""

    async def crash() -> None:
        ledger = LedgerStore(
            tmp_path / "journal",
            Database.open(tmp_path / "ledger.db"),
            boot=1,
            wall_ms=lambda: 9,
            ingest_every_s=3_600,
        )
        await ledger.open()
        ledger._open().write([line(b"U", b'{"request": 1}')])

    asyncio.run(crash())

    async def check(ledger: LedgerStore) -> None:
        assert await ledger.usages() == []

    play(tmp_path, 2, check)
    assert [path.suffix for path in (tmp_path / "journal").iterdir()] == [".kept"]
