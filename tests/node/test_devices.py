"""The machine's inventory: NVML as it answers, simulated devices, cgroup limits."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from coldspark.node.gpu import devices
from coldspark.platform import catalogue
from coldspark.spec.types import MIB, DeviceId

CATALOGUE = catalogue.load()


class FakeNvml:
    """NVML with one plain T4 and one A100 that is cut into two slices."""

    NVML_DEVICE_MIG_ENABLE = 1

    class NVMLError(Exception):
        """Any failure."""

    class NVMLError_NotFound(NVMLError):
        """No such slice."""

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"570.1"

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return ("t4", "a100")[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "GPU-t4":
            raise self.NVMLError("not found")
        return "t4"

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:
        if handle == "t4":
            raise self.NVMLError("not supported")
        return (1, 1)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:
        return 3

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:
        if index == 1:
            raise self.NVMLError_NotFound
        return f"mig{index}"

    def nvmlDeviceGetName(self, handle: str) -> str:
        return "Tesla T4" if handle == "t4" else "NVIDIA A100-SXM4-40GB MIG 1g.5gb"

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return f"GPU-{handle}"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(total=15360 * MIB, used=100 * MIB)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(pid=7, usedGpuMemory=90 * MIB),
            SimpleNamespace(pid=8, usedGpuMemory=None),
        ]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """Put the fake in the binding's place."""
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)  # type: ignore[arg-type]
    return fake


def test_gpus_are_listed_with_mig_slices_in_place_of_the_whole(nvml: FakeNvml) -> None:
    """A cut A100 offers its slices, never itself."""
    found = devices.discover(CATALOGUE)
    assert [(device.id, device.type) for device in found.devices] == [
        ("GPU-t4", "T4"),
        ("GPU-mig0", "MIG-1g.5gb"),
        ("GPU-mig2", "MIG-1g.5gb"),
    ]
    assert found.driver == "570.1"
    assert found.reason is None
    assert not any(device.is_simulated for device in found.devices)


def test_use_is_measured_by_process(nvml: FakeNvml) -> None:
    """A process whose use the driver hides is left out."""
    assert devices.device_use(DeviceId("GPU-t4")) == devices.DeviceUse(
        used_bytes=100 * MIB, by_pid={7: 90 * MIB}
    )
    assert devices.device_use(DeviceId("GPU-other")) is None


def test_without_a_driver_there_are_no_devices_and_a_reason(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing raises: a CPU machine is a normal machine."""

    def refuse() -> None:
        raise nvml.NVMLError("NVML Shared Library Not Found")

    monkeypatch.setattr(nvml, "nvmlInit", refuse)
    found = devices.discover(CATALOGUE)
    assert found.devices == ()
    assert found.reason == "no NVIDIA driver answers (NVML Shared Library Not Found)"


def test_simulated_devices_are_marked_and_numbered() -> None:
    """The same type declared twice goes on counting."""
    declared = devices.simulated("T4:1, A10G:2,t4", CATALOGUE)
    assert [device.id for device in declared] == [
        "sim-T4-0",
        "sim-A10G-0",
        "sim-A10G-1",
        "sim-T4-1",
    ]
    assert all(device.is_simulated for device in declared)
    assert declared[0].memory_bytes == 15360 * MIB
    assert devices.simulated("", CATALOGUE) == ()


@pytest.mark.parametrize(
    ("text", "words"), [("A1OG", "A10G"), ("T4:x", "not understood"), ("T4:2000", "over 1024")]
)
def test_a_simulated_device_that_cannot_be_is_refused(text: str, words: str) -> None:
    """The message names the near type or the notation."""
    with pytest.raises(ValueError, match=words):
        devices.simulated(text, CATALOGUE)


def write(root: Path, files: dict[str, str]) -> Path:
    """Lay files out under a root as the kernel shows them."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_version_2_limits_of_any_ancestor_hold(tmp_path: Path) -> None:
    """The smallest limit on the way up wins."""
    root = write(
        tmp_path,
        {
            "proc/meminfo": "MemTotal:       16000000 kB\n",
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/memory.max": "1073741824\n",
            "sys/fs/cgroup/a/b/memory.max": "max\n",
            "sys/fs/cgroup/a/b/cpu.max": "50000 100000\n",
        },
    )
    found = devices.host_capacity(root)
    assert found == devices.HostCapacity(memory_bytes=1024**3, vcpus=0.5)


def test_version_1_limits_hold(tmp_path: Path) -> None:
    """An unlimited group reads as a huge number, a quota of -1 as none."""
    root = write(
        tmp_path,
        {
            "proc/meminfo": "MemTotal:       2000000 kB\n",
            "proc/self/cgroup": "4:memory:/x\n1:cpu,cpuacct:/\n",
            "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1000000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    found = devices.host_capacity(root)
    assert found.memory_bytes == 1_000_000
    assert found.vcpus >= 1


def test_this_machine_is_measured() -> None:
    """Whatever runs the tests has memory and processors."""
    found = devices.host_capacity()
    assert found.memory_bytes > 0
    assert found.vcpus > 0


@pytest.mark.gpu
def test_a_real_gpu_is_listed() -> None:
    """Run where there is one: its type is in the catalogue and its use can be measured."""
    found = devices.discover(CATALOGUE)
    if not found.devices:
        pytest.skip(found.reason or "no GPU")
    assert CATALOGUE.gpu(found.devices[0].type) is not None
    use = devices.device_use(found.devices[0].id)
    assert use is not None
    assert use.used_bytes < found.devices[0].memory_bytes
