"""Processes that the benchmarks measure: a platform of its own, and pinned helpers beside it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from coldspark.sdk.client import Client

COLDSPARK = os.environ.get("COLDSPARK", str(Path(sys.executable).parent / "coldspark"))
"""Name the compiled tree's (``.compiled/bin/coldspark``) to measure that."""
_STOP_S = 60.0
_OPEN_S = 20.0


@dataclass(frozen=True, slots=True)
class Platform:
    """A running ``coldspark up``."""

    client: Client
    pid: int
    data: Path

    @property
    def port(self) -> int:
        """The port on loopback."""
        return int(self.client.url.rpartition(":")[2])


@contextmanager
def platform(*flags: str, core: int | None = None) -> Iterator[Platform]:
    """Run a platform in a data directory of its own, on one core if one is named."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        argv = [COLDSPARK, "up", "--port", "0", "--data", str(data), "--log-level", "warning"]
        with process([*argv, *flags], core, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            address = server.stdout.readline().decode().split()[-1]
            yield Platform(Client(address), server.pid, data)


@contextmanager
def process(
    argv: Sequence[str], core: int | None = None, stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process while the block runs, on one core if one is named."""
    running = subprocess.Popen(argv, stdout=stdout)
    if core is not None:
        os.sched_setaffinity(running.pid, {core})
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(_STOP_S)


def free_port() -> int:
    """Return a port on loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_open(port: int) -> None:
    """Return when somebody listens at a port. Raises TimeoutError."""

    def is_open() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(is_open, f"port {port} never opened")


def until(is_so: Callable[[], bool], complaint: str, within_s: float = _OPEN_S) -> None:
    """Look again and again. Raises TimeoutError with the complaint."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(0.01)


def cpu_s(pid: int) -> float:
    """Return the processor time that a process (without its children) has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
