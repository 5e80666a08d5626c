"""A LocalEngine with real templates, small real neighbours, and a listener that can be awaited."""

import asyncio
import contextlib
import itertools
import os
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from coldspark import clock
from coldspark.errors import ArtifactUnavailable, EnvironmentFailed
from coldspark.node.engine import LocalEngine
from coldspark.platform.ports import Invocation, StartOrder
from coldspark.spec.messages import Reservation
from coldspark.spec.types import (
    ArtifactId,
    Command,
    EndpointName,
    Exit,
    Failure,
    FleetId,
    HandlerProgram,
    Limits,
    NodeId,
    ReplicaId,
    RequestId,
    Resources,
    Revision,
    RevisionId,
    ScalePolicy,
    Spec,
)

DEADLINE_S = 20.0
ECHO = """
def model_fn(model_dir):
    return None

def transform_fn(model, data, content_type, accept):
    return data, "application/octet-stream"
"""


SLOW = """
import os, sys, time
def model_fn(d): return None
def transform_fn(model, data, content_type, accept):
    print("began", flush=True)
    if data == b"fork":
        pid = os.fork()
        if pid == 0:
            os.setsid()
            time.sleep(60)
        return str(pid), "text/plain"
    if data == b"hog":
        x = bytearray(600 * 2**20)
    if data == b"exit":
        os._exit(9)
    time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Say whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def until(is_so: Callable[[], bool]) -> None:
    """Look again and again, until something is so."""
    async with asyncio.timeout(DEADLINE_S):
        while not is_so():  # noqa: ASYNC110  nobody tells of it
            await asyncio.sleep(0.01)


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


class Environments:
    """Every environment is the platform's own interpreter; one word in it fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    async def ready(
        self,
        requirements: tuple[str, ...],
        overrides: tuple[str, ...],
        progress: Callable[[str], None],
    ) -> Path:
        self.asked.append(requirements)
        progress(f"resolving {len(requirements)} requirements")
        if "impossible" in requirements:
            raise EnvironmentFailed("no version of impossible fits", log_tail=("uv: no",))
        return Path(sys.executable)


class Artifacts:
    """``file://`` paths and code directories; ``held`` keeps a fetch waiting."""

    def __init__(self, code: Path) -> None:
        self._code = code
        self.held = asyncio.Event()
        self.held.set()
        self.cancelled = asyncio.Event()
        self.downloads = False
        """Whether a fetch has something to tell."""

    async def fetch(self, url: str, progress: Callable[[int, int], None] | None = None) -> Path:
        if self.downloads and progress is not None:
            progress(100, 100)
        try:
            await self.held.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        path = Path(url.removeprefix("file://"))
        if not path.is_dir():  # noqa: ASYNC240  a test's own disk
            raise ArtifactUnavailable(f"{url} does not exist: upload it")
        return path

    def code_dir(self, id: ArtifactId) -> Path:
        return self._code / id


class Listener:
    """Keeps what every replica went through, and wakes who waits for it."""

    def __init__(self) -> None:
        self.heard: dict[ReplicaId, list[str]] = {}
        self.exits: dict[ReplicaId, Exit] = {}
        self.at_s: dict[tuple[ReplicaId, str], float] = {}
        self._changed = asyncio.Event()

    def on_fetched(self, replica: ReplicaId) -> None:
        self._hear(replica, "fetched")

    def on_booted(self, replica: ReplicaId) -> None:
        self._hear(replica, "booted")

    def on_ready(self, replica: ReplicaId) -> None:
        self._hear(replica, "ready")

    def on_parked(self, replica: ReplicaId, device_bytes: int) -> None:
        self._hear(replica, "parked")

    def on_park_failed(self, replica: ReplicaId, reason: str) -> None:
        self._hear(replica, f"park failed: {reason}")

    def on_exited(self, replica: ReplicaId, exit: Exit) -> None:
        assert replica not in self.exits, "on_exited came twice"
        self.exits[replica] = exit
        self._hear(replica, "exited")

    def _hear(self, replica: ReplicaId, word: str) -> None:
        assert word == "exited" or replica not in self.exits, f"{word} after on_exited"
        self.heard.setdefault(replica, []).append(word)
        self.at_s[replica, word] = clock.monotonic_s()
        self._changed.set()

    async def wait_for(self, replica: ReplicaId, word: str) -> None:
        """Wait until the replica was heard to say it; its end ends the wait too."""
        async with asyncio.timeout(DEADLINE_S):
            while not {word, "exited"} & set(self.heard.get(replica, [])):
                self._changed.clear()
                await self._changed.wait()


class Answers:
    """A ReplySink whose end can be awaited."""

    def __init__(self, listener: Listener, replica: ReplicaId) -> None:
        self._listener = listener
        self._replica = replica
        self.status: int | None = None
        self.body = b""
        self.failure: Failure | None = None
        self.handler_us: int | None = None
        self.waited_us = 0
        self.begun = asyncio.Event()
        self.over = asyncio.Event()

    def on_waited(self, waited_us: int) -> None:
        self.waited_us = waited_us

    def on_reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, handler_us: int | None
    ) -> None:
        self.status, self.body, self.handler_us = status, body, handler_us
        self._end()

    def on_head(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        self.status = status

    def on_chunk(self, chunk: bytes) -> None:
        self.body += chunk
        self.begun.set()

    def on_end(self, handler_us: int | None) -> None:
        self.handler_us = handler_us
        self._end()

    def on_failure(self, failure: Failure) -> None:
        self.failure = failure
        self._end()

    def _end(self) -> None:
        assert not self.over.is_set(), "a call ended twice"
        assert self._replica not in self._listener.exits, "a sink was called after on_exited"
        self.over.set()

    async def ended(self) -> "Answers":
        async with asyncio.timeout(DEADLINE_S):
            await self.over.wait()
        return self


class Rig:
    """The engine, and short words for what tests do with it."""

    def __init__(self, directory: Path, instance: str | None = None, **options: float) -> None:
        self.directory = directory
        self.listener = Listener()
        self.environments = Environments()
        self.artifacts = Artifacts(directory / "code")
        self.engine = LocalEngine(
            directory / "data",
            instance or f"test-{uuid.uuid4().hex[:12]}",
            environments=self.environments,
            artifacts=self.artifacts,
            listener=self.listener,
            **options,  # type: ignore[arg-type]
        )
        self._numbers = itertools.count(1)

    def model(self, name: str, files: dict[str, str]) -> str:
        """Write a model archive's directory; return its url."""
        for path, text in files.items():
            file = self.directory / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            # Written anew, it would be another program, with another template.
            if not file.exists() or file.read_text() != text:
                file.write_text(text)
        return f"file://{self.directory / name}"

    def handler(self, text: str, name: str = "model", **options: object) -> ReplicaId:
        """Start a replica of a handler."""
        return self.start(self.handler_spec(text, name, **options))

    def handler_spec(self, text: str, name: str = "model", **options: object) -> Spec:
        """Return the spec of a handler in a model archive."""
        return spec(
            handler=HandlerProgram(), model=self.model(name, {"code/inference.py": text}), **options
        )

    def command(self, text: str, name: str = "model", **options: object) -> ReplicaId:
        """Start a replica of a Python script that serves HTTP."""
        url = self.model(name, {"code/serve.py": text})
        return self.start(spec(command=Command(argv=("python", "serve.py")), model=url, **options))

    def start(self, what: Spec, grant: Reservation | None = None) -> ReplicaId:
        """Start a replica of a spec."""
        replica = ReplicaId(f"r{next(self._numbers)}")
        self.engine.start(
            StartOrder(
                replica=replica,
                fleet=FleetId("echo/main"),
                revision=Revision(id=RevisionId("0" * 16), spec=what),
                grant=grant or Reservation(replica=replica, node=NodeId("here")),
                environment={"COLDSPARK_ENDPOINT": "echo"},
            )
        )
        return replica

    async def ready(self, replica: ReplicaId) -> ReplicaId:
        """Wait until a replica is ready; fail with its exit if it is not."""
        await self.listener.wait_for(replica, "ready")
        assert replica not in self.listener.exits, self.listener.exits[replica]
        return replica

    async def exited(self, replica: ReplicaId) -> Exit:
        """Wait for a replica's end."""
        await self.listener.wait_for(replica, "exited")
        return self.listener.exits[replica]

    def call(self, replica: ReplicaId, body: bytes = b"", path: str | None = None) -> Answers:
        """Send a call."""
        sink = Answers(self.listener, replica)
        invocation = Invocation(
            endpoint=EndpointName("echo"),
            request=RequestId(f"q{next(self._numbers)}"),
            body=body,
            path=path,
            content_type="application/octet-stream",
            started_s=clock.monotonic_s(),
        )
        sink.request = invocation.request  # type: ignore[attr-defined]
        sink.flow = self.engine.call(replica, invocation, 1e9, sink)  # type: ignore[attr-defined]
        return sink

    async def printed(self, replica: ReplicaId, text: str) -> None:
        """Wait until a replica has printed a line."""
        come = asyncio.Event()
        follower = self.engine.follow(EndpointName("echo"), come.set)
        async with asyncio.timeout(DEADLINE_S):
            while text not in self.engine.log_tail(replica, 200):
                await come.wait()
                come.clear()
                follower.take()
        self.engine.unfollow(EndpointName("echo"), follower)

    def pid(self, replica: ReplicaId) -> int:
        """Return the process id of a living replica."""
        pid = self.engine.pid(replica)
        assert pid is not None
        return pid


def spec(
    *,
    handler: HandlerProgram | None = None,
    command: Command | None = None,
    model: str | None = None,
    concurrency: int = 1,
    memory_bytes: int = 2**30,
    environment: tuple[tuple[str, str], ...] = (),
    log_bytes_max: int = 2**20,
    **nothing: object,
) -> Spec:
    """Return a spec with the few numbers that tests vary."""
    assert not nothing
    return Spec(
        handler=handler,
        command=command,
        model=model,
        environment=environment,
        resources=Resources(memory_bytes=memory_bytes),
        scale=ScalePolicy(concurrency=concurrency),
        limits=Limits(log_bytes_max=log_bytes_max),
    )


@contextlib.asynccontextmanager
async def opened(rig: Rig) -> AsyncIterator[Rig]:
    """Open and close the rig's engine."""
    await rig.engine.open()
    try:
        yield rig
    finally:
        await rig.engine.close()


def play(directory: Path, scenario: Callable[[Rig], Awaitable[None]], **options: float) -> None:
    """Run a scenario against an engine of its own, with a deadline."""

    async def run() -> None:
        async with asyncio.timeout(60), opened(Rig(directory, **options)) as rig:
            await scenario(rig)

    asyncio.run(run())
