"""A ledger, metrics and alarms on a fresh database, at a time that the test says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from coldspark.billing.ledger import LedgerStore
from coldspark.billing.usage import Usage
from coldspark.database.database import Database
from coldspark.doors.aws.cloudwatch.alarm_reasons import explain
from coldspark.errors import NotFound
from coldspark.platform.metric_ports import ENDPOINT_NAMESPACE, Metric
from coldspark.spec.types import EndpointName, ReplicaId, RequestId, VariantName
from coldspark.spec.waterfall import Waterfall
from coldspark.telemetry.alarm_changes import AlarmChange
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.endpoint_metrics import VariantContext, dimensions_of
from coldspark.telemetry.metric_service import MetricRetention, MetricService

NOON_MS = 1_800_000_000_000
"""A whole hour."""
HEAT = Metric(namespace="House", name="heat", dimensions=(("Room", "kitchen"),))


@dataclass
class Kept:
    """All of it."""

    metrics: MetricService
    alarms: AlarmService
    ledger: LedgerStore
    database: Database
    told: list[tuple[str, str]] = field(default_factory=list)
    """Addresses and states that were told."""
    now_ms: int = NOON_MS


@asynccontextmanager
async def keeping(
    path: Path,
    *,
    boot: int = 1,
    factor: float = 1.0,
    standings: dict[tuple[str, str], VariantContext] | None = None,
) -> AsyncIterator[Kept]:
    """Keep them under ``path`` while the block runs. No timer runs."""
    database = Database.open(path / "coldspark.db")
    kept: Kept

    def now() -> int:
        return kept.now_ms

    async def notify(address: str, change: AlarmChange) -> None:
        if not address.startswith("arn:"):
            raise NotFound(f"{address} is no topic")
        kept.told.append((address, change.alarm.stored.state.value))

    ledger = LedgerStore(path / "journal", database, boot=boot, wall_ms=now, ingest_every_s=60)
    metrics = MetricService(
        database,
        wall_ms=now,
        absorb=ledger.ingest,
        standings=lambda: standings or {},
        retention=MetricRetention(factor=factor),
    )
    alarms = AlarmService(database, metrics, wall_ms=now, explain=explain, notify=notify)
    kept = Kept(metrics, alarms, ledger, database)
    await ledger.open()
    await alarms.open(is_timed=False)
    try:
        yield kept
    finally:
        await alarms.close()
        await metrics.close()
        await ledger.close()
        database.close()


def served(number: int, at_ms: int = NOON_MS, **changes: object) -> Usage:
    """Return the line of a request of 30 ms, 10 of them the model's, that arrived then."""
    usage = Usage(
        request=RequestId(f"r{number}"),
        endpoint=EndpointName("echo"),
        variant=VariantName("main"),
        revision=None,
        replica=ReplicaId("p1"),
        gpu=None,
        gpu_count=0.0,
        is_simulated=False,
        arrived_ms=at_ms,
        duration_ms=30,
        busy_ms=10,
        bytes_in=3,
        bytes_out=4,
        status=200,
        error=None,
        is_cold=False,
        key=None,
        busy_nanos=7,
        waterfall=Waterfall(queued_us=20_000, inferred_us=9_000, unaccounted_us=1_000),
    )
    return replace(usage, **changes)


def of_echo(name: str) -> Metric:
    """Return a metric of the endpoint that ``served`` is about."""
    return Metric(namespace=ENDPOINT_NAMESPACE, name=name, dimensions=dimensions_of("echo", "main"))
