"""Metrics and alarms of one server: in the one process, or in the lead of several."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from coldspark import clock
from coldspark.cluster.messages import Absorb, Measure, Uses
from coldspark.config import ServerConfig
from coldspark.node.engine import LocalEngine
from coldspark.node.replica_usage import ReplicaUse
from coldspark.platform.platform import LocalPlatform
from coldspark.platform.ports import EndpointView
from coldspark.server.composition import Store
from coldspark.server.primary import Shared
from coldspark.telemetry.alarm_service import AlarmKeeper
from coldspark.telemetry.metric_service import MetricKeeper, Retention
from coldspark.telemetry.sampler import Sampler, standings_of

_ASK_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """What the doors ask of metrics and alarms."""

    metrics: MetricKeeper
    alarms: AlarmKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where measurements come from."""

    absorb: Callable[[], Awaitable[None]]
    see: Callable[[], Awaitable[Sequence[EndpointView]]]
    last_seen: Callable[[], Sequence[EndpointView]]
    measure: Callable[[], Awaitable[Sequence[ReplicaUse]]]


def sources_of(
    store: Store, platform: LocalPlatform, engine: LocalEngine, shared: Shared | None
) -> Sources:
    """Return those of a process that is alone, or of the lead of several."""
    if shared is not None:
        return _shared_sources(store, shared, engine)

    async def see() -> Sequence[EndpointView]:
        return platform.endpoints()

    return Sources(
        absorb=store.ledger.absorb,
        see=see,
        last_seen=platform.endpoints,
        measure=engine.measure,
    )


def _shared_sources(store: Store, shared: Shared, engine: LocalEngine) -> Sources:
    """Return those of all routers, as the lead asks them."""
    lead = shared.mirror.lead

    async def absorb() -> None:
        await lead.ask_all(Absorb(), None, _ASK_S)
        await store.ledger.absorb()

    async def see() -> Sequence[EndpointView]:
        await shared.mirror.renew()
        return shared.platform.endpoints()

    async def measure() -> Sequence[ReplicaUse]:
        others: dict[int, Uses] = await lead.ask_all(Measure(), Uses, _ASK_S)
        return [*await engine.measure(), *(use for uses in others.values() for use in uses)]

    return Sources(absorb=absorb, see=see, last_seen=shared.platform.endpoints, measure=measure)


async def open_measuring(
    config: ServerConfig, store: Store, sources: Sources, stack: AsyncExitStack
) -> Measuring:
    """Measure and watch until the stack is closed."""
    metrics = MetricKeeper(
        store.database,
        wall_ms=clock.wall_ms,
        absorb=sources.absorb,
        standings=lambda: standings_of(sources.last_seen()),
        retention=Retention(factor=config.metrics_retention),
    )
    alarms = AlarmKeeper(store.database, metrics, wall_ms=clock.wall_ms)
    sampler = Sampler(metrics, sources.see, sources.measure, clock.wall_ms)
    metrics.open()
    stack.push_async_callback(metrics.close)
    await alarms.open()
    stack.push_async_callback(alarms.close)
    sampler.open()
    stack.push_async_callback(sampler.close)
    return Measuring(metrics=metrics, alarms=alarms)
