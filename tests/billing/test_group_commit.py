"""Lines of one turn of the event loop: one write, then the replies, in order."""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from ledger_lines import holding, usage

from coldspark.billing.journal_writer import _WAITING_LINES_MAX
from coldspark.billing.ledger import LedgerStore
from coldspark.database.database import Database


def play(root: Path, act: Callable[[LedgerStore], Awaitable[None]]) -> None:
    """Open a ledger that absorbs nothing unasked, act, and close it."""

    async def run() -> None:
        database = Database.open(root / "ledger.db")
        ledger = LedgerStore(
            root / "journal", database, boot=1, wall_ms=lambda: 9, ingest_every_s=3_600
        )
        await ledger.open()
        try:
            await act(ledger)
        finally:
            await ledger.close()
            database.close()

    asyncio.run(run())


def written(root: Path) -> int:
    """Return how many lines are in the journal."""
    return sum(path.read_bytes().count(b"\n") for path in (root / "journal").iterdir())


def test_lines_of_one_turn_are_written_together_before_any_callback(tmp_path: Path) -> None:
    """The first to hear finds all of them in the journal."""
    told: list[tuple[int, int]] = []

    def tell(number: int) -> None:
        told.append((number, written(tmp_path)))

    async def act(ledger: LedgerStore) -> None:
        for number in range(3):
            ledger.record_then(usage(number), partial(tell, number))
        assert (written(tmp_path), told) == (0, [])
        await asyncio.sleep(0)
        assert told == [(0, 3), (1, 3), (2, 3)]
        ledger.record_then(usage(3), partial(tell, 3))
        await asyncio.sleep(0)
        assert told[3:] == [(3, 4)]
        assert (await ledger.totals()).usages[0].requests == 4

    play(tmp_path, act)


def test_what_is_recorded_at_once_takes_the_waiting_lines_along(tmp_path: Path) -> None:
    """Lines stay in order, and nobody is called back from within ``record``."""
    told: list[int] = []

    async def act(ledger: LedgerStore) -> None:
        ledger.record_then(usage(0), partial(told.append, 0))
        ledger.record_idle([holding(0)])
        assert (written(tmp_path), told) == (2, [])
        ledger.record_then(usage(1), partial(told.append, 1))
        assert [line.request for line in await ledger.usages()] == ["r1", "r0"]
        assert told == [0, 1]

    play(tmp_path, act)


def test_a_long_turn_does_not_pile_up_lines(tmp_path: Path) -> None:
    """Beyond a bound they are written within the turn; who waits is still told after it."""
    told: list[int] = []

    async def act(ledger: LedgerStore) -> None:
        for number in range(_WAITING_LINES_MAX + 1):
            ledger.record_then(usage(number), partial(told.append, number))
        assert (written(tmp_path), told) == (_WAITING_LINES_MAX, [])
        large = usage(1_000, error="x" * 200_000)
        for _ in range(2):
            ledger.record_then(large, partial(told.append, 1_000))
        assert written(tmp_path) == _WAITING_LINES_MAX + 3
        await asyncio.sleep(0)
        assert told == [*range(_WAITING_LINES_MAX + 1), 1_000, 1_000]

    play(tmp_path, act)


def test_one_who_fails_keeps_no_reply_from_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The failure is logged."""
    told: list[int] = []

    async def act(ledger: LedgerStore) -> None:
        ledger.record_then(usage(0), lambda: told.append(1 // 0))
        ledger.record_then(usage(1), partial(told.append, 1))
        await asyncio.sleep(0)
        assert told == [1]
        assert "ZeroDivisionError" in caplog.text

    play(tmp_path, act)


def test_a_disk_that_refuses_keeps_no_reply(tmp_path: Path) -> None:
    """The line is kept and written later; no more work is taken until then."""
    told: list[int] = []

    async def act(ledger: LedgerStore) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
            ledger.record_then(usage(0), partial(told.append, 0))
            ledger.record_then(usage(1), partial(told.append, 1))
            await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (told, written(tmp_path), ledger.is_writable) == ([0, 1], 0, False)
        ledger.record_then(usage(2), partial(told.append, 2))
        await asyncio.sleep(0)
        assert (told, written(tmp_path), ledger.is_writable) == ([0, 1, 2], 3, True)

    play(tmp_path, act)


def test_closing_tells_who_still_waits(tmp_path: Path) -> None:
    """Their lines are in the database by then."""
    told: list[int] = []

    async def act(ledger: LedgerStore) -> None:
        ledger.record_then(usage(0), partial(told.append, 0))

    play(tmp_path, act)
    assert told == [0]
    assert list((tmp_path / "journal").iterdir()) == []
