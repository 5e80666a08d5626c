"""What a line of the ledger costs the router, and what absorbing it costs, in µs of CPU.

    python -m benchmarks.ledger_alone [lines]

Every figure is a median of rounds. Request ids are random, as the gateway's are: that decides what
the database's index by request costs.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import uvloop

from benchmarks.report import Report
from coldspark.core.metering import Usage
from coldspark.core.types import EndpointName, ReplicaId, RequestId, RevisionId, VariantName
from coldspark.core.waterfall import Waterfall
from coldspark.store.database import Database
from coldspark.store.ledger import LedgerKeeper

ROUNDS = 7
BATCHES = (1, 16, 64)

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


def _usages(count: int, seed: int) -> list[Usage]:
    digits = random.Random(seed)
    return [
        replace(
            _USAGE,
            request=RequestId(f"{digits.getrandbits(64):016x}-{digits.getrandbits(76):019x}"),
            arrived_ms=_USAGE.arrived_ms + seed * count + number,
        )
        for number in range(count)
    ]


async def _turns(ledger: LedgerKeeper, usages: list[Usage], batch: int) -> None:
    told = 0

    def tell() -> None:
        nonlocal told
        told += 1

    for first in range(0, len(usages), batch):
        for usage in usages[first : first + batch]:
            ledger.record_then(usage, tell)
        await asyncio.sleep(0)
    assert told == len(usages)


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


async def _record(report: Report, ledger: LedgerKeeper, lines: int) -> None:
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
        await ledger.absorb()
    for what, values in found.items():
        report.add(what, "µs/line", values)


async def _absorb(report: Report, ledger: LedgerKeeper, lines: int, what: str, seed: int) -> None:
    router: list[float] = []
    beside: list[float] = []
    meter = Meter(lines)
    for number in range(ROUNDS + 2):
        for usage in _usages(lines, seed + number):
            ledger.record(usage)
        router_us, beside_us = meter.process(), meter.child(ledger.absorber_pid)
        await ledger.absorb()
        # The first round starts the process, the second opens the database in it.
        if number >= 2:
            router.append(router_us())
            beside.append(beside_us())
    report.add(f"{what}: the router's process", "µs/line", router)
    if ledger.absorber_pid is not None:
        report.add(f"{what}: the other process", "µs/line", beside)


async def _measure(report: Report, lines: int, root: Path, busy_bytes: int) -> None:
    database = Database.open(root / "ledger.db")
    # Absorbed when asked: the rounds must not run into each other.
    ledger = LedgerKeeper(
        root / "journal",
        database,
        boot=1,
        wall_ms=lambda: 0,
        absorb_every_s=3_600,
        busy_bytes=busy_bytes,
    )
    await ledger.open()
    if busy_bytes:
        await _record(report, ledger, lines)
        await _absorb(report, ledger, lines, "absorbing in a thread", ROUNDS)
    else:
        await _absorb(report, ledger, lines, "absorbing in a process", ROUNDS)
    await ledger.close()
    database.close()


def main() -> None:
    """Measure, and print."""
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    report = Report()
    report.begin()
    for busy_bytes in (2**40, 0):
        with tempfile.TemporaryDirectory() as root:
            uvloop.run(_measure(report, lines, Path(root), busy_bytes))


if __name__ == "__main__":
    main()
