"""What metrics cost beside the requests: ``python -m benchmarks.metrics_cost``.

A minute of traffic is written to a ledger in advance, with latencies that all differ, and brought
to metrics as the server does it: derived each 10 s, with custom metrics written each 2 s. What is
told is the processor time of that minute, all threads together, as a share of one core.
"""

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path

from coldspark.billing.ledger import LedgerStore
from coldspark.billing.usage import Usage
from coldspark.database.database import Database
from coldspark.platform.metric_ports import Metric
from coldspark.spec.types import EndpointName, ReplicaId, RequestId, VariantName
from coldspark.spec.waterfall import Waterfall
from coldspark.telemetry.metric_service import MetricService

NOON_MS = 1_800_000_000_000
_ROLL_UPS, _FLUSHES = 6, 30


def _usage(number: int, endpoint: int, at_ms: int, rng: random.Random) -> Usage:
    latency_us = round(rng.lognormvariate(10, 1))
    return Usage(
        request=RequestId(f"r{number}"),
        endpoint=EndpointName(f"e{endpoint}"),
        variant=VariantName("main"),
        revision=None,
        replica=ReplicaId(f"p{endpoint}"),
        gpu=None,
        gpu_count=0.0,
        is_simulated=False,
        arrived_ms=at_ms,
        duration_ms=latency_us // 1_000,
        busy_ms=latency_us // 1_000,
        bytes_in=10,
        bytes_out=10,
        status=200,
        error=None,
        is_cold=number % 50 == 0,
        key=None,
        busy_nanos=7,
        waterfall=Waterfall(queued_us=rng.randrange(2_000), inferred_us=latency_us),
    )


async def _minute(path: Path, requests: int, endpoints: int, customs: int) -> dict[str, float]:
    rng = random.Random(1)
    database = Database.open(path / "coldspark.db")
    ledger = LedgerStore(path / "journal", database, boot=1, wall_ms=lambda: NOON_MS)
    await ledger.open()
    metrics = MetricService(database, wall_ms=lambda: NOON_MS)
    spent = {"derive": 0.0, "flush": 0.0}
    for part in range(_ROLL_UPS):
        for number in range(part * requests // _ROLL_UPS, (part + 1) * requests // _ROLL_UPS):
            at_ms = NOON_MS + number * 60_000 // requests
            ledger.record(_usage(number, number % endpoints, at_ms, rng))
        await ledger.ingest()
        begun_s = time.process_time()
        await metrics.roll_up()
        spent["derive"] += time.process_time() - begun_s
        for _ in range(_FLUSHES // _ROLL_UPS):
            begun_s = time.process_time()
            for number in range(customs // _FLUSHES):
                metric = Metric(namespace="Bench", name=f"m{number % 100}")
                metrics.add(metric, rng.random(), NOON_MS)
            await metrics.flush()
            spent["flush"] += time.process_time() - begun_s
    await metrics.close()
    await ledger.close()
    database.close()
    return spent


def main() -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="of one minute")
    parser.add_argument("--endpoints", type=int, default=50)
    parser.add_argument("--customs", type=int, default=6_000, help="measurements put in it")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spent = asyncio.run(_minute(Path(folder), args.requests, args.endpoints, args.customs))
    for what, seconds in spent.items():
        print(f"{what}: {seconds:.2f} s of processor time in a minute, {seconds / 0.6:.1f} %")


if __name__ == "__main__":
    main()
