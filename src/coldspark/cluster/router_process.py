"""Start one router process, and leave nothing of it once it has ended."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from coldspark.billing.ledger import LedgerStore
from coldspark.database.data_directory import DataDirectory
from coldspark.node import processes
from coldspark.node.cgroups import detect
from coldspark.node.orphans import reap_orphans

ROUTER_TAG = "COLDSPARK_ROUTER"
"""Environment variable of a router process, in the lead's way to find one it lost."""
_PROGRAM = "coldspark.server.worker_process"


def instance_of(instance: str, router: int) -> str:
    """Return the tag of what a router starts; the primary's is the installation's own."""
    return instance if router == 0 else f"{instance}.r{router}"


def spawn(
    router: str, connection: socket.socket, descriptors: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Start a router process. Call it on the main thread: the router ends with that thread."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _PROGRAM, str(connection.fileno()), str(os.getpid())],
        pass_fds=[connection.fileno(), *descriptors],
        env={**os.environ, ROUTER_TAG: router},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # Ctrl-C at a terminal is the primary's affair, which ends this in its own time.
        process_group=0,
    )


def end(process: subprocess.Popen[bytes], within_s: float) -> None:
    """Wait for a process's end, and kill it when that does not come."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(within_s)
    process.kill()
    process.wait()


def reap(instance: str, router: int, cgroup: str) -> int:
    """Kill what a router that is gone has left running, and itself if it is not; return how many.

    ``cgroup`` is the primary's ``/proc/self/cgroup``, before it moved itself.
    """
    tag = instance_of(instance, router)
    killed = processes.kill_tagged(ROUTER_TAG, tag)
    cgroups = detect(tag, own=cgroup)
    killed += reap_orphans(tag, cgroups)
    cgroups.remove()
    return killed


def recorded_routers(directory: Path) -> list[int]:
    """Return the numbers of all routers that have a folder in a directory."""
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())


_log = logging.getLogger(__name__)


async def clean_up_routers(directory: DataDirectory, ledger: LedgerStore, cgroup: str) -> None:
    """End and ingest what routers left, however many there are now.

    Call it before anything is started, and before the ledgers of earlier runs are closed.
    """
    for router in recorded_routers(directory.routers):
        killed = await asyncio.to_thread(reap, directory.instance_id, router, cgroup)
        if killed:
            _log.info("router %d: %d process(es) of an earlier run ended", router, killed)
        journal = directory.routers / str(router) / "journal"
        await ledger.ingest_part(journal, directory.boot - 1)
