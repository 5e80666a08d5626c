"""One system under test: started, asked until it answers, ended with all it started."""

import http.client
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Address, call
from benchmarks.peers import coldspark_endpoints, installs, trees
from benchmarks.peers.systems import Launch, Place, Setup, environment
from benchmarks.servers import free_port, until_open

_START_S = 90.0
_POLL_S = 0.01
_TAIL_CHARS = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A running peer."""

    setup: Setup
    place: Place
    address: Address
    leader: "subprocess.Popen[bytes]"
    log: Path
    begun_s: float

    def first_answer_s(self) -> float:
        """Return the seconds from the start to the first good answer. Raises RuntimeError."""
        if self.setup.is_coldspark:
            until_open(self.place.port)
            coldspark_endpoints.put(self.place, may_be_zero=False, batches=self.setup.batches)
        said = "nothing"
        while time.monotonic() < self.begun_s + _START_S:
            with suppress(OSError, http.client.HTTPException):
                status, body = call(self.address)
                if status == 200:
                    return time.monotonic() - self.begun_s
                said = f"{status} {body[:_TAIL_CHARS].decode(errors='replace')}"
            if self.leader.poll() is not None:
                raise RuntimeError(f"ended with {self.leader.returncode}: {self._tail()}")
            time.sleep(_POLL_S)
        raise RuntimeError(f"no answer within {_START_S:.0f} s, but {said}; log: {self._tail()}")

    def be_at_zero(self) -> None:
        """Return when the system is at zero replicas. Raises RuntimeError, TimeoutError."""
        if self.setup.is_coldspark:
            coldspark_endpoints.until_zero(self.place)
            return
        assert self.leader.stdin is not None
        assert self.leader.stdout is not None
        self.leader.stdin.write(b"\n")
        self.leader.stdin.flush()
        said = select.select([self.leader.stdout], [], [], _START_S)[0]
        if not said or b"at zero" not in self.leader.stdout.readline():
            raise RuntimeError(f"it did not go to zero: {self._tail()}")

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-_TAIL_CHARS:]


@contextmanager
def running(
    setup: Setup, launch: Callable[[Place], Launch], worker: str, cores: list[int]
) -> Iterator[System]:
    """Run a system on these cores while the block runs; its output is kept beside its venv."""
    log = installs.BENCH / setup.peer / f"{setup.name}-{worker}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as folder:
        place = Place(worker=worker, port=free_port(), folder=Path(folder))
        if setup.is_coldspark:
            coldspark_endpoints.share_environments(place.folder / "data")
        chosen = launch(place)
        begun_s = time.monotonic()
        leader = _started(chosen, place, cores, log)
        try:
            yield System(
                setup=setup,
                place=place,
                address=Address(port=place.port, path=chosen.path, body=chosen.body),
                leader=leader,
                log=log,
                begun_s=begun_s,
            )
        finally:
            trees.end(leader.pid)


def _started(
    launch: Launch, place: Place, cores: list[int], log: Path
) -> "subprocess.Popen[bytes]":
    pinned = ["taskset", "-c", ",".join(map(str, cores)), *launch.argv]
    with log.open("wb") as errors:
        return subprocess.Popen(
            pinned,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if launch.speaks else errors,
            stderr=errors,
            cwd=place.folder,
            env=environment(place, launch.environment),
            # Ctrl-C is ours: we end it, with all that it started.
            start_new_session=True,
        )


def end_on_signals() -> None:
    """Make the signals that end a program unwind it as Ctrl-C does."""

    def unwind(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, unwind)


def cores() -> tuple[list[int], int]:
    """Return all cores of this process, and the one for the load. Raises SystemExit."""
    mine = sorted(os.sched_getaffinity(0))
    if len(mine) < 2:
        raise SystemExit("two cores are needed: one for the server, one for the load")
    return mine, mine[-1]
