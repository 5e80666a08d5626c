"""Take a ready replica to its frozen state and back: its program's part, its GPUs', the frost.

The order is: hook, device memory, frost; then thaw, device memory, hook. What cannot be given back
is told, and the replica serves on; where that is not possible either, it ends. Without GPUs, hooks
or paths to call, nothing here waits for anything.
"""

import asyncio
import signal
from dataclasses import dataclass, replace
from typing import Protocol

from coldspark.node.cgroups import Cgroup, CgroupLimits
from coldspark.node.gpu.gpu_parking import GpuParkFailed, GpuParking
from coldspark.node.launch_plan import NodeContext, ReplicaPhase
from coldspark.node.logs.replica_logs import ReplicaLog
from coldspark.node.templates.forked_process import ForkedProcess
from coldspark.node.transport.channel import Channel
from coldspark.node.transport.health_check import call_hook
from coldspark.platform.ports import StartOrder
from coldspark.spec.messages import Reservation
from coldspark.spec.types import Command

_HOOK_WITHIN_S = 120.0
"""A bound for a server's sleep or waking, not an expectation: some move all their weights."""


class ParkingCallbacks(Protocol):
    """The replica: it alone says how far it is."""

    order: StartOrder
    phase: ReplicaPhase
    log: ReplicaLog

    def set_phase(self, phase: ReplicaPhase) -> None:
        """Be so far."""

    def stop(self, grace_s: float) -> None:
        """End."""

    def kill(self) -> None:
        """End at once, as if it had died."""

    def restart(self, grant: Reservation) -> None:
        """End, and start again in another room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenState:
    """What is frozen."""

    process: ForkedProcess
    cgroup: Cgroup | None
    channel: Channel | None
    """None for a command."""
    bounds: CgroupLimits
    port: int | None
    """None for a handler."""
    command: Command | None

    @property
    def has_hook(self) -> bool:
        """Return whether its program takes part."""
        if self.command is not None:
            return self.command.park_path is not None
        return self.channel is not None and self.channel.has_park_hooks


class ReplicaParking:
    """One replica's ways to the frost and back."""

    def __init__(self, owner: ParkingCallbacks, machine: NodeContext) -> None:
        self._owner = owner
        self._machine = machine
        self._body: FrozenState | None = None
        held = tuple(device for device in owner.order.grant.devices if not device.is_simulated)
        self._gpus = GpuParking(held, machine.gpu_tools) if held else None
        self._moving: asyncio.Task[None] | None = None
        """What is being done about device memory, or was."""

    @property
    def hangs(self) -> bool:
        """Return whether it could not end in order, because its CUDA calls would not return."""
        return self._gpus is not None and self._gpus.is_suspended

    def park(self, body: FrozenState) -> None:
        """Freeze it, once it gave back what it should not hold meanwhile."""
        self._body = body
        self._owner.set_phase(ReplicaPhase.PARKING)
        if body.process.has_ended:
            self._refuse("its process has ended")
        else:
            self._run_hook(body)

    def unpark(self, grant: Reservation | None) -> None:
        """Thaw it; it takes back what it gave. With other devices it is started anew."""
        assert self._body is not None
        self._owner.set_phase(ReplicaPhase.UNPARKING)
        if grant is not None and self._gpus is not None and self._gpus.has_other_devices(grant):
            self._owner.restart(grant)
            return
        self.thaw()
        if self._gpus is not None:
            self._moving = self._machine.tasks.spawn(self._take_back(self._gpus, self._body))
        else:
            self._run_hook(self._body)

    def thaw(self) -> None:
        """Let its processes run."""
        assert self._body is not None
        if self._body.cgroup is not None:
            self._body.cgroup.thaw()
        self._body.process.signal(signal.SIGCONT)

    def abandon(self) -> None:
        """Begin nothing more with its memory: it is to end, and may hear so in order."""
        if self._moving is not None:
            self._moving.cancel()

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self.abandon()
        if self._gpus is not None:
            self._gpus.close()

    def on_hook_done(self, trouble: str | None) -> None:
        """The program parked or unparked its model, or could not (or there was nothing to do)."""
        phase = self._owner.phase
        if trouble is not None:
            self._owner.log.append(f"{phase}: {trouble}")
        if phase is ReplicaPhase.PARKING and trouble is not None:
            self._refuse(trouble)
        elif phase is ReplicaPhase.PARKING:
            self._give_back()
        elif phase is ReplicaPhase.UNPARKING and trouble is not None:
            # A replica without its model is of no use.
            self._owner.kill()
        elif phase is ReplicaPhase.UNPARKING:
            self._owner.set_phase(ReplicaPhase.READY)
            self._machine.listener.on_ready(self._owner.order.replica)

    def _run_hook(self, body: FrozenState) -> None:
        """Let its program do what it has to; ``on_hook_done`` follows."""
        is_parking = self._owner.phase is ReplicaPhase.PARKING
        if not body.has_hook:
            self.on_hook_done(None)
        elif body.command is not None:
            path = body.command.park_path if is_parking else body.command.unpark_path
            self._machine.tasks.spawn(self._post(body.port, path))
        elif body.channel is not None and is_parking:
            body.channel.park()
        elif body.channel is not None:
            body.channel.unpark()

    async def _post(self, port: int | None, path: str | None) -> None:
        assert port is not None
        assert path is not None
        phase = self._owner.phase
        trouble = await call_hook(port, path, _HOOK_WITHIN_S)
        if self._owner.phase is phase:
            self.on_hook_done(trouble)

    def _refuse(self, reason: str) -> None:
        self._owner.set_phase(ReplicaPhase.READY)
        self._machine.listener.on_park_failed(self._owner.order.replica, reason)

    def _give_back(self) -> None:
        assert self._body is not None
        if self._gpus is None:
            self._freeze(self._body)
        else:
            self._moving = self._machine.tasks.spawn(self._give_gpus_back(self._gpus, self._body))

    async def _give_gpus_back(self, gpus: GpuParking, body: FrozenState) -> None:
        trouble: GpuParkFailed | None = None
        try:
            await gpus.release_memory(_pids(body), lambda size_bytes: _make_room(body, size_bytes))
        except GpuParkFailed as failure:
            trouble = failure
        if self._owner.phase is not ReplicaPhase.PARKING:
            return
        if trouble is None:
            self._freeze(body)
        else:
            self._keep_gpus(trouble, body)

    def _keep_gpus(self, trouble: GpuParkFailed, body: FrozenState) -> None:
        """Serve on, or end: also when the model lies where a hook put it."""
        self._owner.log.append(f"{self._owner.phase}: {trouble}")
        if trouble.is_running and not body.has_hook:
            self._refuse(str(trouble))
            return
        self._owner.stop(0)
        reason = f"{trouble}; it was killed"
        self._machine.listener.on_park_failed(self._owner.order.replica, reason)

    async def _take_back(self, gpus: GpuParking, body: FrozenState) -> None:
        trouble = None
        try:
            await gpus.restore_memory()
        except GpuParkFailed as failure:
            trouble = str(failure)
        if self._owner.phase is not ReplicaPhase.UNPARKING:
            return
        if trouble is None:
            self._run_hook(body)
        else:
            self.on_hook_done(trouble)

    def _freeze(self, body: FrozenState) -> None:
        if body.cgroup is None or not body.cgroup.freeze():
            body.process.signal(signal.SIGSTOP)
        self._owner.set_phase(ReplicaPhase.PARKED)
        device_bytes = 0 if self._gpus is None else self._gpus.moved_bytes
        self._machine.listener.on_parked(self._owner.order.replica, device_bytes)


def _pids(body: FrozenState) -> list[int]:
    pids = set() if body.cgroup is None else set(body.cgroup.pids())
    return sorted(pids if body.process.pid is None else pids | {body.process.pid})


def _make_room(body: FrozenState, size_bytes: int) -> None:
    """Raise the memory limit by what will lie on the host: the lower limit would kill it.

    It is not lowered again: version 2 kills for a limit below what is in use.
    """
    if body.cgroup is not None:
        memory_bytes = body.bounds.memory_max_bytes + size_bytes
        body.cgroup.limit(replace(body.bounds, memory_bytes=memory_bytes))
