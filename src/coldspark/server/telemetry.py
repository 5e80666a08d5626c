"""Metrics and alarms of one server: in the one process, or in the lead of several."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from coldspark import clock
from coldspark.cluster.messages import IngestLines, MeasureReplicas, Uses
from coldspark.config import ServerConfig
from coldspark.doors.aws.cloudwatch.alarm_reasons import explain
from coldspark.node.engine import LocalEngine
from coldspark.node.replica_usage import ReplicaUsage
from coldspark.platform.platform import LocalPlatform
from coldspark.platform.ports import EndpointView
from coldspark.server.composition import ServerStore
from coldspark.server.primary import SharedDependencies
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.metric_service import MetricRetention, MetricService
from coldspark.telemetry.sampler import MetricSampler, variant_contexts

_ASK_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What the doors ask of metrics and alarms."""

    metrics: MetricService
    alarms: AlarmService


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementSources:
    """Where measurements come from."""

    ingest: Callable[[], Awaitable[None]]
    fetch_views: Callable[[], Awaitable[Sequence[EndpointView]]]
    cached_views: Callable[[], Sequence[EndpointView]]
    measure: Callable[[], Awaitable[Sequence[ReplicaUsage]]]


def sources_of(
    store: ServerStore,
    platform: LocalPlatform,
    engine: LocalEngine,
    shared: SharedDependencies | None,
) -> MeasurementSources:
    """Return those of a process that is alone, or of the lead of several."""
    if shared is not None:
        return _shared_sources(store, shared, engine)

    async def see() -> Sequence[EndpointView]:
        return platform.endpoints()

    return MeasurementSources(
        ingest=store.ledger.ingest,
        fetch_views=see,
        cached_views=platform.endpoints,
        measure=engine.measure,
    )


def _shared_sources(
    store: ServerStore, shared: SharedDependencies, engine: LocalEngine
) -> MeasurementSources:
    """Return those of all routers, as the lead asks them."""
    lead = shared.snapshots.primary

    async def absorb() -> None:
        await lead.request_all(IngestLines(), None, _ASK_S)
        await store.ledger.ingest()

    async def see() -> Sequence[EndpointView]:
        await shared.snapshots.refresh()
        return shared.platform.endpoints()

    async def measure() -> Sequence[ReplicaUsage]:
        others: dict[int, Uses] = await lead.request_all(MeasureReplicas(), Uses, _ASK_S)
        return [*await engine.measure(), *(use for uses in others.values() for use in uses)]

    return MeasurementSources(
        ingest=absorb, fetch_views=see, cached_views=shared.platform.endpoints, measure=measure
    )


async def open_telemetry(
    config: ServerConfig, store: ServerStore, sources: MeasurementSources, stack: AsyncExitStack
) -> Telemetry:
    """Measure and watch until the stack is closed."""
    metrics = MetricService(
        store.database,
        wall_ms=clock.wall_ms,
        absorb=sources.ingest,
        standings=lambda: variant_contexts(sources.cached_views()),
        retention=MetricRetention(factor=config.metrics_retention),
    )
    alarms = AlarmService(store.database, metrics, wall_ms=clock.wall_ms, explain=explain)
    sampler = MetricSampler(metrics, sources.fetch_views, sources.measure, clock.wall_ms)
    metrics.open()
    stack.push_async_callback(metrics.close)
    await alarms.open()
    stack.push_async_callback(alarms.close)
    sampler.open()
    stack.push_async_callback(sampler.close)
    return Telemetry(metrics=metrics, alarms=alarms)
