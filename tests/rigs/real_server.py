"""A real server process on a data directory, and what of it runs on this machine."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from coldspark.sdk.client import Client

COLDSPARK = str(Path(sys.executable).parent / "coldspark")
DEADLINE_S = 30.0
POLL_S = 0.02


class Server:
    """A server process on a data directory, which outlives it."""

    def __init__(
        self,
        data: Path,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        stderr: IO[str] | None = None,
    ) -> None:
        words = [COLDSPARK, "up", "--port", "0", "--data", str(data), "--log-level", "warning"]
        self.data = data
        self.process = subprocess.Popen(
            [*words, *flags],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | (environment or {}),
        )
        assert self.process.stdout is not None
        self.client = Client(self.process.stdout.readline().split()[-1])

    @property
    def url(self) -> str:
        """Return where it listens."""
        return self.client.url

    def stop(self) -> None:
        """End it as Ctrl-C does: nothing of it may be left."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0
        assert self.marked() == {}
        assert self.routers() == {}

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait(60)

    def replicas(self, name: str) -> int:
        """Return how many replicas an endpoint has."""
        variants = self.client.endpoint(name)["variants"]
        return sum(len(variant["replicas"]) for variant in variants)

    def marked(self) -> dict[int, str]:
        """Return every process that this installation started, with its replica's mark.

        A template, from which replicas are forked, belongs to none: its mark is all ``-``.
        """
        instance = (self.data / "instance").read_text().strip()
        found = {}
        for pid in [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]:
            variables = _environment(pid)
            # What a router beside the first starts has a mark of its own: "….r1".
            if _value(variables, b"COLDSPARK_INSTANCE=").partition(".")[0] == instance:
                found[pid] = _value(variables, b"COLDSPARK_REPLICA=")
        return found

    def started_by(self, router: int) -> list[int]:
        """Return the processes that a router beside the first started."""
        mark = f"COLDSPARK_INSTANCE={(self.data / 'instance').read_text().strip()}.r{router}"
        return [pid for pid in self.marked() if mark.encode() in _environment(pid)]

    def routers(self) -> dict[int, int]:
        """Return the pid of every router process beside the first, by number."""
        mine = (self.data / "instance").read_text().strip() + ".r"
        marks = {
            pid: _value(_environment(pid), b"COLDSPARK_ROUTER=")
            for pid in [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]
        }
        found = {pid: mark for pid, mark in marks.items() if mark.startswith(mine)}
        # The process that absorbs for a router carries the router's variables.
        return {
            int(mark.removeprefix(mine)): pid
            for pid, mark in found.items()
            if b"coldspark.server.worker_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
        }

    def replica_processes(self) -> list[int]:
        """Return the processes that run for some replica."""
        return [pid for pid, mark in self.marked().items() if mark.strip("-")]


def until(is_so: Callable[[], bool], what: str) -> None:
    """Poll until something is so. Raises TimeoutError with the words for it."""
    pause = threading.Event()
    end_s = time.monotonic() + DEADLINE_S
    while not is_so():
        if time.monotonic() > end_s:
            raise TimeoutError(f"within {DEADLINE_S:g} s it was not so that {what}")
        pause.wait(POLL_S)


def is_running(pid: int) -> bool:
    """Return whether a process runs. A zombie, which only waits to be reaped, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _environment(pid: int) -> list[bytes]:
    """Return a process's variables; none of one that has ended or belongs to another."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _value(variables: list[bytes], prefix: bytes) -> str:
    values = [each.removeprefix(prefix) for each in variables if each.startswith(prefix)]
    return values[0].decode() if values else ""
