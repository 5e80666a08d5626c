"""One process of a server: the parts that all of them have, and the steps that they share.

A server that is alone, the primary of several processes and each worker beside it differ in what
they say before a step (``ProcessIdentity``, ``RouterDependencies``), not in the step.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from coldspark import clock
from coldspark.billing.ledger import LedgerStore
from coldspark.billing.replica_accounts import ReplicaAccounts
from coldspark.billing.service import BillingService, TotalsSource
from coldspark.cluster.handoff import ConnectionReceiver, Handoff, RoutedConnection
from coldspark.cluster.ownership import PRIMARY, owner_of
from coldspark.config import ServerConfig
from coldspark.database.database import Database
from coldspark.database.documents import Documents
from coldspark.database.group_commit import GroupCommit
from coldspark.database.records import StoredEndpoint
from coldspark.doors.aws.sagemaker.capture_lines import CAPTURE_FORMAT
from coldspark.doors.door import DoorDependencies, DoorRegistry
from coldspark.doors.ports import BillQuery, Services
from coldspark.fleet.driver import PlacementPort
from coldspark.fleet.placement import CandidateLookup, SmallestDeviceType
from coldspark.http import server as gateway
from coldspark.http.auth.authentication import Authentication
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.auth.key_store import KeyStore
from coldspark.http.context import HttpContext
from coldspark.http.request_ids import request_ids
from coldspark.jobs.completion import JobCompletion
from coldspark.jobs.jobs_table import Jobs
from coldspark.jobs.messages import JobPolicy
from coldspark.jobs.metrics import JobMetrics
from coldspark.jobs.outbox import WebhookEventTable
from coldspark.jobs.ports import JobsAtWork, WebhookOutbox
from coldspark.jobs.runner import JOBS_MAX, JobRunner
from coldspark.node import doctor
from coldspark.node.cgroups import Cgroups
from coldspark.node.engine import LocalEngine
from coldspark.node.environments import Environments
from coldspark.objects.artifacts import ArtifactDirectory
from coldspark.objects.local_buckets import LocalBuckets
from coldspark.objects.object_store import ObjectStore
from coldspark.platform.capture.capture import CaptureService
from coldspark.platform.capture.spool import CaptureSpool
from coldspark.platform.catalogue import Catalogue
from coldspark.platform.controller import Controller
from coldspark.platform.endpoints_table import Endpoints
from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.platform.metric_ports import Metrics
from coldspark.platform.platform import EndpointStore, LocalPlatform
from coldspark.spec.messages import NodeJoined
from coldspark.spec.types import EndpointDefinition, EndpointName, Revision
from coldspark.telemetry.log_store import LogStore

log = logging.getLogger("coldspark")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """Which process of a server this is, and where its state lies."""

    router: int = PRIMARY
    data: Path
    """The server's data directory."""
    directory: Path
    """What of it is this process's alone: the primary's is the data directory itself."""
    instance: str
    boot: int
    master_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterDependencies:
    """What is different where a process is one router among several."""

    placement: Callable[[CandidateLookup, SmallestDeviceType], PlacementPort]
    accounts: ReplicaAccounts
    settle: Callable[[], Awaitable[None]]
    settle_last: Callable[[], None] | None = None
    """Once nothing runs any more; None: as a process does that is alone."""


class OwnEndpoints:
    """The endpoints on disk that belong to one process. Implements ``EndpointStore``."""

    def __init__(self, endpoints: Endpoints, owns: Callable[[str], bool]) -> None:
        self._endpoints = endpoints
        self._owns = owns

    async def save(self, definition: EndpointDefinition) -> StoredEndpoint:
        """Store or replace an endpoint; durable on return."""
        return await self._endpoints.save(definition)

    async def delete(self, name: EndpointName) -> bool:
        """Delete an endpoint."""
        return await self._endpoints.delete(name)

    async def load(self) -> list[StoredEndpoint]:
        """Return those that are its own."""
        stored = await self._endpoints.load()
        return [one for one in stored if self._owns(one.definition.name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStore:
    """State on disk."""

    database: Database
    ledger: LedgerStore
    endpoints: EndpointStore
    documents: Documents
    keys: KeyStore
    artifacts: ArtifactDirectory
    objects: ObjectStore
    environments: Environments
    logs: LogStore


class ServerProcess:
    """A process with its parts as fields, each there from its step on.

    Used as ``async with``: what was opened is closed in the reverse order, also when a later step
    fails.
    """

    identity: ProcessIdentity
    store: ServerStore
    engine: LocalEngine
    platform: LocalPlatform
    services: Services
    jobs: JobsAtWork
    webhooks: WebhookOutbox
    context: HttpContext
    listening: gateway.Listening

    def __init__(
        self, config: ServerConfig, catalogue: Catalogue, node: NodeJoined, doors: DoorRegistry
    ) -> None:
        self.config = config
        self.catalogue = catalogue
        self.node = node
        self.doors = doors
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open it; on return it takes requests."""
        async with AsyncExitStack() as stack:
            self._stack = stack
            await self._open()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Let running requests finish, and close it."""
        return await self._stack.__aexit__(kind, error, traceback)

    async def _open(self) -> None:
        raise NotImplementedError

    def owns(self, endpoint: str) -> bool:
        """Return whether an endpoint belongs to this process."""
        return owner_of(endpoint, self.config.routers) == self.identity.router

    async def _open_store(self, on_body_released: Callable[[str], None] | None = None) -> None:
        """Open what is on disk. ``on_body_released``: of buckets that another process opened."""
        config, identity, data = self.config, self.identity, self.identity.data
        is_primary = identity.router == PRIMARY
        database = await asyncio.to_thread(Database.open, data / "coldspark.db")
        self._stack.callback(database.close)
        journal = identity.directory / "journal"
        ledger = LedgerStore(journal, database, boot=identity.boot, wall_ms=clock.wall_ms)
        await ledger.open(is_part=not is_primary)
        self._stack.push_async_callback(ledger.close)
        keys = KeyStore(database, identity.master_key, clock.wall_ms)
        await keys.refresh()
        buckets = LocalBuckets(
            database, data / "buckets", clock.wall_ms, on_fallen=on_body_released
        )
        if is_primary:
            await buckets.open()
        self.store = ServerStore(
            database=database,
            ledger=ledger,
            endpoints=OwnEndpoints(Endpoints(database, clock.wall_ms), self.owns),
            documents=Documents(database, clock.wall_ms),
            keys=keys,
            artifacts=ArtifactDirectory(
                data / "artifacts",
                s3_options=config.s3.options(),
                guest=None if is_primary else str(identity.router),
                own=buckets,
            ),
            objects=ObjectStore(buckets, config.s3.options()),
            environments=Environments(data / "environments"),
            logs=LogStore.of(database, data / "logs"),
        )

    async def _open_engine(
        self, routed: RouterDependencies | None, cgroups: Cgroups | None = None
    ) -> None:
        """Put engine and platform together, and open the engine."""
        config, store, identity = self.config, self.store, self.identity
        template_bytes_max = config.template_memory or self.node.memory_bytes // 4
        self.engine = LocalEngine(
            identity.directory,
            identity.instance,
            environments=store.environments,
            artifacts=store.artifacts,
            cgroups=cgroups,
            has_standbys=config.standby,
            template_bytes_max=template_bytes_max // config.routers,
            has_gpus=any(not device.is_simulated for device in self.node.devices),
            logs_dir=identity.data / "logs",
        )
        self.platform = self._new_platform(routed)
        controller = self.platform.controller
        self.engine.listener = controller
        await self.engine.open()
        # Ended in the reverse order: nothing is started any more, all is killed, then billed.
        settle_last = None if routed is None else routed.settle_last
        self._stack.callback(settle_last or controller.settle)
        self._stack.push_async_callback(self.engine.close)
        self.services = self._new_services()

    async def _open_platform(self) -> None:
        """Bring the endpoints back that this process owns."""
        await self.platform.open()
        self._stack.push_async_callback(self.platform.close)

    def _open_webhook_events(self) -> tuple[GroupCommit, WebhookEventTable]:
        group = GroupCommit(self.store.database)
        self._stack.push_async_callback(group.close)
        return group, WebhookEventTable(self.store.database, group)

    def _new_runner(
        self, group: GroupCommit, metrics: Metrics, on_event: Callable[[], None]
    ) -> JobRunner:
        """Return what runs the jobs of this process's endpoints, to be opened."""
        ids, objects, table = request_ids(), self.store.objects, Jobs(self.store.database, group)
        return JobRunner(
            platform=self.platform,
            store=table,
            storage=objects,
            ending=JobCompletion(table, objects, self.doors.jobs, on_event, lambda: next(ids)),
            measures=JobMetrics(metrics),
            ids=ids,
            owns=self.owns,
            policy=JobPolicy(jobs_max=self.config.jobs_max),
            open_max=JOBS_MAX // self.config.routers,
            forgets=self.identity.router == PRIMARY,
        )

    async def _open_runner(self, runner: JobRunner) -> None:
        """Go on with the jobs on disk."""
        await runner.open()
        self._stack.push_async_callback(runner.close)

    def door_dependencies(self) -> DoorDependencies:
        """Return what the doors of this process work on."""
        config, keys = self.config, self.store.keys
        is_key_required = not (config.is_loopback or config.allow_open)
        authenticator = Authenticator(keys, is_key_required=is_key_required)
        return DoorDependencies(
            doors=self.doors,
            config=config,
            platform=self.platform,
            documents=self.store.documents,
            services=self.services,
            catalogue=self.catalogue,
            authentication=Authentication(authenticator, is_open=config.allow_open),
            jobs=self.jobs,
            webhooks=self.webhooks,
        )

    async def _listen(
        self,
        write_ends: Sequence[socket.socket] = (),
        read_end: socket.socket | None = None,
        listeners: Sequence[socket.socket] = (),
    ) -> None:
        """Take connections: those of callers, and at ``read_end`` those that routers hand over."""
        config, context = self.config, self.context
        if read_end is None:
            serving = gateway.serve(
                context, config.host, config.port, grace_s=config.drain_timeout_s
            )
            self.listening = await self._stack.enter_async_context(serving)
            return
        router = self.identity.router
        handoff = Handoff(router, write_ends, context, config.body_bytes_max, self.doors)
        receiver = ConnectionReceiver(read_end, context, handoff)
        serving = gateway.serve(
            context,
            config.host,
            config.port,
            grace_s=config.drain_timeout_s,
            make=lambda: RoutedConnection(context, handoff),
            listeners=listeners,
        )
        self.listening = await self._stack.enter_async_context(serving)
        receiver.open()
        self._stack.callback(receiver.close)

    def _new_platform(self, routed: RouterDependencies | None) -> LocalPlatform:
        engine, store, router = self.engine, self.store, self.identity.router
        known = self.catalogue.including(self.node.devices)

        def smallest_type(size_bytes: int) -> str | None:
            found = known.smallest_that_fits(size_bytes)
            return None if found is None else found.name

        def controller(on_rollback: Callable[[HostedFleet, Revision], None]) -> Controller:
            return Controller(
                engine=engine,
                ledger=store.ledger,
                node=self.node,
                rate_nanos_per_hour=self.config.machine_cost.nanos_per_hour,
                boot=self.identity.boot,
                smallest_type=smallest_type,
                on_rollback=on_rollback,
                placement=None
                if routed is None
                else lambda advise: routed.placement(advise, smallest_type),
                accounts=None if routed is None else routed.accounts,
            )

        async def prepare(revision: Revision) -> None:
            await engine.prepare(revision.spec, log.info)

        # The primary takes over the captured lines that all others left.
        captures = self.config.data / "captures"
        spool = CaptureSpool(
            captures / str(router),
            CAPTURE_FORMAT,
            adopts_from=captures if router == PRIMARY else None,
        )
        return LocalPlatform(
            controller,
            store.endpoints,
            engine,
            prepare,
            settle=None if routed is None else routed.settle,
            router=None if routed is None else router,
            captures=CaptureService(store.objects, spool),
        )

    def _new_services(self) -> Services:
        engine, store = self.engine, self.store

        async def examine() -> dict[str, object]:
            question = doctor.DoctorOptions(
                data=self.config.data,
                catalogue=self.catalogue,
                simulated=tuple(device for device in self.node.devices if device.is_simulated),
                address=None,
                weights_bytes_max=self.config.weights_bytes_max,
            )
            report = await asyncio.to_thread(doctor.examine, question)
            return {"status": report.status.value, "checks": msgspec.to_builtins(report.checks)}

        return Services(
            artifacts=store.artifacts,
            usages=store.ledger,
            keys=store.keys,
            logs=engine,
            warmth=engine,
            bill=self.billing_of(store.ledger, self.platform.controller.settle),
            doctor=examine,
        )

    def billing_of(
        self, ledger: TotalsSource, settle: Callable[[], None]
    ) -> Callable[[BillQuery], Awaitable[dict[str, object]]]:
        """Return what prices a stretch of a ledger."""

        def type_of(text: str) -> str | None:
            found = self.catalogue.gpu(text)
            return None if found is None else found.name

        billing = BillingService(ledger, settle, self.config.machine_cost.assumption, type_of)

        async def bill(asked: BillQuery) -> dict[str, object]:
            priced = await billing.bill(
                asked.endpoint,
                asked.book,
                asked.since_ms,
                asked.until_ms,
                asked.as_gpu,
                asked.memory_bytes,
            )
            plain: dict[str, object] = msgspec.to_builtins(priced)
            return plain

        return bill
