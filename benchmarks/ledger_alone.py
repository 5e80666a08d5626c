"""What a line of the ledger costs the router, and what absorbing it costs, in µs of CPU.

    python -m benchmarks.ledger_alone [lines] [rows]

Every figure is a median of rounds of ``lines``. Absorbing is measured in an empty ledger, and in
one that holds ``rows``: there it matters whether request ids are random or begin with the time. A
random one lands on a page of its own in the index by request, which is read, written and
checkpointed for it alone.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from msgspec.structs import replace

from benchmarks.report import Report
from coldspark.billing.ledger import LedgerStore
from coldspark.billing.usage import Usage
from coldspark.database.database import Database
from coldspark.spec.types import EndpointName, ReplicaId, RequestId, RevisionId, VariantName
from coldspark.spec.waterfall import Waterfall

ROUNDS = 7
BATCHES = (1, 16, 64)
_NEVER_BYTES = 2**40

_WATERFALL = Waterfall(received_us=12, queued_us=8, inferred_us=15, returned_us=3)
_USAGE = Usage(
    request=RequestId(""),
    endpoint=EndpointName("churn"),
    variant=VariantName("main"),
    revision=RevisionId("0123456789abcdef"),
    replica=ReplicaId("local-0001"),
    gpu=None,
    gpu_count=0.0,
    is_simulated=False,
    arrived_ms=1_767_225_600_000,
    duration_ms=3,
    busy_ms=2,
    bytes_in=1_024,
    bytes_out=1_024,
    status=200,
    error=None,
    is_cold=False,
    key=None,
    busy_nanos=1_234,
    waterfall=_WATERFALL,
)


def _usages(count: int, seed: int, *, is_timed: bool = False) -> list[Usage]:
    """Return lines that arrived after those of smaller seeds, with ids as long as a UUID."""
    digits = random.Random(seed)
    first_ms = _USAGE.arrived_ms + seed * count
    return [
        replace(_USAGE, request=_id(arrived_ms, digits, is_timed), arrived_ms=arrived_ms)
        for arrived_ms in range(first_ms, first_ms + count)
    ]


def _id(arrived_ms: int, digits: random.Random, is_timed: bool) -> RequestId:
    begin = arrived_ms << 16 if is_timed else digits.getrandbits(64)
    return RequestId(f"{begin:016x}-{digits.getrandbits(76):019x}")


async def _turns(ledger: LedgerStore, usages: list[Usage], batch: int) -> None:
    recorded = 0

    def count_recorded() -> None:
        nonlocal recorded
        recorded += 1

    for first in range(0, len(usages), batch):
        for usage in usages[first : first + batch]:
            ledger.record_then(usage, count_recorded)
        await asyncio.sleep(0)
    assert recorded == len(usages)


async def _empty_turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Meter:
    """CPU between two readings, in µs per line: this thread's, this process's, another's."""

    def __init__(self, lines: int) -> None:
        self._lines = lines

    def thread(self) -> Callable[[], float]:
        """Return what reads the CPU of the calling thread since now."""
        return self._since(time.thread_time)

    def process(self) -> Callable[[], float]:
        """Return what reads the CPU of this process since now."""
        return self._since(time.process_time)

    def child(self, pid: int | None) -> Callable[[], float]:
        """Return what reads the CPU of another process since now."""
        return self._since(lambda: 0.0 if pid is None else _cpu_s(pid))

    def _since(self, clock: Callable[[], float]) -> Callable[[], float]:
        began_s = clock()
        return lambda: (clock() - began_s) / self._lines * 1e6


def _cpu_s(pid: int) -> float:
    # The scheduler's own figure counts nanoseconds; that in "stat" counts hundredths of a second.
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


async def _record(report: Report, ledger: LedgerStore, lines: int) -> None:
    found: dict[str, list[float]] = {}
    meter = Meter(lines)
    for seed in range(ROUNDS):
        usages = _usages(lines, seed)
        read = meter.thread()
        for usage in usages:
            ledger.record(usage)
        found.setdefault("record", []).append(read())
        for batch in BATCHES:
            read = meter.thread()
            await _empty_turns(lines // batch)
            empty = read()
            read = meter.thread()
            await _turns(ledger, usages, batch)
            found.setdefault(f"record_then, {batch} a turn", []).append(read() - empty)
        await ledger.ingest()
    for what, values in found.items():
        report.add(what, "µs/line", values)


async def _ingest(
    report: Report, ledger: LedgerStore, lines: int, what: str, rows: int = 0, timed: bool = False
) -> None:
    router: list[float] = []
    beside: list[float] = []
    meter = Meter(lines)
    # The first round starts the process, the second opens the database in it.
    before = max(2, rows // lines)
    for number in range(before + ROUNDS):
        for usage in _usages(lines, ROUNDS + number, is_timed=timed):
            ledger.record(usage)
        router_us, beside_us = meter.process(), meter.child(ledger.ingest_pid)
        await ledger.ingest()
        if number >= before:
            router.append(router_us())
            beside.append(beside_us())
    report.add(f"{what}: the router's process", "µs/line", router)
    if ledger.ingest_pid is not None:
        report.add(f"{what}: the other process", "µs/line", beside)


@asynccontextmanager
async def _ledger(busy_bytes: int) -> AsyncIterator[LedgerStore]:
    """Open a ledger that absorbs when it is asked: rounds must not run into each other."""
    with tempfile.TemporaryDirectory() as root:
        database = Database.open(Path(root) / "ledger.db")
        ledger = LedgerStore(
            Path(root) / "journal",
            database,
            boot=1,
            wall_ms=lambda: 0,
            ingest_every_s=3_600,
            busy_bytes=busy_bytes,
        )
        await ledger.open()
        yield ledger
        await ledger.close()
        database.close()


async def _measure(report: Report, lines: int, rows: int) -> None:
    async with _ledger(_NEVER_BYTES) as ledger:
        await _record(report, ledger, lines)
        await _ingest(report, ledger, lines, "in a thread")
    async with _ledger(0) as ledger:
        await _ingest(report, ledger, lines, "in a process")
    for ids, timed in (("random", False), ("timed", True)):
        async with _ledger(0) as ledger:
            await _ingest(report, ledger, lines, f"{rows:,} rows, {ids} ids", rows, timed)


def main() -> None:
    """Measure, and print."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    rows = int(sys.argv[2]) if len(sys.argv) > 2 else 400_000
    report = Report()
    report.begin()
    uvloop.run(_measure(report, lines, rows))


if __name__ == "__main__":
    main()
