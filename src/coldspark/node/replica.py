"""The life of one replica on this machine, from the order to its one ``on_exited``."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from coldspark.errors import ColdsparkError
from coldspark.node import processes
from coldspark.node.cgroups import Cgroup, CgroupLimits
from coldspark.node.launch_plan import (
    TAIL_LINES,
    TRANSITIONS,
    LaunchPlan,
    NodeContext,
    ReplicaPhase,
    TemplateBroken,
    exit_of,
)
from coldspark.node.logs.replica_logs import ReplicaLog
from coldspark.node.models.target_models import TargetModels, memory_of, models_of
from coldspark.node.parking import FrozenState, ReplicaParking
from coldspark.node.replica_usage import UsageProbe
from coldspark.node.root_cause import ExitEvidence, diagnose
from coldspark.node.sandbox import scratch as scratches
from coldspark.node.templates.fork_order import ForkOrder, Standby, TemplateFailure
from coldspark.node.templates.forked_process import ForkedProcess
from coldspark.node.templates.template import Template
from coldspark.node.transport.channel import Channel
from coldspark.node.transport.health_check import wait_until_healthy
from coldspark.node.transport.http_upstream import HttpUpstream
from coldspark.platform.ports import Flow, Invocation, ReplySink, StartOrder
from coldspark.spec.messages import Reservation
from coldspark.spec.types import Exit, ReplicaId, RequestId, RootCause, Spec

_log = logging.getLogger(__name__)
_LAST_WORDS_S = 0.25
"""How long the channel may still hold frames after the process was reaped."""
_LINGER_S = 1.0
"""How long a process may outlive its channel, or its own word that it is broken."""
_ATTEMPTS_MAX = 2
_ADDRESS_IN_USE = "address already in use"


class ReplicaProcess:
    """One replica: its process, its upstream, its log."""

    def __init__(
        self,
        order: StartOrder,
        machine: NodeContext,
        log: ReplicaLog,
        scratch: Path,
        on_gone: Callable[["ReplicaProcess"], None],
    ) -> None:
        self.order = order
        self.id = order.replica
        self.log = log
        self.scratch = scratch
        self.phase = ReplicaPhase.PREPARING
        self.template: Template | None = None
        self._machine = machine
        self._on_gone = on_gone
        self._history: list[ReplicaPhase] = [ReplicaPhase.PREPARING]
        self._preparing: asyncio.Task[None] | None = None
        self._pinging: asyncio.Task[None] | None = None
        self._channel: Channel | None = None
        self._upstream: HttpUpstream | None = None
        self.models: TargetModels | None = None
        """Of a replica that has many: the way to it."""
        self._process: ForkedProcess | None = None
        self._cgroup: Cgroup | None = None
        self._bounds = _bounds(order.revision.spec)
        self._parking = ReplicaParking(self, machine)
        self.successor: StartOrder | None = None
        """Set when it ends only to be started anew: nobody hears of its end then."""
        self._timer: asyncio.TimerHandle | None = None
        self._attempts = 0
        self._port: int | None = None
        self._was_booted = False
        self._was_ready = False
        self._was_stopped = False
        self._violation: str | None = None
        self._broken: tuple[RootCause, str] | None = None
        self._status: int | None = None
        self._failure: TemplateFailure | None = None
        self._trouble: Exception | None = None
        self._template_output = log.writer("stdout")

    def start(self, resolve: Coroutine[object, object, LaunchPlan]) -> None:
        """Begin: ``resolve`` brings model data and environment here."""
        self._preparing = self._machine.tasks.spawn(self._prepare(resolve))
        self._preparing.add_done_callback(lambda _: self._on_prepared(resolve))

    def stop(self, grace_s: float) -> None:
        """End it. A second stop can only shorten the grace to nothing."""
        if self.phase is ReplicaPhase.ENDED or (self._was_stopped and grace_s > 0):
            return
        self._was_stopped = True
        if self.phase is ReplicaPhase.PREPARING:
            assert self._preparing is not None
            self._preparing.cancel()
            return
        self.successor = None
        if self._parking.hangs:
            grace_s = 0.0
        self._parking.abandon()
        if self.phase is ReplicaPhase.PARKED and grace_s > 0:
            # Frozen, it would not hear the request to end.
            self._parking.thaw()
        if self.phase is not ReplicaPhase.STOPPING:
            self.set_phase(ReplicaPhase.STOPPING)
        if self._process is not None:
            self._process.stop(grace_s)

    def park(self) -> None:
        """Freeze it, once it gave back what it should not hold meanwhile."""
        if self.phase is not ReplicaPhase.READY or self._process is None:
            return
        body = FrozenState(
            process=self._process,
            cgroup=self._cgroup,
            channel=self._channel,
            bounds=self._bounds,
            port=self._port,
            command=self.order.revision.spec.command,
        )
        self._parking.park(body)

    def unpark(self, grant: Reservation | None = None) -> None:
        """Thaw it; it takes back what it gave. With other devices it is started anew."""
        if self.phase is ReplicaPhase.PARKED:
            self._parking.unpark(grant)

    def on_hook_done(self, trouble: str | None) -> None:
        """The handler parked or unparked its model, or could not."""
        self._parking.on_hook_done(trouble)

    def restart(self, grant: Reservation) -> None:
        """End, and be started again in another room: the engine looks for ``successor``."""
        devices = ", ".join(device.id for device in grant.devices) or "no device"
        self.log.append(f"{self.phase}: its room is now on {devices}: it is started anew there")
        self.successor = replace(self.order, grant=grant)
        self.kill()

    def call(self, invocation: Invocation, sink: ReplySink) -> Flow:
        """Send a request. To a replica that is gone it is void."""
        upstream = self.models or self._channel or self._upstream
        assert upstream is not None
        return upstream.call(invocation, sink)

    def abort(self, request: RequestId) -> None:
        """Ask the replica to give a request up."""
        upstream = self.models or self._channel or self._upstream
        if upstream is not None:
            upstream.abort(request)

    @property
    def pid(self) -> int | None:
        """The process, once there is one."""
        return None if self._process is None else self._process.pid

    @property
    def is_callable(self) -> bool:
        """Whether it takes calls, as far as anybody knows."""
        return self._was_ready and self.phase is not ReplicaPhase.ENDED

    @property
    def usage_probe(self) -> UsageProbe | None:
        """Where to look for what it uses; None while it does not run."""
        if self.pid is None or self.phase is not ReplicaPhase.READY:
            return None
        return UsageProbe(
            replica=self.id,
            fleet=self.order.fleet,
            pid=self.pid,
            cgroup=self._cgroup,
            memory_bytes_max=self._bounds.memory_max_bytes,
            grant=self.order.grant,
        )

    def describe_template(self) -> str | None:
        """Say what it was started from, or why that could not be imported ahead."""
        return None if self.template is None else self.template.describe()

    async def _prepare(self, resolve: Coroutine[object, object, LaunchPlan]) -> None:
        try:
            await self._fetch_and_launch(resolve)
        except (ColdsparkError, TemplateBroken) as error:
            self._trouble = error
        except Exception as error:  # noqa: BLE001  the task's outermost edge
            _log.exception("replica %s could not be started", self.id)
            self._trouble = error

    async def _fetch_and_launch(self, resolve: Coroutine[object, object, LaunchPlan]) -> None:
        plan = await resolve
        self._machine.listener.on_fetched(self.id)
        with ExitStack() as stack:
            theirs = await self._open_channel(stack) if plan.argv is None else None
            template = self._machine.pool.acquire(plan.key, self.id, self)
            self.template = template
            if plan.argv is None and not template.settled.is_set():
                # Its process is there: from here on it imports, and loads what can be shared.
                self._tell_booted()
            await template.settled.wait()
            if template.failure is not None:
                raise TemplateBroken(template.failure)
            self._launch(plan, template, theirs)

    async def _open_channel(self, stack: ExitStack) -> int:
        """Attach our end to the loop; return theirs, which the stack closes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stack.callback(theirs.close)
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        channel = Channel(self, loop.call_soon)
        await loop.connect_accepted_socket(lambda: channel, ours)
        self._channel = channel
        self.models = models_of(self.order, self._machine, channel, self.log.append)
        return theirs.fileno()

    def _launch(self, plan: LaunchPlan, template: Template, channel: int | None) -> None:
        """Fork. Everything from here on is heard of by callbacks."""
        spec = self.order.revision.spec
        self._attempts += 1
        standby = template.take_standby() if self._cgroup is None else None
        template.bounds = self._bounds
        self._find_cgroup(standby)
        environment = plan.environment
        if plan.argv is not None:
            self._port = processes.free_port()
            port = str(self._port)
            environment = {**environment, "SAGEMAKER_BIND_TO_PORT": port, "PORT": port}
        order = ForkOrder(
            replica=self.id,
            argv=plan.argv,
            environment=environment,
            cwd=plan.cwd,
            model_dir=plan.files.model_dir,
            concurrency=spec.scale.concurrency,
            multi_model=memory_of(spec),
            batch_size_max=spec.scale.batch_size_max,
            batch_wait_s=spec.scale.batch_waits_s,
            cgroups=() if self._cgroup is None else self._cgroup.procs,
            processes_max=self._bounds.processes_max,
            standby=None if standby is None else standby.name,
        )
        process = ForkedProcess(
            self.id,
            self.log,
            self._cgroup,
            on_forked=self._on_forked,
            on_ended=lambda status, failure: self._on_process_ended(plan, status, failure),
        )
        process.fork(template, order, channel)
        self._process = process
        self.set_phase(ReplicaPhase.STARTING)

    def _find_cgroup(self, standby: Standby | None) -> None:
        """Take the standby's, which its process is in already, or make one."""
        if standby is not None and standby.cgroup is not None:
            self._cgroup = standby.cgroup
            self._cgroup.limit(self._bounds)
        elif self._cgroup is None:
            # With its directory, which a replica that is started anew does not share with itself.
            name = ReplicaId(f"{self.id}.{self.scratch.name}")
            self._cgroup = self._machine.cgroups.create(name, self._bounds)

    def _on_prepared(self, resolve: Coroutine[object, object, LaunchPlan]) -> None:
        """End here if there was nothing to fork."""
        # A task cancelled before its first step never awaited it.
        resolve.close()
        if self.phase is not ReplicaPhase.PREPARING:
            return
        if isinstance(self._trouble, TemplateBroken):
            self._end_with_template(self._trouble.failure)
        elif self._trouble is None:
            self._end(Exit(cause=RootCause.KILLED, message="The platform stopped it before it ran"))
        else:
            self._end(exit_of(self._trouble))

    def on_forked(self, pid: int) -> None:
        """The process exists."""
        if self._process is not None:
            self._process.on_forked(pid)

    def on_process_exited(self, status: int) -> None:
        """The process was reaped."""
        if self._process is not None:
            self._process.on_process_exited(status)

    def on_fork_failed(self, message: str) -> None:
        """There is no process."""
        if self._process is not None:
            self._process.on_fork_failed(message)

    def on_template_lost(self, failure: TemplateFailure) -> None:
        """Its template died. While preparing, ``_prepare`` sees it by itself."""
        if self._process is not None:
            self._process.on_template_lost(failure)

    def on_template_output(self, data: bytes) -> None:
        """The template printed while it imported for this replica."""
        if self.phase is ReplicaPhase.PREPARING:
            self._template_output(data)

    def _on_forked(self) -> None:
        if self._channel is None and self.phase is ReplicaPhase.STARTING:
            self.set_phase(ReplicaPhase.LOADING)
            self._tell_booted()
            assert self._port is not None
            self._pinging = self._machine.tasks.spawn(self._ping(self._port))

    async def _ping(self, port: int) -> None:
        command = self.order.revision.spec.command
        assert command is not None
        await wait_until_healthy(port, command.ping_path)
        if self.phase is ReplicaPhase.LOADING:
            concurrency = self.order.revision.spec.scale.concurrency
            spawn = self._machine.tasks.spawn
            upstream = HttpUpstream(port, command.invoke_path, concurrency, spawn)
            self._upstream = upstream
            remark = self.log.append
            self.models = models_of(self.order, self._machine, upstream, remark, port)
            self._become_ready()

    def on_booted(self) -> None:
        """The handler's process runs and begins to load."""
        if self.phase is ReplicaPhase.STARTING:
            self.set_phase(ReplicaPhase.LOADING)
            self._tell_booted()

    def _tell_booted(self) -> None:
        if not self._was_booted:
            self._was_booted = True
            self._machine.listener.on_booted(self.id)

    def on_loaded(self, load_us: int | None) -> None:
        """The handler takes calls."""
        if self.phase is ReplicaPhase.LOADING:
            self._become_ready()

    def on_learned(self, modules: Sequence[str]) -> None:
        """The handler imported more than its template had."""
        if self.template is not None:
            self._machine.pool.learn(self.template, modules)

    def on_broken(self, cause: RootCause, message: str, traceback: str) -> None:
        """The handler could not load; its exit follows, or is made to."""
        self._broken = (cause, message)
        self._set_timer(_LINGER_S, self.kill)

    def on_channel_lost(self, violation: str | None) -> None:
        """The channel ended: the process has, or must."""
        self._violation = violation
        if self._process is None or self.phase is ReplicaPhase.ENDED:
            return
        if self._process.has_ended:
            self._conclude()
        elif violation is not None:
            self.kill()
        else:
            self._set_timer(_LINGER_S, self.kill)

    def _become_ready(self) -> None:
        self.set_phase(ReplicaPhase.READY)
        self._was_ready = True
        self._machine.listener.on_ready(self.id)
        if self.template is not None:
            self._machine.pool.renew_standby(self.template)

    def kill(self) -> None:
        """End at once, as if it had died."""
        if self._process is not None:
            self._process.stop(0)

    def _on_process_ended(
        self, plan: LaunchPlan, status: int | None, failure: TemplateFailure | None
    ) -> None:
        self._status, self._failure = status, failure
        if self._pinging is not None:
            self._pinging.cancel()
        if self._may_try_again(plan, failure):
            assert self.template is not None
            self.log.append(f"port {self._port} was taken meanwhile: one more try on another")
            if self.phase is ReplicaPhase.STARTING:
                self.set_phase(ReplicaPhase.LOADING)
            try:
                self._launch(plan, self.template, None)
            except (OSError, ValueError):
                self._conclude()
        elif failure is not None and self._cgroup is None:
            # Nobody swept up after it; what it forked may have outlived it.
            self._machine.tasks.spawn(self._sweep_then_conclude())
        elif self._channel is not None and not self._channel.is_lost:
            self._set_timer(_LAST_WORDS_S, self._conclude)
        else:
            self._conclude()

    def _may_try_again(self, plan: LaunchPlan, failure: TemplateFailure | None) -> bool:
        return (
            plan.argv is not None
            and failure is None
            and self.phase in (ReplicaPhase.STARTING, ReplicaPhase.LOADING)
            and self._attempts < _ATTEMPTS_MAX
            and any(_ADDRESS_IN_USE in line.lower() for line in self.log.printed(TAIL_LINES))
        )

    async def _sweep_then_conclude(self) -> None:
        try:
            await asyncio.to_thread(processes.kill_tagged, processes.REPLICA_TAG, self.id)
        finally:
            self._conclude()

    def _conclude(self) -> None:
        if self.phase is ReplicaPhase.ENDED:
            return
        if self._failure is not None:
            self._end_with_template(self._failure)
            return
        tail = self.log.printed(TAIL_LINES)
        was_killed = self._cgroup is not None and self._cgroup.oom_kills() > 0
        evidence = ExitEvidence(
            exit_status=self._status,
            log_tail=tail,
            broken=self._broken,
            oom_limit_bytes=self._bounds.memory_max_bytes if was_killed else None,
            was_ready=self._was_ready,
            was_stopped=self._was_stopped,
            unopened_port=None if self._was_ready else self._port,
            violation=self._violation,
        )
        cause, message = diagnose(evidence)
        self._end(Exit(cause=cause, message=message, exit_status=self._status, log_tail=tail))

    def _end_with_template(self, failure: TemplateFailure) -> None:
        tail = self.log.printed(TAIL_LINES)
        if failure.log_tail and failure.log_tail[-1] not in tail:
            tail = (*tail, *failure.log_tail)[-TAIL_LINES:]
        evidence = ExitEvidence(
            exit_status=failure.exit_status,
            log_tail=failure.log_tail,
            broken=(failure.cause, failure.message),
        )
        cause, message = diagnose(evidence)
        self._end(
            Exit(cause=cause, message=message, exit_status=failure.exit_status, log_tail=tail)
        )

    def _end(self, exit: Exit) -> None:
        """Give everything back, then say it: nobody hears of this replica afterwards."""
        self.set_phase(ReplicaPhase.ENDED)
        if self._timer is not None:
            self._timer.cancel()
        for upstream in (self.models, self._channel, self._upstream):
            if upstream is not None:
                upstream.void()
        is_over = self._failure is None and self._status is not None
        if self._cgroup is not None:
            is_over &= self._machine.cgroups.retire(self._cgroup)
        if self.template is not None:
            self._machine.pool.release(self.template, self.id)
        # While a process may be left, nobody else gets its directory.
        if not (is_over and self._machine.scratch_directories.reclaim(self.scratch)):
            self._machine.tasks.spawn(asyncio.to_thread(scratches.remove, self.scratch))
        self._parking.close()
        self.log.append(f"ended: {exit.cause}: {exit.message}")
        self._on_gone(self)
        if self.successor is None:
            self._machine.listener.on_exited(self.id, exit)

    def set_phase(self, phase: ReplicaPhase) -> None:
        """Be so far."""
        assert phase in TRANSITIONS[self.phase], f"{self.phase} -> {phase}: {self._history}"
        self.phase = phase
        self._history.append(phase)

    def _set_timer(self, delay_s: float, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, callback)


def _bounds(spec: Spec) -> CgroupLimits:
    # A handler's lanes are the platform's threads; the limit is for what the program starts.
    lanes = 0 if spec.handler is None else spec.scale.concurrency
    return CgroupLimits(
        memory_bytes=spec.resources.memory_bytes,
        vcpus=spec.resources.vcpus,
        processes_max=spec.limits.processes_max + lanes,
    )
