"""The lead among several routers: what it shares with them, and its one port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from coldspark.billing.ledger import LedgerStore
from coldspark.cluster.handoff import ConnectionReceiver, Handoff, RoutedConnection
from coldspark.cluster.ownership import PRIMARY
from coldspark.cluster.primary import Primary
from coldspark.cluster.shared_platform import (
    SharedKeys,
    SharedPlatform,
    SharedUsages,
    SharedWarmth,
    SnapshotCache,
    SnapshotRefreshMiddleware,
)
from coldspark.config import ServerConfig
from coldspark.doors.native.ports import Services
from coldspark.http import server as gateway
from coldspark.http.context import HttpContext
from coldspark.platform.catalogue import Catalogue
from coldspark.platform.platform import LocalPlatform
from coldspark.server.composition import RouterDependencies, billing_of


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedDependencies:
    """What the lead's doors ask, for all routers."""

    snapshots: SnapshotCache
    platform: SharedPlatform
    services: Services


def primary_dependencies(lead: Primary) -> RouterDependencies:
    """Return what is different in the lead."""
    return RouterDependencies(
        router=PRIMARY,
        placement=lead.make_placement,
        accounts=lead.make_accounts(),
        settle=lead.settle,
    )


def share_dependencies(
    config: ServerConfig,
    lead: Primary,
    platform: LocalPlatform,
    services: Services,
    ledger: LedgerStore,
    catalogue: Catalogue,
) -> SharedDependencies:
    """Return the lead's rooms with those of the others behind them."""
    mirror = SnapshotCache(lead)
    usages = SharedUsages(ledger, mirror)
    return SharedDependencies(
        snapshots=mirror,
        platform=SharedPlatform(platform, mirror),
        services=replace(
            services,
            usages=usages,
            keys=SharedKeys(services.keys, lead),
            warmth=SharedWarmth(services.warmth, mirror),
            bill=billing_of(config, usages, lambda: None, catalogue),
        ),
    )


@asynccontextmanager
async def serve(
    config: ServerConfig,
    lead: Primary,
    shared: SharedDependencies,
    context: HttpContext,
    platform: LocalPlatform,
    ledger: LedgerStore,
) -> AsyncIterator[gateway.Listening]:
    """Listen, with all routers, while the block runs."""
    # Invocations that stay here are for endpoints of its own.
    context.platform = platform
    context.app = SnapshotRefreshMiddleware(context.app, shared.snapshots.refresh)
    context.counters.other_processes = shared.snapshots.counters
    inlets = [mailbox.write_end for mailbox in lead.fd_channels]
    handoff = Handoff(PRIMARY, inlets, context, config.body_bytes_max)
    receiver = ConnectionReceiver(lead.fd_channels[PRIMARY].read_end, context, handoff)
    async with gateway.serve(
        context,
        config.host,
        config.port,
        grace_s=config.drain_timeout_s,
        make=lambda: RoutedConnection(context, handoff),
    ) as listening:
        receiver.open()
        try:
            await lead.open(platform.controller, ledger, listening.sockets)
            yield listening
        finally:
            receiver.close()
            lead.drain()
