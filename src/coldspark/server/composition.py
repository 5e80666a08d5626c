"""The rooms of one server process: the whole server's, or one router's among several."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import msgspec

from coldspark import clock
from coldspark.billing.ledger import LedgerStore
from coldspark.billing.replica_accounts import ReplicaAccounts, overhead
from coldspark.billing.service import BillingService, TotalsSource
from coldspark.billing.usage import IdleUsage
from coldspark.cluster.ownership import PRIMARY
from coldspark.config import ServerConfig
from coldspark.database.data_directory import DataDirectory
from coldspark.database.database import Database
from coldspark.database.documents import Documents
from coldspark.doors.aws.sagemaker.capture_lines import CAPTURE_FORMAT
from coldspark.doors.native.ports import BillQuery, Services
from coldspark.errors import InvalidRequest
from coldspark.fleet.driver import PlacementPort
from coldspark.fleet.placement import CandidateLookup, SmallestDeviceType
from coldspark.http.auth.key_store import KeyStore
from coldspark.node import doctor
from coldspark.node.engine import LocalEngine
from coldspark.node.environments import Environments
from coldspark.node.gpu import devices
from coldspark.objects.artifacts import ArtifactDirectory
from coldspark.objects.local_buckets import LocalBuckets
from coldspark.objects.object_store import ObjectStore
from coldspark.platform.capture.capture import CaptureService
from coldspark.platform.capture.spool import CaptureSpool
from coldspark.platform.catalogue import Catalogue
from coldspark.platform.controller import Controller
from coldspark.platform.endpoints_table import Endpoints
from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.platform.platform import EndpointStore, LocalPlatform
from coldspark.spec.messages import NodeJoined
from coldspark.spec.types import NodeId, Revision
from coldspark.telemetry.log_store import LogStore

log = logging.getLogger("coldspark")
_HOUR_MS = 3_600_000


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
    logs: LogStore | None = None
    """None in the routers beside the first: its doors are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterDependencies:
    """What is different where a process is one router among several."""

    router: int
    placement: Callable[[CandidateLookup, SmallestDeviceType], PlacementPort]
    accounts: ReplicaAccounts
    settle: Callable[[], Awaitable[None]]


async def open_store(
    config: ServerConfig, directory: DataDirectory, stack: AsyncExitStack
) -> ServerStore:
    """Open the store of a server."""
    database = await asyncio.to_thread(Database.open, directory.database)
    stack.callback(database.close)
    ledger = LedgerStore(directory.journal, database, boot=directory.boot, wall_ms=clock.wall_ms)
    await ledger.open()
    stack.push_async_callback(ledger.close)
    keys = KeyStore(database, directory.master_key, clock.wall_ms)
    await keys.refresh()
    own_buckets = LocalBuckets(database, directory.buckets, clock.wall_ms)
    await own_buckets.open()
    return ServerStore(
        database=database,
        ledger=ledger,
        endpoints=Endpoints(database, clock.wall_ms),
        documents=Documents(database, clock.wall_ms),
        keys=keys,
        artifacts=ArtifactDirectory(
            directory.artifacts, s3_options=config.s3.options(), own=own_buckets
        ),
        objects=ObjectStore(own_buckets, config.s3.options()),
        environments=Environments(directory.environments),
        logs=LogStore.of(database, directory.logs),
    )


def node_of(config: ServerConfig, catalogue: Catalogue) -> NodeJoined:
    """Describe this machine to placement; simulated devices stand beside real ones."""
    machine = devices.host_capacity()
    found = devices.discover(catalogue)
    try:
        declared = devices.simulated(config.simulate, catalogue)
    except ValueError as error:
        raise InvalidRequest(str(error), field="simulate") from error
    return NodeJoined(
        node=NodeId("local"),
        memory_bytes=config.memory or machine.memory_bytes,
        vcpus=config.vcpus or machine.vcpus,
        devices=found.devices + declared,
    )


async def close_crashed_boots(ledger: LedgerStore, config: ServerConfig) -> None:
    """Give every moment of a run that was killed its line: what no line explains is overhead."""
    for boot in await ledger.crashed():
        covered_ms = boot.last_ms - boot.opened_ms
        bill = config.machine_cost.nanos_per_hour * covered_ms // _HOUR_MS
        line: IdleUsage | None = None
        if covered_ms > 0:
            line = overhead(0, bill - boot.nanos, until_ms=boot.last_ms)
        await ledger.close_crashed(boot, line)
        log.info("run %d had been killed: its books are closed", boot.boot)


def template_bytes_max(config: ServerConfig, node: NodeJoined) -> int:
    """Return what the templates of one process may hold."""
    return (config.template_memory or node.memory_bytes // 4) // config.routers


def has_gpus(node: NodeJoined) -> bool:
    """Return whether there is a device that is no rehearsal."""
    return any(not device.is_simulated for device in node.devices)


def platform_of(
    config: ServerConfig,
    store: ServerStore,
    catalogue: Catalogue,
    node: NodeJoined,
    engine: LocalEngine,
    boot: int,
    part: RouterDependencies | None = None,
) -> LocalPlatform:
    """Return the platform over an engine."""
    known = catalogue.including(node.devices)

    def smallest_type(size_bytes: int) -> str | None:
        found = known.smallest_that_fits(size_bytes)
        return None if found is None else found.name

    def controller(on_rollback: Callable[[HostedFleet, Revision], None]) -> Controller:
        return Controller(
            engine=engine,
            ledger=store.ledger,
            node=node,
            rate_nanos_per_hour=config.machine_cost.nanos_per_hour,
            boot=boot,
            smallest_type=smallest_type,
            on_rollback=on_rollback,
            placement=None
            if part is None
            else lambda advise: part.placement(advise, smallest_type),
            accounts=None if part is None else part.accounts,
        )

    async def prepare(revision: Revision) -> None:
        await engine.prepare(revision.spec, log.info)

    return LocalPlatform(
        controller,
        store.endpoints,
        engine,
        prepare,
        settle=None if part is None else part.settle,
        router=None if part is None else part.router,
        captures=CaptureService(
            store.objects, _spool(config, PRIMARY if part is None else part.router)
        ),
    )


def _spool(config: ServerConfig, router: int) -> CaptureSpool:
    """Return where a router keeps captured lines; the lead takes over what all others left."""
    root = config.data / "captures"
    adopts_from = root if router == PRIMARY else None
    return CaptureSpool(root / str(router), CAPTURE_FORMAT, adopts_from=adopts_from)


def services_of(
    config: ServerConfig,
    store: ServerStore,
    catalogue: Catalogue,
    node: NodeJoined,
    engine: LocalEngine,
    platform: LocalPlatform,
) -> Services:
    """Return what the native API needs besides the platform."""

    async def examine() -> dict[str, object]:
        question = doctor.DoctorOptions(
            data=config.data,
            catalogue=catalogue,
            simulated=tuple(device for device in node.devices if device.is_simulated),
            address=None,
            weights_bytes_max=config.weights_bytes_max,
        )
        report = await asyncio.to_thread(doctor.examine, question)
        return {"status": report.status.value, "checks": msgspec.to_builtins(report.checks)}

    return Services(
        artifacts=store.artifacts,
        usages=store.ledger,
        keys=store.keys,
        logs=engine,
        warmth=engine,
        bill=billing_of(config, store.ledger, platform.controller.settle, catalogue),
        doctor=examine,
    )


def billing_of(
    config: ServerConfig,
    ledger: TotalsSource,
    settle: Callable[[], None],
    catalogue: Catalogue,
) -> Callable[[BillQuery], Awaitable[dict[str, object]]]:
    """Return what prices a stretch of the ledger."""

    def type_of(text: str) -> str | None:
        found = catalogue.gpu(text)
        return None if found is None else found.name

    billing = BillingService(ledger, settle, config.machine_cost.assumption, type_of)

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
