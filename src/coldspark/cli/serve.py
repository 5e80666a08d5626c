"""Put the rooms together into one running server, and take it apart in good order."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import msgspec
import uvloop

from coldspark import __version__
from coldspark.config import ServerConfig
from coldspark.core.messages import NodeJoined
from coldspark.core.metering import Holding
from coldspark.core.types import NodeId, Revision
from coldspark.engines.local import LocalEngine
from coldspark.errors import InvalidRequest
from coldspark.gateway import server as gateway
from coldspark.gateway.auth.authenticator import Authenticator
from coldspark.gateway.native.services import BillQuestion, Services
from coldspark.gateway.wiring import build_context
from coldspark.runtime import catalogue as catalogues
from coldspark.runtime import clock, devices, doctor
from coldspark.runtime.accounts import overhead
from coldspark.runtime.billing import Billing
from coldspark.runtime.catalogue import Catalogue
from coldspark.runtime.cells import Cell
from coldspark.runtime.controller import Controller
from coldspark.runtime.environments import Environments
from coldspark.runtime.platform import LocalPlatform
from coldspark.store.artifacts import Artifacts
from coldspark.store.database import Database
from coldspark.store.directory import DataDirectory
from coldspark.store.documents import Documents
from coldspark.store.endpoints import Endpoints
from coldspark.store.keys import Keys
from coldspark.store.ledger import LedgerKeeper

_log = logging.getLogger("coldspark")
_HOUR_MS = 3_600_000
_COLLECTED_AFTER = (20_000, 20, 50)


def serve(config: ServerConfig) -> None:
    """Run until SIGINT or SIGTERM."""
    logging.basicConfig(
        level=config.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if config.log_level == "info":
        # At its own INFO it tells of every plugin and table, on every start.
        logging.getLogger("alembic").setLevel(logging.WARNING)
    uvloop.run(_serve(config))


async def _serve(config: ServerConfig) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with running(config) as listening:
        _calm_the_collector()
        print(f"coldspark {__version__} listens on {listening.url}", flush=True)
        await stopped.wait()
        print("coldspark stops: running requests may finish", flush=True)


def _calm_the_collector() -> None:
    """Leave what was made so far alone, and look for cycles less often: requests make none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    directory: DataDirectory
    ledger: LedgerKeeper
    endpoints: Endpoints
    documents: Documents
    keys: Keys
    artifacts: Artifacts
    environments: Environments


@asynccontextmanager
async def running(config: ServerConfig) -> AsyncIterator[gateway.Listening]:
    """Run a server while the block runs."""
    async with AsyncExitStack() as stack:
        # Before anything is written: what is not understood must leave no trace.
        catalogue = catalogues.load()
        node = _node(config, catalogue)
        store = await _open_store(config, stack)
        await _close_crashed_boots(store, config)
        if not config.allow_open:
            gateway.refuse_open_bind(config.host, has_keys=not store.keys.is_empty())
        engine = LocalEngine(
            store.directory.path,
            store.directory.instance_id,
            environments=store.environments,
            artifacts=store.artifacts,
            template_bytes_max=config.template_memory or node.memory_bytes // 4,
            has_gpus=any(not device.is_simulated for device in node.devices),
        )
        platform = _platform(config, store, catalogue, node, engine)
        engine.listener = platform.controller
        await engine.open()
        # Ended in the reverse order: nothing is started any more, all is killed, then billed.
        stack.callback(platform.controller.settle)
        stack.push_async_callback(engine.close)
        await platform.open()
        stack.push_async_callback(platform.close)
        services = _services(config, store, catalogue, node, engine, platform)
        context = build_context(
            platform=platform,
            documents=store.documents,
            services=services,
            authenticator=Authenticator(store.keys, is_key_required=not _may_be_open(config)),
            catalogue=catalogue,
            body_bytes_max=config.body_bytes_max,
            is_open=config.allow_open,
        )
        _log.info("node %s: %s", node.node, engine.describe())
        async with gateway.serve(
            context, config.host, config.port, grace_s=config.drain_timeout_s
        ) as listening:
            yield listening


def _may_be_open(config: ServerConfig) -> bool:
    return config.is_loopback or config.allow_open


async def _open_store(config: ServerConfig, stack: AsyncExitStack) -> _Store:
    directory = DataDirectory.open(config.data)
    stack.callback(directory.close)
    database = await asyncio.to_thread(Database.open, directory.database)
    stack.callback(database.close)
    ledger = LedgerKeeper(directory.journal, database, boot=directory.boot, wall_ms=clock.wall_ms)
    await ledger.open()
    stack.push_async_callback(ledger.close)
    keys = Keys(database, directory.master_key, clock.wall_ms)
    await keys.refresh()
    return _Store(
        directory=directory,
        ledger=ledger,
        endpoints=Endpoints(database, clock.wall_ms),
        documents=Documents(database, clock.wall_ms),
        keys=keys,
        artifacts=Artifacts(directory.artifacts, s3_options=config.s3.options()),
        environments=Environments(directory.environments),
    )


def _node(config: ServerConfig, catalogue: Catalogue) -> NodeJoined:
    """Describe this machine to placement; simulated devices stand beside real ones."""
    machine = devices.machine()
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


async def _close_crashed_boots(store: _Store, config: ServerConfig) -> None:
    """Give every moment of a run that was killed its line: what no line explains is overhead."""
    for boot in await store.ledger.crashed():
        covered_ms = boot.last_ms - boot.opened_ms
        bill = config.machine_cost.nanos_per_hour * covered_ms // _HOUR_MS
        line: Holding | None = None
        if covered_ms > 0:
            line = overhead(0, bill - boot.nanos, until_ms=boot.last_ms)
        await store.ledger.close_crashed(boot, line)
        _log.info("run %d had been killed: its books are closed", boot.boot)


def _platform(
    config: ServerConfig,
    store: _Store,
    catalogue: Catalogue,
    node: NodeJoined,
    engine: LocalEngine,
) -> LocalPlatform:
    known = catalogue.including(node.devices)

    def smallest_type(size_bytes: int) -> str | None:
        found = known.smallest_that_fits(size_bytes)
        return None if found is None else found.name

    def controller(on_rollback: Callable[[Cell, Revision], None]) -> Controller:
        return Controller(
            engine=engine,
            ledger=store.ledger,
            node=node,
            rate_nanos_per_hour=config.machine_cost.nanos_per_hour,
            boot=store.directory.boot,
            smallest_type=smallest_type,
            on_rollback=on_rollback,
        )

    async def prepare(revision: Revision) -> None:
        await engine.prepare(revision.spec, _log.info)

    return LocalPlatform(controller, store.endpoints, engine, prepare)


def _services(
    config: ServerConfig,
    store: _Store,
    catalogue: Catalogue,
    node: NodeJoined,
    engine: LocalEngine,
    platform: LocalPlatform,
) -> Services:
    def type_of(text: str) -> str | None:
        found = catalogue.gpu(text)
        return None if found is None else found.name

    billing = Billing(
        store.ledger, platform.controller.settle, config.machine_cost.assumption, type_of
    )

    async def bill(asked: BillQuestion) -> dict[str, object]:
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

    async def examine() -> dict[str, object]:
        question = doctor.Question(
            data=config.data,
            catalogue=catalogue,
            simulated=tuple(device for device in node.devices if device.is_simulated),
            address=None,
        )
        report = await asyncio.to_thread(doctor.examine, question)
        return {"status": report.status.value, "checks": msgspec.to_builtins(report.checks)}

    return Services(
        artifacts=store.artifacts,
        usages=store.ledger,
        keys=store.keys,
        logs=engine,
        warmth=engine,
        bill=bill,
        doctor=examine,
    )
