"""Start one router process, and leave nothing of it once it has ended."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from coldspark.runtime import processes
from coldspark.runtime.cgroups import detect
from coldspark.runtime.leftovers import reap_leftovers

ROUTER_MARK = "COLDSPARK_ROUTER"
"""Environment variable of a router process, in the lead's way to find one it lost."""
_PROGRAM = "coldspark.cli.router"


def instance_of(instance: str, router: int) -> str:
    """Return the mark of what a router starts; the lead's is the installation's own."""
    return instance if router == 0 else f"{instance}.r{router}"


def spawn(router: str, link: socket.socket, kept: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start a router process. Call it on the main thread: the router ends with that thread."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _PROGRAM, str(link.fileno()), str(os.getpid())],
        pass_fds=[link.fileno(), *kept],
        env={**os.environ, ROUTER_MARK: router},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # Ctrl-C at a terminal is the lead's affair, which ends this in its own time.
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

    ``cgroup`` is the lead's ``/proc/self/cgroup``, before it moved itself.
    """
    mark = instance_of(instance, router)
    killed = processes.kill_marked(ROUTER_MARK, mark)
    cgroups = detect(mark, own=cgroup)
    killed += reap_leftovers(mark, cgroups)
    cgroups.remove()
    return killed


def known_routers(directory: Path) -> list[int]:
    """Return the numbers of all routers that ever kept something in a directory."""
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdecimal())
