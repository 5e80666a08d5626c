"""Run replicas on this machine: the engine behind one data directory.

Wiring::

    engine = LocalEngine(data_dir, instance, environments=…, artifacts=…)
    engine.listener = controller
    await engine.open()          # on the main thread: takes the lock, reaps leftovers
    …
    await engine.close()         # kills everything; every replica still ends in one on_exited

Everything but ``open`` and ``close`` returns at once and is called on the event loop's thread.
"""

import asyncio
import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from coldspark.errors import Conflict, StartFailed
from coldspark.node import processes, replica_usage
from coldspark.node.cgroups import Cgroups, detect
from coldspark.node.gpu.gpu_parking import GpuTools
from coldspark.node.launch_plan import LaunchPlan, NodeContext
from coldspark.node.launch_resolver import (
    ArtifactStore,
    EnvironmentBuilder,
    LaunchResolver,
    Progress,
    template_key,
)
from coldspark.node.local_cache import LocalCache
from coldspark.node.logs.replica_logs import LogFollower, ReplicaLog, ReplicaLogs
from coldspark.node.orphans import reap_orphans
from coldspark.node.replica import ReplicaProcess
from coldspark.node.replica_usage import ReplicaUsage
from coldspark.node.sandbox.scratch import ScratchDirectories
from coldspark.node.templates.learned_imports import LearnedImportStore
from coldspark.node.templates.pool import (
    IDLE_TIMEOUT_S,
    MEMORY_BYTES_MAX,
    TEMPLATES_MAX,
    TemplatePool,
)
from coldspark.node.warmth import CachedFiles, NextStart, PoolView, StartView, WakeLevel
from coldspark.node.worker.process_tag import ID_BYTES_MAX
from coldspark.platform.metric_ports import Metrics
from coldspark.platform.ports import (
    EngineListener,
    Flow,
    Invocation,
    LogLine,
    ReplySink,
    StartOrder,
)
from coldspark.spec.messages import Reservation
from coldspark.spec.types import EndpointName, ReplicaId, RequestId, Revision, Spec
from coldspark.tasks import Tasks

_CLOSE_WITHIN_S = 10.0
_RETIRE_DELAY_S = 0.5

__all__ = ["ArtifactStore", "EnvironmentBuilder", "LocalEngine"]


class _NoFlow:
    """The flow of a call that is void."""

    def pause(self) -> None:
        """Nothing is sent."""

    def resume(self) -> None:
        """Nothing was paused."""


class LocalEngine:
    """This machine as an ``Engine``."""

    def __init__(
        self,
        data_dir: Path,
        instance: str,
        *,
        environments: EnvironmentBuilder,
        artifacts: ArtifactStore,
        listener: EngineListener | None = None,
        cgroups: Cgroups | None = None,
        templates_max: int = TEMPLATES_MAX,
        template_idle_s: float = IDLE_TIMEOUT_S,
        template_bytes_max: int = MEMORY_BYTES_MAX,
        has_standbys: bool = True,
        has_gpus: bool = False,
        gpu_tools: GpuTools | None = None,
        logs_dir: Path | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Take the neighbours. ``instance`` names the installation: the same after a restart."""
        self.listener = listener
        self._directory = data_dir.absolute()
        self._instance = instance
        self._cgroups = cgroups
        self._templates_max = templates_max
        self._template_idle_s = template_idle_s
        self._template_bytes_max = template_bytes_max
        self._has_standbys = has_standbys
        self._has_gpus = has_gpus
        self._gpu_tools = gpu_tools or GpuTools()
        self._artifacts = artifacts
        self._metrics = metrics
        self._resolver = LaunchResolver(
            environments=environments, artifacts=artifacts, instance=instance
        )
        self._shelf = LocalCache()
        self._logs = ReplicaLogs(logs_dir or self._directory / "logs")
        self._tasks = Tasks()
        self._replicas: dict[ReplicaId, ReplicaProcess] = {}
        self._all_gone = asyncio.Event()
        self._machine: NodeContext | None = None
        self._lock: int | None = None
        self._retiring: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Lock the data directory and end what an earlier run left. Raises Conflict."""
        assert self.listener is not None, "set listener before open()"
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._directory / "engine.lock")
        if self._cgroups is None:
            self._cgroups = detect(self._instance)
        await asyncio.to_thread(reap_orphans, self._instance, self._cgroups)
        scratch = self._directory / "replicas"
        await asyncio.to_thread(shutil.rmtree, scratch, True)
        self._machine = NodeContext(
            pool=self._new_pool(),
            cgroups=self._cgroups,
            scratch_directories=ScratchDirectories(scratch),
            tasks=self._tasks,
            listener=self.listener,
            gpu_tools=self._gpu_tools,
            fetch=self._artifacts.fetch,
            metrics=self._metrics,
        )

    def measure_into(self, metrics: Metrics) -> None:
        """Let the models of replicas that have many be measured, of those started from here on."""
        assert self._machine is not None, "the engine is not open"
        self._metrics = metrics
        self._machine = replace(self._machine, metrics=metrics)

    def _new_pool(self) -> TemplatePool:
        environment = {
            **processes.clean_environment(),
            processes.INSTANCE_TAG: self._instance,
            # Room for the mark, so that the template need not execute itself again to get it.
            processes.REPLICA_TAG: "-" * ID_BYTES_MAX,
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            # torch.cuda.is_available() in a template then asks NVML and makes no CUDA context.
            "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
        }
        assert self._cgroups is not None
        return TemplatePool(
            environment,
            self._cgroups,
            self._tasks,
            templates_max=self._templates_max,
            idle_timeout_s=self._template_idle_s,
            memory_bytes_max=self._template_bytes_max,
            learning=LearnedImportStore(self._directory / "learned"),
            has_standbys=self._has_standbys,
        )

    async def close(self) -> None:
        """Kill everything and wait for its end; every replica is reported. Idempotent."""
        if self._machine is None:
            return
        machine, self._machine = self._machine, None
        for replica in list(self._replicas.values()):
            replica.stop(0)
        await self._wait_until_all_gone()
        await machine.pool.close()
        await self._wait_until_all_gone()
        await self._tasks.drain(_CLOSE_WITHIN_S)
        await self._tasks.close(_CLOSE_WITHIN_S)
        if self._retiring is not None:
            self._retiring.cancel()
        await asyncio.to_thread(reap_orphans, self._instance, machine.cgroups)
        machine.cgroups.remove()
        await asyncio.to_thread(machine.scratch_directories.close)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _wait_until_all_gone(self) -> None:
        if self._replicas:
            self._all_gone.clear()
            try:
                async with asyncio.timeout(_CLOSE_WITHIN_S):
                    await self._all_gone.wait()
            except TimeoutError:
                # Its template hangs; the pool's close ends both.
                pass

    async def prepare(self, spec: Spec, progress: Progress) -> None:
        """Bring here what a spec needs, and have its template ready, ahead of its first start.

        Raises ArtifactUnavailable, EnvironmentFailed, InvalidRequest and StartFailed.
        """
        files = await self._resolver.gather(spec, progress)
        key = template_key(spec, files, on_gpu=self._has_gpus and bool(spec.resources.gpus))
        self._shelf.put(spec, files, key)
        if self._machine is None:
            return
        template = self._machine.pool.warm(key)
        if template is None:
            return
        await template.settled.wait()
        if template.failure is not None and not template.is_dropped:
            raise StartFailed(template.failure.message, log_tail=template.failure.log_tail)

    def start(self, order: StartOrder) -> None:
        """Begin to start a replica; the listener hears what comes of it."""
        assert self._machine is not None, "the engine is not open"
        assert order.replica not in self._replicas
        spec = order.revision.spec
        log = self._logs.open(order.replica, order.fleet, spec.limits.log_bytes_max)
        self._begin(order, log, self._machine)

    def _begin(self, order: StartOrder, log: ReplicaLog, machine: NodeContext) -> None:
        scratch = machine.scratch_directories.acquire()
        replica = ReplicaProcess(order, machine, log, scratch, self._gone)
        self._replicas[order.replica] = replica
        replica.start(self._resolve(order, scratch, log.append))

    async def _resolve(self, order: StartOrder, scratch: Path, progress: Progress) -> LaunchPlan:
        machine = self._machine
        assert machine is not None, "the engine is not open"
        return await self._shelf.record_resolve(
            machine.pool.starts,
            order,
            lambda heard: self._resolver.resolve(order, scratch, heard),
            progress,
        )

    def stop(self, replica: ReplicaId, grace_s: float) -> None:
        """End a replica: SIGTERM, SIGKILL after ``grace_s`` (0: at once). Idempotent."""
        if (living := self._replicas.get(replica)) is not None:
            living.stop(grace_s)

    @property
    def parking(self) -> "LocalEngine":
        """Return itself: it freezes replicas."""
        return self

    def park(self, replica: ReplicaId) -> None:
        """Freeze a ready replica that works on nothing; the listener hears what comes of it."""
        if (living := self._replicas.get(replica)) is not None:
            living.park()

    def unpark(self, replica: ReplicaId, grant: Reservation | None = None) -> None:
        """Let a parked replica run again in its new room (None: as before); ``on_ready`` follows.

        A process cannot change its devices: with others it is started anew, which takes longer.
        """
        if (living := self._replicas.get(replica)) is not None:
            assert self._machine is not None, "the engine is not open"
            # With other devices it is started anew, and what is noted of that replaces this.
            self._machine.pool.starts.unparked(replica)
            living.unpark(grant)

    def call(
        self, replica: ReplicaId, invocation: Invocation, deadline_s: float, sink: ReplySink
    ) -> Flow:
        """Send a request to a ready replica.

        The deadline is the controller's to watch. A call to a replica whose end was told already
        is void: ``on_exited`` spoke for it.
        """
        living = self._replicas.get(replica)
        if living is None or not living.is_callable:
            return _NoFlow()
        return living.call(invocation, sink)

    def abort(self, replica: ReplicaId, request: RequestId) -> None:
        """Ask the replica to give the request up; the call's sink then hears its end."""
        if (living := self._replicas.get(replica)) is not None:
            living.abort(request)

    def models(self) -> set[str]:
        """Return the addresses of all that a living replica has or was started from."""
        found: set[str] = set()
        for living in self._replicas.values():
            found.update(living.order.revision.spec.sources)
            if living.models is not None:
                found |= living.models.urls
        return found

    def log_tail(self, replica: ReplicaId, lines: int) -> tuple[str, ...]:
        """Return the last lines of a replica, living or recently ended."""
        return self._logs.tail(replica, lines)

    def logs(self, endpoint: EndpointName, lines: int) -> list[LogLine]:
        """Return the newest lines of all kept replicas of an endpoint, oldest first."""
        return self._logs.newest(endpoint, lines)

    def follow(self, endpoint: EndpointName, on_lines: Callable[[], None]) -> LogFollower:
        """Begin to follow an endpoint's log."""
        return self._logs.follow(endpoint, on_lines)

    def unfollow(self, endpoint: EndpointName, follower: LogFollower) -> None:
        """End following. Idempotent."""
        self._logs.unfollow(endpoint, follower)

    def template(self, replica: ReplicaId) -> str | None:
        """Say what a living replica was started from, for ``ReplicaView.template``."""
        living = self._replicas.get(replica)
        return None if living is None else living.describe_template()

    def pid(self, replica: ReplicaId) -> int | None:
        """Return the process id of a living replica, once it has one."""
        living = self._replicas.get(replica)
        return None if living is None else living.pid

    async def measure(self) -> list[ReplicaUsage]:
        """Measure what each running replica uses."""
        living = [replica.usage_probe for replica in self._replicas.values()]
        holds = [hold for hold in living if hold is not None]
        return await asyncio.to_thread(replica_usage.measure, holds) if holds else []

    def templates(self) -> list[tuple[str, int, int]]:
        """Return label, pid and number of users of every template, least recently used first."""
        if self._machine is None:
            return []
        return [(t.key.label, t.pid, len(t.users)) for t in self._machine.pool.live()]

    def start_of(self, replica: ReplicaId) -> StartView | None:
        """Return what a replica was started from, unless that was forgotten."""
        return None if self._machine is None else self._machine.pool.starts.of(replica)

    def warmth(self, revision: Revision) -> NextStart:
        """Return the rung that a revision without a replica would wake from now."""
        key = self._shelf.key(revision.spec)
        if key is not None and self._machine is not None:
            rung, template, why = self._machine.pool.warmth_level(key)
            return NextStart(rung=rung, template=template, why=why)
        why = "its files were not looked for since the server started: its first wake does"
        return NextStart(rung=WakeLevel.REMOTE, template=None, why=why)

    def template_pool(self) -> PoolView:
        """Return how many templates there are, what they hold, and the bounds of both."""
        assert self._machine is not None, "the engine is not open"
        return self._machine.pool.view()

    async def cached_files(self, revision: Revision) -> CachedFiles:
        """Measure a revision's files, as far as they are known to be here."""
        return await self._shelf.measure(revision.spec)

    def describe(self) -> str:
        """Say in one sentence which limits are enforced and which are not."""
        assert self._cgroups is not None, "the engine is not open"
        return self._cgroups.describe()

    def _gone(self, replica: ReplicaProcess) -> None:
        del self._replicas[replica.id]
        if replica.successor is not None and self._machine is not None:
            self._begin(replica.successor, replica.log, self._machine)
            return
        self._logs.close(replica.id)
        if not self._replicas:
            self._all_gone.set()
        if self._retiring is None:
            # A cgroup of a process that is only just dying cannot be removed yet.
            loop = asyncio.get_running_loop()
            self._retiring = loop.call_later(_RETIRE_DELAY_S, self._retire)

    def _retire(self) -> None:
        self._retiring = None
        assert self._cgroups is not None
        self._cgroups.sweep()


def _locked(path: Path) -> int:
    """Hold the lock file; its descriptor frees it however this process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Conflict(
            f"another coldspark server uses {path.parent}: stop it, or choose another data_dir"
        ) from None
    return descriptor
