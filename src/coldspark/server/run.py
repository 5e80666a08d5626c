"""Run a server in the foreground: logging, signals, and the garbage collector's settings."""

import asyncio
import gc
import logging
import signal
import sys

import uvloop

from coldspark import __version__
from coldspark.config import ServerConfig
from coldspark.server.server import Server

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
    async with Server(config) as server:
        tune_garbage_collector()
        print(f"coldspark {__version__} listens on {server.listening.url}", flush=True)
        await stopped.wait()
        print("coldspark stops: running requests may finish", flush=True)


def tune_garbage_collector() -> None:
    """Leave what was made so far alone, and look for cycles less often: requests make none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)
