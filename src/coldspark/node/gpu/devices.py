"""What this machine has: GPUs by NVML (or declared as simulated), memory and processors.

NVML is loaded only when asked for; a machine without it has no devices and a reason that says so.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldspark.platform.catalogue import Catalogue
from coldspark.spec.messages import Device
from coldspark.spec.types import DeviceId

_DECLARED = re.compile(r"\s*(?P<name>[^:]+?)\s*(?::\s*(?P<count>\d+)\s*)?")
SIMULATED_MAX = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInventory:
    """The GPUs of this machine, and why there are none where there are none."""

    devices: tuple[Device, ...]
    driver: str | None = None
    reason: str | None = None
    """None when devices were found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCapacity:
    """What this process may use of the machine: hardware less what cgroups and affinity keep."""

    memory_bytes: int
    vcpus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUse:
    """What a device holds now."""

    used_bytes: int
    by_pid: dict[int, int]
    """Only processes whose use the driver reports."""


def discover(catalogue: Catalogue) -> DeviceInventory:
    """List GPUs, and the slices instead of the whole where MIG is on. Never raises."""
    try:
        with _nvml() as nvml:
            devices = tuple(_listed(nvml, catalogue))
            driver = _text(nvml.nvmlSystemGetDriverVersion())
    except ImportError:
        return DeviceInventory(devices=(), reason="the package nvidia-ml-py is not installed")
    except _NvmlFailed as failure:
        return DeviceInventory(devices=(), reason=f"no NVIDIA driver answers ({failure})")
    reason = None if devices else "the NVIDIA driver lists no GPU"
    return DeviceInventory(devices=devices, driver=driver, reason=reason)


def simulated(text: str, catalogue: Catalogue) -> tuple[Device, ...]:
    """Declare devices such as ``T4:1,A10G:2``, to rehearse a deployment without them.

    Raises ValueError for a type that the catalogue does not know.
    """
    devices: list[Device] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        devices += _declared(part, catalogue, [device.type for device in devices])
    if len(devices) > SIMULATED_MAX:
        raise ValueError(f"simulate={text!r}: {len(devices)} devices are over {SIMULATED_MAX}")
    return tuple(devices)


def device_use(device: DeviceId) -> DeviceUse | None:
    """Measure a device's memory, in all and by process; None where it cannot be measured."""
    try:
        with _nvml() as nvml:
            handle = nvml.nvmlDeviceGetHandleByUUID(device)
            used = int(nvml.nvmlDeviceGetMemoryInfo(handle).used)
            running = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
            by_pid = {row.pid: row.usedGpuMemory for row in running if row.usedGpuMemory}
    except (ImportError, _NvmlFailed):
        return None
    return DeviceUse(used_bytes=used, by_pid=by_pid)


def busy_percent(device: DeviceId) -> float | None:
    """Return for how much of the last moments a device worked; None where it does not say."""
    try:
        with _nvml() as nvml:
            handle = nvml.nvmlDeviceGetHandleByUUID(device)
            return float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except (ImportError, _NvmlFailed):
        return None


def host_capacity(root: Path = Path("/")) -> HostCapacity:
    """Measure the memory and the processors that this process may use."""
    memory = [_memory_total(root), *_memory_limits(root)]
    vcpus = [float(len(os.sched_getaffinity(0))), *_cpu_quotas(root)]
    return HostCapacity(memory_bytes=min(memory), vcpus=min(vcpus))


class _NvmlFailed(Exception):
    """NVML said no; the message is its own."""


@contextmanager
def _nvml() -> Iterator[Any]:
    import pynvml

    try:
        pynvml.nvmlInit()
        try:
            yield pynvml
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        raise _NvmlFailed(str(error)) from error


def _listed(nvml: Any, catalogue: Catalogue) -> Iterator[Device]:
    for index in range(nvml.nvmlDeviceGetCount()):
        whole = nvml.nvmlDeviceGetHandleByIndex(index)
        slices = list(_slices(nvml, whole))
        for handle in slices or [whole]:
            yield _device(nvml, handle, catalogue)


def _slices(nvml: Any, handle: Any) -> Iterator[Any]:
    """Yield the MIG slices of a GPU; none where MIG is off or not offered."""
    try:
        is_on = nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
        count = nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if is_on else 0
    except nvml.NVMLError:
        return
    for index in range(count):
        try:
            yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError_NotFound:
            continue


def _device(nvml: Any, handle: Any, catalogue: Catalogue) -> Device:
    product = _text(nvml.nvmlDeviceGetName(handle))
    known = catalogue.gpu(product)
    return Device(
        id=DeviceId(_text(nvml.nvmlDeviceGetUUID(handle))),
        type=known.name if known else product.removeprefix("NVIDIA ").replace(" ", "-"),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
    )


def _text(value: str | bytes) -> str:
    """Return text: older bindings answer in bytes."""
    return value.decode() if isinstance(value, bytes) else value


def _declared(part: str, catalogue: Catalogue, taken: list[str]) -> list[Device]:
    match = _DECLARED.fullmatch(part)
    if match is None:
        raise ValueError(f"simulate={part!r} is not understood: write such as T4:1,A10G:2")
    (ask,) = catalogue.parse_gpu(match["name"])
    gpu = catalogue.gpu(ask.type)
    assert gpu is not None, "parse_gpu names only known types"
    first = taken.count(gpu.name)
    return [
        Device(
            id=DeviceId(f"sim-{gpu.name}-{first + index}"),
            type=gpu.name,
            memory_bytes=gpu.memory_bytes,
            is_simulated=True,
        )
        for index in range(int(match["count"] or 1))
    ]


def _memory_total(root: Path) -> int:
    text = (root / "proc/meminfo").read_text()
    match = re.search(r"^MemTotal:\s*(\d+) kB", text, re.MULTILINE)
    assert match is not None, "Linux always has MemTotal"
    return int(match[1]) * 1024


def _memory_limits(root: Path) -> Iterator[int]:
    for folder in cgroup_folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit is not None and limit > 0:
                yield limit


def _cpu_quotas(root: Path) -> Iterator[float]:
    for folder in cgroup_folders(root, "cpu"):
        words = _words(folder / "cpu.max")
        if len(words) == 2 and words[0] != "max":
            yield int(words[0]) / int(words[1])
        quota = _number(folder / "cpu.cfs_quota_us")
        period = _number(folder / "cpu.cfs_period_us")
        if quota is not None and period is not None and quota > 0 and period > 0:
            yield quota / period


def cgroup_folders(root: Path, controller: str) -> Iterable[Path]:
    """Return this process's cgroup for a controller, then its ancestors, where they exist.

    ``/proc/self/cgroup`` has lines ``id:controllers:path``; version 2 has id 0 and no controllers.
    In a container the path may lie outside what is mounted, so missing folders are skipped.
    """
    base = root / "sys/fs/cgroup"
    folders: list[Path] = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = base / controllers if controllers else base
        leaf = top / path.lstrip("/")
        folders += [f for f in (leaf, *leaf.parents) if f.is_relative_to(top) and f.is_dir()]
    return folders


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _number(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if words and words[0].lstrip("-").isdigit() else None
