"""Ledger lines for tests, and the program that records them until it is killed."""

import asyncio
import itertools
import sys
from functools import partial
from pathlib import Path

from coldspark.billing.ledger import LedgerStore
from coldspark.billing.usage import IdleUsage, IdleUsageState, Usage
from coldspark.database.database import Database
from coldspark.spec.types import EndpointName, ReplicaId, RequestId, VariantName
from coldspark.spec.waterfall import Waterfall

TURN = 5
"""Lines that one turn of the event loop brings."""


def usage(number: int, endpoint: str = "echo", error: str | None = None) -> Usage:
    """Return the line of request ``r<number>``, which arrived at millisecond ``number``."""
    return Usage(
        request=RequestId(f"r{number}"),
        endpoint=EndpointName(endpoint),
        variant=VariantName("main"),
        revision=None,
        replica=ReplicaId("p1"),
        gpu="A10G",
        gpu_count=0.5,
        is_simulated=True,
        arrived_ms=number,
        duration_ms=20,
        busy_ms=10,
        bytes_in=3,
        bytes_out=4,
        status=200,
        error=error,
        is_cold=number == 0,
        key=None,
        busy_nanos=7,
        waterfall=Waterfall(inferred_us=10_000, queued_us=10_000),
    )


def holding(number: int, nanos: int = 5) -> IdleUsage:
    """Return an idle second from millisecond ``number`` on."""
    return IdleUsage(
        state=IdleUsageState.IDLE,
        endpoint=EndpointName("echo"),
        variant=VariantName("main"),
        replica=ReplicaId("p1"),
        gpu=None,
        gpu_count=0.0,
        is_simulated=False,
        is_provisioned=False,
        from_ms=number,
        to_ms=number + 1_000,
        nanos=nanos,
    )


def say(number: int) -> None:
    """Acknowledge a line."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


async def record_for_ever(root: Path, boot: int, busy_bytes: int) -> None:
    """Record usages and holdings, and print each number once both are recorded."""
    ledger = LedgerStore(
        root / "journal",
        Database.open(root / "ledger.db"),
        boot=boot,
        wall_ms=lambda: 1,
        ingest_every_s=0.01,
        segment_bytes=20_000,
        busy_bytes=busy_bytes,
    )
    await ledger.open()
    for first in itertools.count(boot * 1_000_000, TURN):
        numbers = range(first, first + TURN)
        ledger.record_idle([holding(number) for number in numbers])
        for number in numbers:
            if first % (4 * TURN):
                ledger.record_then(usage(number), partial(say, number))
            else:
                ledger.record(usage(number))
                say(number)
        await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(record_for_ever(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
