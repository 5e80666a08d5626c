"""The lead among several routers: what it shares with them, and its one port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from coldspark.billing.ledger import LedgerKeeper
from coldspark.cluster.handoff import Handoff, Receiver, RoutedConnection
from coldspark.cluster.ownership import LEAD
from coldspark.cluster.primary import Lead
from coldspark.cluster.shared_platform import (
    Mirror,
    Renewing,
    SharedKeys,
    SharedPlatform,
    SharedUsages,
    SharedWarmth,
)
from coldspark.config import ServerConfig
from coldspark.doors.native.ports import Services
from coldspark.http import server as gateway
from coldspark.http.context import Context
from coldspark.platform.catalogue import Catalogue
from coldspark.platform.platform import LocalPlatform
from coldspark.server.composition import Part, billing_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What the lead's doors ask, for all routers."""

    mirror: Mirror
    platform: SharedPlatform
    services: Services


def part(lead: Lead) -> Part:
    """Return what is different in the lead."""
    return Part(router=LEAD, rooms=lead.rooms, accounts=lead.accounts(), settle=lead.settle)


def share(
    config: ServerConfig,
    lead: Lead,
    platform: LocalPlatform,
    services: Services,
    ledger: LedgerKeeper,
    catalogue: Catalogue,
) -> Shared:
    """Return the lead's rooms with those of the others behind them."""
    mirror = Mirror(lead)
    usages = SharedUsages(ledger, mirror)
    return Shared(
        mirror=mirror,
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
    lead: Lead,
    shared: Shared,
    context: Context,
    platform: LocalPlatform,
    ledger: LedgerKeeper,
) -> AsyncIterator[gateway.Listening]:
    """Listen, with all routers, while the block runs."""
    # Invocations that stay here are for endpoints of its own.
    context.platform = platform
    context.app = Renewing(context.app, shared.mirror.renew)
    context.tally.others = shared.mirror.tallies
    inlets = [mailbox.inlet for mailbox in lead.mailboxes]
    handoff = Handoff(LEAD, inlets, context, config.body_bytes_max)
    receiver = Receiver(lead.mailboxes[LEAD].outlet, context, handoff)
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
