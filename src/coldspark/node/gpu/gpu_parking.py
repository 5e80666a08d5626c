"""Give the device memory of a replica back while it is parked, and see that it came back.

Its own program gives back first, where it can (a ``park`` hook, an engine's sleep). What is held
after that, which is at least its CUDA context, is moved to host memory by the driver; see
``cuda_checkpoint``. Then NVML is asked: what is still held is a leak, and its replica must end.

Where it cannot be known what a replica holds, it is not parked: frozen, it would keep the memory
from everybody, and nobody would know.
"""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from coldspark import clock
from coldspark.node.gpu.cuda_checkpoint import LIBRARY, CheckpointUnavailable
from coldspark.node.gpu.cuda_suspension import (
    WITHIN_S,
    Suspension,
    SuspensionFailed,
    open_suspension,
)
from coldspark.node.gpu.devices import DeviceUse, device_use
from coldspark.spec.messages import Device, Reservation
from coldspark.spec.types import MIB, DeviceId
from coldspark.spec.units import format_size

HELD_BYTES_MAX = 64 * MIB
"""What may stay on a device: far less than any CUDA context takes."""
_MEASURED_WITHIN_S = 10.0
_RELEASED_WITHIN_S = 5.0
"""The driver frees memory a moment after the call that frees it has returned."""
_LOOK_AGAIN_S = 0.05
_DEVICE_FILE = re.compile(r"/dev/nvidia\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTools:
    """What parking needs of the machine."""

    library: str = LIBRARY
    within_s: float = WITHIN_S
    measure: Callable[[DeviceId], DeviceUse | None] = device_use


class GpuParkFailed(Exception):
    """The memory was not given back; ``is_running`` says whether the replica serves as before."""

    def __init__(self, message: str, *, is_running: bool) -> None:
        super().__init__(message)
        self.is_running = is_running


class GpuParking:
    """The device memory of one replica. One call at a time."""

    def __init__(self, devices: tuple[Device, ...], tools: GpuTools) -> None:
        self._devices = devices
        self._tools = tools
        self._suspension: Suspension | None = None
        self.moved_bytes = 0
        """What the driver keeps in host memory until ``take_back``."""

    @property
    def is_suspended(self) -> bool:
        """Return whether its CUDA calls hang until ``take_back``: it cannot even end in order."""
        return self._suspension is not None

    def has_other_devices(self, grant: Reservation | None) -> bool:
        """Return whether a new room has other devices: a process cannot change those it has."""
        return grant is not None and {d.id for d in grant.devices} != {d.id for d in self._devices}

    async def release_memory(self, pids: Sequence[int], make_room: Callable[[int], None]) -> None:
        """Free the devices of these processes. Raises GpuParkFailed.

        ``make_room`` is told how many bytes more of host memory the processes will hold.
        """
        held = await self._held(pids, is_first=True)
        total = sum(held.values())
        if total <= HELD_BYTES_MAX:
            return
        self._check_room(total)
        suspension = await self._open(total)
        make_room(total)
        self._suspension = suspension
        self.moved_bytes = total
        try:
            await suspension.suspend(sorted(held))
        except SuspensionFailed as failure:
            self.close()
            raise GpuParkFailed(str(failure), is_running=failure.is_running) from failure
        try:
            await self._until_released(pids)
        except GpuParkFailed as failure:
            self.close()
            raise GpuParkFailed(str(failure), is_running=False) from failure

    async def restore_memory(self) -> None:
        """Bring the memory back to the devices it was on. Raises GpuParkFailed."""
        if self._suspension is None:
            return
        try:
            await self._suspension.resume()
        except SuspensionFailed as failure:
            raise GpuParkFailed(str(failure), is_running=False) from failure
        finally:
            self.close()

    def close(self) -> None:
        """Let go of what serves a suspension. Idempotent."""
        if self._suspension is not None:
            self._suspension.close()
            self._suspension = None
            self.moved_bytes = 0

    def _check_room(self, total: int) -> None:
        if any(device.id.startswith("MIG-") for device in self._devices):
            raise _refused("the driver does not checkpoint memory of a MIG slice")
        free = available_bytes()
        if free < total:
            words = f"{format_size(total)} of device memory, but {format_size(free)} are free"
            raise _refused(f"it holds {words} in host memory")

    async def _open(self, total: int) -> Suspension:
        try:
            return await open_suspension(self._tools.library, self._tools.within_s)
        except CheckpointUnavailable as reason:
            words = f"it holds {format_size(total)} of a GPU, which only its own process could"
            raise _refused(f"{words} give back: {reason}") from reason

    async def _until_released(self, pids: Sequence[int]) -> None:
        give_up_s = clock.monotonic_s() + _RELEASED_WITHIN_S
        while (left := sum((await self._held(pids)).values())) > HELD_BYTES_MAX:
            if clock.monotonic_s() >= give_up_s:
                raise _refused(f"{format_size(left)} of device memory did not come back")
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _held(self, pids: Sequence[int], *, is_first: bool = False) -> Counter[int]:
        """Return the bytes that each process holds on its devices, by NVML."""
        held: Counter[int] = Counter()
        for device in self._devices:
            use = await self._measured(device)
            if is_first:
                _check_numbers(use)
            held.update({pid: use.by_pid[pid] for pid in pids if pid in use.by_pid})
        if is_first and not held and any(_has_device_open(pid) for pid in pids):
            raise _refused("NVML does not say what it holds of its GPU")
        return held

    async def _measured(self, device: Device) -> DeviceUse:
        try:
            async with asyncio.timeout(_MEASURED_WITHIN_S):
                use = await asyncio.to_thread(self._tools.measure, device.id)
        except TimeoutError:
            raise _refused("NVML does not answer") from None
        if use is None:
            raise _refused(f"the memory of {device.id} cannot be measured by NVML")
        return use


def available_bytes(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Return how much host memory can be had without swapping."""
    match = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo.read_text(), re.MULTILINE)
    assert match is not None, "Linux has MemAvailable since 3.14"
    return int(match[1]) * 1024


def _check_numbers(use: DeviceUse) -> None:
    if use.by_pid and not any(Path(f"/proc/{pid}").exists() for pid in use.by_pid):
        # In a container with process numbers of its own, NVML's may be those outside.
        raise _refused("NVML speaks of processes that are not seen here: is this a container?")


def _has_device_open(pid: int) -> bool:
    try:
        files = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    return any(_DEVICE_FILE.match(_target(file)) for file in files)


def _target(file: Path) -> str:
    try:
        return os.readlink(file)
    except OSError:
        return ""


def _refused(message: str) -> GpuParkFailed:
    return GpuParkFailed(message, is_running=True)
