"""Put the rooms together into one running server, and take it apart in good order."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import uvloop

from coldspark import __version__
from coldspark.cluster.primary import Primary
from coldspark.cluster.router_process import clean_up_routers
from coldspark.config import ServerConfig
from coldspark.database.data_directory import DataDirectory
from coldspark.http import server as gateway
from coldspark.http.auth.authenticator import Authenticator
from coldspark.node.cgroups import own_cgroup
from coldspark.node.engine import LocalEngine
from coldspark.objects.weights_eviction import WeightsEvictor
from coldspark.platform import catalogue as catalogues
from coldspark.platform.platform import LocalPlatform
from coldspark.server import primary
from coldspark.server.aws_dependencies import open_aws_dependencies
from coldspark.server.composition import (
    ServerStore,
    close_crashed_boots,
    has_gpus,
    log,
    node_of,
    open_store,
    platform_of,
    services_of,
    template_bytes_max,
)
from coldspark.server.doors import build_context

_COLLECTED_AFTER = (20_000, 20, 50)


def serve(config: ServerConfig) -> None:
    """Run until SIGINT or SIGTERM."""
    set_up_logging(config)
    uvloop.run(_serve(config))


def set_up_logging(config: ServerConfig) -> None:
    """Log to stderr."""
    logging.basicConfig(
        level=config.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    if config.log_level == "info":
        # At its own INFO it tells of every plugin and table, on every start.
        logging.getLogger("alembic").setLevel(logging.WARNING)


async def _serve(config: ServerConfig) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with running(config) as listening:
        tune_garbage_collector()
        print(f"coldspark {__version__} listens on {listening.url}", flush=True)
        await stopped.wait()
        print("coldspark stops: running requests may finish", flush=True)


def tune_garbage_collector() -> None:
    """Leave what was made so far alone, and look for cycles less often: requests make none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)


@asynccontextmanager
async def running(config: ServerConfig) -> AsyncIterator[gateway.Listening]:
    """Run a server while the block runs."""
    async with AsyncExitStack() as stack:
        # Before anything is written: what is not understood must leave no trace.
        catalogue = catalogues.load()
        node = node_of(config, catalogue)
        directory = DataDirectory.open(config.data)
        stack.callback(directory.close)
        cgroup = own_cgroup()
        store = await open_store(config, directory, stack)
        await clean_up_routers(directory, store.ledger, cgroup)
        await close_crashed_boots(store.ledger, config)
        if not config.allow_open:
            gateway.refuse_open_bind(config.host, has_keys=not store.keys.is_empty())
        lead = Primary(config, node, directory, cgroup) if config.routers > 1 else None
        engine = LocalEngine(
            directory.path,
            directory.instance_id,
            environments=store.environments,
            artifacts=store.artifacts,
            has_standbys=config.standby,
            template_bytes_max=template_bytes_max(config, node),
            has_gpus=has_gpus(node),
        )
        part = None if lead is None else primary.primary_dependencies(lead)
        platform = platform_of(config, store, catalogue, node, engine, directory.boot, part)
        engine.listener = platform.controller
        await engine.open()
        # Ended in the reverse order: nothing is started any more, all is killed, then billed.
        stack.callback(platform.controller.settle if lead is None else lead.settle_own)
        stack.push_async_callback(engine.close)
        await platform.open()
        stack.push_async_callback(platform.close)
        _bound_weights(config, store, platform, engine, stack)
        services = services_of(config, store, catalogue, node, engine, platform)
        shared = None
        if lead is not None:
            shared = primary.share_dependencies(
                config, lead, platform, services, store.ledger, catalogue
            )
        rooms = await open_aws_dependencies(
            config, store, directory, platform, engine, shared, stack
        )
        context = build_context(
            platform=platform if shared is None else shared.platform,
            documents=store.documents,
            services=services if shared is None else shared.services,
            authenticator=Authenticator(store.keys, is_key_required=not may_be_open(config)),
            catalogue=catalogue,
            body_bytes_max=config.body_bytes_max,
            is_open=config.allow_open,
            spool_directory=directory.path,
            objects=store.objects,
            metrics=rooms.metrics,
            alarms=rooms.alarms,
            aws_limits=config.aws_limits,
            retry_grace_s=config.retry_grace_s,
            logs=store.logs,
            jobs=rooms.jobs,
            scaling=rooms.scaling,
            images=config.images,
        )
        log.info("node %s: %s", node.node, engine.describe())
        if lead is None or shared is None:
            listening = gateway.serve(
                context, config.host, config.port, grace_s=config.drain_timeout_s
            )
        else:
            stack.push_async_callback(lead.close)
            listening = primary.serve(config, lead, shared, context, platform, store.ledger)
        async with listening as where:
            yield where


def _bound_weights(
    config: ServerConfig,
    store: ServerStore,
    platform: LocalPlatform,
    engine: LocalEngine,
    stack: AsyncExitStack,
) -> None:
    """Keep the models on disk within their bound, where there is one, until the stack is closed."""
    if config.weights_bytes_max is None:
        return
    bound = WeightsEvictor(
        store.artifacts, config.weights_bytes_max, lambda: platform.models() | engine.models()
    )
    bound.open()
    stack.push_async_callback(bound.close)


def may_be_open(config: ServerConfig) -> bool:
    """Return whether callers without a key may be let in."""
    return config.is_loopback or config.allow_open
