"""What a running replica uses of the machine: processor, memory, devices. Measured, or None.

Processor time is the kernel's count for the replica's processes and for the children that they
waited for. Memory is what its cgroup is charged with; a fork pays only for pages of its own. A
device that is shared tells nothing about one of its replicas but the memory of its processes.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from coldspark.node.cgroups import Cgroup
from coldspark.node.gpu.devices import DeviceUse, busy_percent, device_use
from coldspark.spec.messages import Device, Reservation
from coldspark.spec.types import FleetId, ReplicaId

_TICKS_S = os.sysconf("SC_CLK_TCK")
_CPU_FIELDS = slice(11, 15)
"""utime, stime, cutime and cstime, counted from the field after the name."""
_BEGIN_FIELD = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageProbe:
    """Where to look for what a replica uses."""

    replica: ReplicaId
    fleet: FleetId
    pid: int
    cgroup: Cgroup | None
    memory_bytes_max: int
    grant: Reservation


class ReplicaUsage(Struct, frozen=True, kw_only=True):
    """What was measured of one replica."""

    replica: ReplicaId
    fleet: FleetId
    age_s: float
    """Of its process."""
    cpu_us: int
    """In all that time."""
    memory_percent: float | None = None
    gpu_percent: float | None = None
    """Over all its devices: two that are busy are 200."""
    gpu_memory_percent: float | None = None
    """Of what its devices have, or of its share of one."""


def measure(holds: Sequence[UsageProbe], proc: Path = Path("/proc")) -> list[ReplicaUsage]:
    """Measure replicas. Takes some milliseconds of system calls each."""
    return [_measure(hold, proc) for hold in holds]


def _measure(hold: UsageProbe, proc: Path) -> ReplicaUsage:
    pids = ([] if hold.cgroup is None else hold.cgroup.pids()) or [hold.pid]
    used = None if hold.cgroup is None else hold.cgroup.memory_bytes()
    devices = [one for one in hold.grant.devices if not one.is_simulated]
    return ReplicaUsage(
        replica=hold.replica,
        fleet=hold.fleet,
        age_s=_age_s(proc, hold.pid),
        cpu_us=sum(_cpu_us(proc / str(pid) / "stat") for pid in pids),
        memory_percent=None if used is None else 100 * used / hold.memory_bytes_max,
        gpu_percent=_gpu_percent(devices, hold.grant),
        gpu_memory_percent=_gpu_memory_percent(devices, hold.grant, pids),
    )


def _age_s(proc: Path, pid: int) -> float:
    fields = _fields(proc / str(pid) / "stat")
    if not fields:
        return 0.0
    up_s = float((proc / "uptime").read_text().split()[0])
    return max(0.0, up_s - int(fields[_BEGIN_FIELD]) / _TICKS_S)


def _cpu_us(file: Path) -> int:
    # One that ended meanwhile is in its parent's count once that waited for it.
    return sum(map(int, _fields(file)[_CPU_FIELDS])) * 1_000_000 // _TICKS_S


def _fields(file: Path) -> list[str]:
    """Return the fields after the name, which may have spaces and brackets; [] if it is gone."""
    try:
        return file.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _gpu_percent(devices: Sequence[Device], grant: Reservation) -> float | None:
    if not devices or grant.fraction < 1.0:
        return None
    return _sum(busy_percent(device.id) for device in devices)


def _gpu_memory_percent(
    devices: Sequence[Device], grant: Reservation, pids: Iterable[int]
) -> float | None:
    if not devices:
        return None
    uses = [device_use(device.id) for device in devices]
    used = _sum(_bytes(use, grant, set(pids)) for use in uses)
    whole = sum(device.memory_bytes for device in devices) * grant.fraction
    return None if used is None else 100 * used / whole


def _bytes(use: DeviceUse | None, grant: Reservation, pids: set[int]) -> float | None:
    if use is None:
        return None
    if grant.fraction == 1.0:
        return float(use.used_bytes)
    own = [size for pid, size in use.by_pid.items() if pid in pids]
    return float(sum(own)) if own else None


def _sum(values: Iterable[float | None]) -> float | None:
    """Add up, or None where one is not known."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)
