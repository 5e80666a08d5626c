"""One router beside the primary: ``python -m coldspark.server.worker_process FD PARENT``.

It is the server's composition around a store, a placement and a clock that are not its own alone.
It ends with the lead, whatever becomes of that: by the kernel's signal, and by the link's end.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from coldspark import clock
from coldspark.billing.ledger import LedgerStore
from coldspark.billing.replica_accounts import ReplicaAccounts
from coldspark.cluster.alarm_cache import AlarmStateCache
from coldspark.cluster.handoff import ConnectionReceiver, Handoff, RoutedConnection
from coldspark.cluster.messages import (
    BodyReleased,
    Drain,
    Message,
    Question,
    Ready,
    Shares,
    Welcome,
)
from coldspark.cluster.metric_forwarder import MetricForwarder
from coldspark.cluster.ownership import owner_of
from coldspark.cluster.placement import RemotePlacement
from coldspark.cluster.rpc import RpcConnection
from coldspark.cluster.worker_rpc import WorkerRpc
from coldspark.database.data_directory import read_master_key
from coldspark.database.database import Database
from coldspark.database.documents import Documents
from coldspark.database.records import StoredEndpoint
from coldspark.fleet.placement import CandidateLookup, SmallestDeviceType
from coldspark.http import server as gateway
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.auth.key_store import KeyStore
from coldspark.http.context import HttpContext
from coldspark.node.cgroups import detect
from coldspark.node.engine import LocalEngine
from coldspark.node.environments import Environments
from coldspark.node.worker.kernel_calls import set_parent_death_signal
from coldspark.objects.artifacts import ArtifactDirectory
from coldspark.objects.local_buckets import LocalBuckets
from coldspark.objects.object_store import ObjectStore
from coldspark.platform import catalogue as catalogues
from coldspark.platform.endpoints_table import Endpoints
from coldspark.server.composition import (
    RouterDependencies,
    ServerStore,
    has_gpus,
    log,
    platform_of,
    services_of,
    template_bytes_max,
)
from coldspark.server.doors import build_context
from coldspark.server.jobs import open_runner, worker_jobs
from coldspark.server.run import may_be_open, set_up_logging, tune_garbage_collector
from coldspark.spec.types import EndpointDefinition, EndpointName


class RouterEndpoints:
    """The endpoints on disk that belong to one router. Implements ``EndpointStore``."""

    def __init__(self, endpoints: Endpoints, router: int, routers: int) -> None:
        self._endpoints = endpoints
        self._router = router
        self._routers = routers

    async def save(self, definition: EndpointDefinition) -> StoredEndpoint:
        """Store or replace an endpoint; durable on return."""
        return await self._endpoints.save(definition)

    async def delete(self, name: EndpointName) -> bool:
        """Delete an endpoint."""
        return await self._endpoints.delete(name)

    async def load(self) -> list[StoredEndpoint]:
        """Return those that are its own."""
        return [
            stored
            for stored in await self._endpoints.load()
            if owner_of(stored.definition.name, self._routers) == self._router
        ]


class _Line:
    """The link, before and after there is somebody to hear it."""

    def __init__(self) -> None:
        self.welcome: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self.drained = asyncio.Event()
        self.alarms = AlarmStateCache()
        self.hear: Callable[[Message], None] | None = None
        self.member: WorkerRpc | None = None
        self.link = RpcConnection(self._hear, self._lost, self._answer)

    def _hear(self, message: Message) -> None:
        if isinstance(message, Welcome):
            self.welcome.set_result(message)
        elif isinstance(message, Drain):
            self.drained.set()
        elif self.alarms.apply(message) or self.member is None:
            return
        else:
            self.member.on_message(message)

    def _lost(self) -> None:
        # Without the lead there is no placement and nobody who would answer for the books: what
        # was answered is in the journal, and what runs ends with its templates' sockets.
        os._exit(1)

    async def _answer(self, question: Question) -> object:
        assert self.member is not None, "asked before it was ready"
        return await self.member.answer(question)


async def _run(end: socket.socket) -> None:
    line = _Line()
    await RpcConnection.connect(end, line.link)
    welcome = await line.welcome
    set_up_logging(welcome.config)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, line.drained.set)
    async with AsyncExitStack() as stack:
        await _open(welcome, line, stack)
        tune_garbage_collector()
        line.link.send(Ready())
        await line.drained.wait()


async def _open(welcome: Welcome, line: _Line, stack: AsyncExitStack) -> None:
    config, node = welcome.config, welcome.node
    catalogue = catalogues.load()
    own = config.data / "routers" / str(welcome.router)
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = await _open_store(welcome, own, line.link, stack)
    engine = LocalEngine(
        own,
        welcome.instance,
        environments=store.environments,
        artifacts=store.artifacts,
        cgroups=detect(welcome.instance, own=welcome.cgroup),
        has_standbys=config.standby,
        template_bytes_max=template_bytes_max(config, node),
        has_gpus=has_gpus(node),
        logs_dir=config.data / "logs",
    )
    part = _part(welcome, line.link)
    platform = platform_of(config, store, catalogue, node, engine, welcome.boot, part)
    engine.listener = platform.controller
    await engine.open()
    metrics = MetricForwarder(line.link.send)
    engine.measure_into(metrics)
    stack.callback(metrics.flush)
    stack.callback(platform.controller.settle)
    stack.push_async_callback(engine.close)
    platform.watch_alarms(line.alarms)
    jobs, runner = worker_jobs(
        config, welcome.router, store, platform, metrics, line.link.send, stack
    )
    services = services_of(config, store, catalogue, node, engine, platform)
    context = build_context(
        platform=platform,
        documents=store.documents,
        services=services,
        authenticator=Authenticator(store.keys, is_key_required=not may_be_open(config)),
        catalogue=catalogue,
        body_bytes_max=config.body_bytes_max,
        is_open=config.allow_open,
        spool_directory=own,
        aws_limits=config.aws_limits,
        retry_grace_s=config.retry_grace_s,
        jobs=jobs,
        images=config.images,
    )
    rooms = platform.controller.placement
    assert isinstance(rooms, RemotePlacement)
    line.member = WorkerRpc(
        platform=platform,
        engine=engine,
        ledger=store.ledger,
        keys=store.keys,
        counters=context.counters,
        placement=rooms,
        alarms=line.alarms,
        metrics=metrics,
        jobs=jobs.runner,
    )
    await platform.open()
    stack.push_async_callback(platform.close)
    await open_runner(runner, stack)
    log.info("router %d: %s", welcome.router, engine.describe())
    await _serve(welcome, context, stack)


async def _serve(welcome: Welcome, context: HttpContext, stack: AsyncExitStack) -> None:
    """Take connections, those of callers and those that other routers hand over."""
    config = welcome.config
    inlets = [socket.socket(fileno=number) for number in welcome.write_ends]
    handoff = Handoff(welcome.router, inlets, context, config.body_bytes_max)
    receiver = ConnectionReceiver(socket.socket(fileno=welcome.read_end), context, handoff)
    await stack.enter_async_context(
        gateway.serve(
            context,
            config.host,
            config.port,
            grace_s=config.drain_timeout_s,
            make=lambda: RoutedConnection(context, handoff),
            listeners=[socket.socket(fileno=number) for number in welcome.listeners],
        )
    )
    receiver.open()
    stack.callback(receiver.close)


async def _open_store(
    welcome: Welcome, own: Path, link: RpcConnection, stack: AsyncExitStack
) -> ServerStore:
    config = welcome.config
    database = await asyncio.to_thread(Database.open, config.data / "coldspark.db")
    stack.callback(database.close)
    ledger = LedgerStore(own / "journal", database, boot=welcome.boot, wall_ms=clock.wall_ms)
    await ledger.open(is_part=True)
    stack.push_async_callback(ledger.close)
    keys = KeyStore(database, read_master_key(config.data), clock.wall_ms)
    await keys.refresh()
    endpoints = Endpoints(database, clock.wall_ms)
    guest = str(welcome.router)
    own_buckets = LocalBuckets(
        database,
        config.data / "buckets",
        clock.wall_ms,
        on_fallen=lambda body: link.send(BodyReleased(body)),
    )
    return ServerStore(
        database=database,
        ledger=ledger,
        endpoints=RouterEndpoints(endpoints, welcome.router, config.routers),
        documents=Documents(database, clock.wall_ms),
        keys=keys,
        artifacts=ArtifactDirectory(
            config.data / "artifacts", s3_options=config.s3.options(), guest=guest, own=own_buckets
        ),
        objects=ObjectStore(own_buckets, config.s3.options()),
        environments=Environments(config.data / "environments"),
    )


def _part(welcome: Welcome, link: RpcConnection) -> RouterDependencies:
    def rooms(advice_of: CandidateLookup, smallest_type: SmallestDeviceType) -> RemotePlacement:
        return RemotePlacement(smallest_type, link.send)

    async def settle() -> None:
        """Leave it to the lead, which asks all at once: then its overhead is right."""

    rate = welcome.config.machine_cost.nanos_per_hour
    return RouterDependencies(
        router=welcome.router,
        placement=rooms,
        accounts=ReplicaAccounts(
            rate, has_overhead=False, on_shares=lambda ppm: link.send(Shares(ppm))
        ),
        settle=settle,
    )


def main(descriptor: int, parent: int) -> None:
    """Serve until the lead says otherwise, or ends."""
    set_parent_death_signal(signal.SIGKILL)
    if os.getppid() != parent:
        # It was gone before the line above.
        raise SystemExit(1)
    uvloop.run(_run(socket.socket(fileno=descriptor)))
    # Asking the link to end in order would only race with the end of the process.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
