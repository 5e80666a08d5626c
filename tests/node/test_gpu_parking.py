"""Parked replicas on GPUs: real processes and real ctypes; driver and NVML are stubs."""

import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from local_rig import DEADLINE_S, ECHO, Rig, alive, gone, play, spec, until
from stub_cuda import CHECKPOINTED, RUNNING, StubCuda
from test_local_parking import HOOKED, is_frozen

from coldspark.node.cgroups import Cgroups
from coldspark.node.gpu import gpu_parking
from coldspark.node.gpu.devices import DeviceUse
from coldspark.node.gpu.gpu_parking import GpuTools
from coldspark.spec.messages import Device, Reservation
from coldspark.spec.types import GIB, MIB, DeviceId, HandlerProgram, NodeId, ReplicaId, RootCause

pytestmark = pytest.mark.process
MODEL_BYTES = 700 * MIB
"""More than the default memory limit leaves free."""
TELLING = """
import os
def model_fn(d): return None
def transform_fn(model, data, content_type, accept): return os.environ["CUDA_VISIBLE_DEVICES"]
"""

DEAF = """
import signal
def model_fn(d): signal.signal(signal.SIGTERM, lambda *_: print("asked to end", flush=True))
def transform_fn(model, data, content_type, accept): return data, "text/plain"
"""


def device(name: str = "GPU-1") -> Device:
    """A whole device."""
    return Device(id=DeviceId(name), type="T4", memory_bytes=16 * GIB)


def grant(name: str = "GPU-1") -> Reservation:
    """Room on one device."""
    return Reservation(replica=ReplicaId("r1"), node=NodeId("n"), devices=(device(name),))


class Gpu:
    """A driver that moves memory as it is told, and an NVML that says where it is."""

    def __init__(self, directory: Path, *, is_old: bool = False) -> None:
        self.stub = StubCuda(directory / "cuda", is_old=is_old)
        self.pids: list[int] = []
        self.strangers: dict[int, int] = {}
        self.is_measurable = True

    def hold(self, rig: Rig, replica: ReplicaId, size_bytes: int = MODEL_BYTES) -> int:
        """Let a replica hold memory."""
        pid = rig.pid(replica)
        self.pids.append(pid)
        self.stub.put(str(pid), RUNNING)
        self.stub.put(f"{pid}.bytes", size_bytes)
        return pid

    def held(self, pid: int) -> int:
        """Return what a process holds."""
        return self.stub.get(f"{pid}.bytes")

    def measure(self, id: DeviceId) -> DeviceUse | None:
        """Be NVML."""
        assert threading.current_thread() is not threading.main_thread()
        if not self.is_measurable:
            return None
        by_pid = {pid: self.held(pid) for pid in self.pids if self.held(pid)} | self.strangers
        return DeviceUse(used_bytes=sum(by_pid.values()), by_pid=by_pid)


def played(gpu: Gpu, directory: Path, scenario: Callable[[Rig], Awaitable[None]]) -> None:
    """Run a scenario on a machine with the GPU."""
    tools = GpuTools(library=gpu.stub.library, within_s=DEADLINE_S, measure=gpu.measure)
    play(directory, scenario, gpu_tools=tools)  # type: ignore[arg-type]


async def started(rig: Rig, text: str = ECHO) -> ReplicaId:
    """Start a replica on the device."""
    what = spec(handler=HandlerProgram(), model=rig.model("m", {"code/inference.py": text}))
    return await rig.ready(rig.start(what, grant()))


async def heard(rig: Rig, replica: ReplicaId, words: str) -> str:
    """Wait for what the listener hears, and return it."""
    await until(lambda: any(words in one for one in rig.listener.heard[replica]))
    return next(one for one in rig.listener.heard[replica] if words in one)


def test_its_memory_is_moved_to_the_host_and_back(tmp_path: Path) -> None:
    """Frozen only once the device is free, as often as one likes, in one process."""
    gpu = Gpu(tmp_path)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig)
        pid = gpu.hold(rig, replica)
        for number in range(2):
            rig.engine.park(replica)
            await until(lambda: is_frozen(pid))
            assert (gpu.held(pid), gpu.stub.get(pid)) == (0, CHECKPOINTED)
            gpu.stub.put(f"{pid}.bytes", MODEL_BYTES)
            rig.engine.unpark(replica, grant())
            count = number + 2
            await until(lambda n=count: rig.listener.heard[replica].count("ready") == n)
            assert gpu.stub.get(pid) == RUNNING
            assert (await rig.call(replica, b"x").ended()).body == b"x"
        assert rig.pid(replica) == pid

    played(gpu, tmp_path, scenario)
    assert [call.split()[0] for call in gpu.stub.calls()] == [
        *("init", "lock", "checkpoint", "restore", "unlock") * 2
    ]


def test_the_hook_gives_back_first_and_the_driver_what_is_left(tmp_path: Path) -> None:
    """The context at least; on the way back the driver comes first."""
    gpu = Gpu(tmp_path)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig, "FAILS = False\n" + HOOKED)
        pid = gpu.hold(rig, replica)
        rig.engine.park(replica)
        await heard(rig, replica, "parked")
        assert gpu.stub.get(pid) == CHECKPOINTED
        rig.engine.unpark(replica)
        await until(lambda: rig.listener.heard[replica].count("ready") == 2)
        answer = await rig.call(replica, b"{}").ended()
        assert b'"events": ["park", "unpark"]' in answer.body

    played(gpu, tmp_path, scenario)


def test_a_hook_that_gives_all_back_needs_no_driver(tmp_path: Path) -> None:
    """Such as one that ends the process that used CUDA."""
    gpu = Gpu(tmp_path, is_old=True)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig, "FAILS = False\n" + HOOKED)
        gpu.hold(rig, replica, 3 * MIB)
        rig.engine.park(replica)
        await heard(rig, replica, "parked")

    played(gpu, tmp_path, scenario)


def test_without_hook_and_driver_it_is_not_frozen_with_its_memory_held(tmp_path: Path) -> None:
    """Frozen, it would keep the device's memory from everybody; it serves on."""
    gpu = Gpu(tmp_path, is_old=True)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig)
        gpu.hold(rig, replica)
        rig.engine.park(replica)
        words = await heard(rig, replica, "park failed")
        assert "it holds 734 MB of a GPU, which only its own process could give back" in words
        assert "570 or newer" in words
        assert (await rig.call(replica, b"x").ended()).body == b"x"

    played(gpu, tmp_path, scenario)


def test_memory_that_does_not_come_back_ends_the_replica(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leak is told in its log, and as why it was not parked."""
    monkeypatch.setattr(gpu_parking, "_RELEASED_WITHIN_S", 0.2)
    gpu = Gpu(tmp_path)
    gpu.stub.put("leak", 1)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig)
        pid = gpu.hold(rig, replica)
        rig.engine.park(replica)
        words = await heard(rig, replica, "park failed")
        assert "734 MB of device memory did not come back; it was killed" in words
        end = await rig.exited(replica)
        assert end.cause is RootCause.KILLED
        assert "parked" not in rig.listener.heard[replica]
        assert any("did not come back" in line for line in rig.engine.log_tail(replica, 20))
        await gone(pid)

    played(gpu, tmp_path, scenario)


def test_what_a_hook_leaves_without_a_driver_ends_the_replica(tmp_path: Path) -> None:
    """Its model lies where the hook put it: it could not serve on."""
    gpu = Gpu(tmp_path, is_old=True)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig, "FAILS = False\n" + HOOKED)
        gpu.hold(rig, replica)
        rig.engine.park(replica)
        assert "it was killed" in await heard(rig, replica, "park failed")
        await rig.exited(replica)

    played(gpu, tmp_path, scenario)


def test_a_driver_that_refuses_leaves_the_replica_serving(tmp_path: Path) -> None:
    """Such as memory of a kind that it cannot move."""
    gpu = Gpu(tmp_path)
    gpu.stub.put("fail-checkpoint", 801)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig)
        pid = gpu.hold(rig, replica)
        rig.engine.park(replica)
        assert "CUDA_ERROR_NOT_SUPPORTED" in await heard(rig, replica, "park failed")
        assert gpu.stub.get(pid) == RUNNING
        assert (await rig.call(replica, b"x").ended()).body == b"x"

    played(gpu, tmp_path, scenario)


def test_a_restore_that_fails_ends_the_replica(tmp_path: Path) -> None:
    """Somebody else took the device's memory; the next start makes another."""
    gpu = Gpu(tmp_path)
    gpu.stub.put("fail-restore", 2)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig)
        gpu.hold(rig, replica)
        rig.engine.park(replica)
        await heard(rig, replica, "parked")
        rig.engine.unpark(replica)
        await rig.exited(replica)
        tail = rig.engine.log_tail(replica, 20)
        assert any("cuCheckpointProcessRestore said CUDA_ERROR_OUT_OF_MEM" in one for one in tail)

    played(gpu, tmp_path, scenario)


@pytest.mark.parametrize("is_parked", [True, False])
def test_it_can_be_stopped_at_any_time(tmp_path: Path, is_parked: bool) -> None:
    """Parked: at once, for its CUDA calls would hang. Half-way: whatever the driver does."""
    gpu = Gpu(tmp_path)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig)
        pid = gpu.hold(rig, replica)
        if not is_parked:
            gpu.stub.put("hang-checkpoint", 1)
        rig.engine.park(replica)
        if is_parked:
            await heard(rig, replica, "parked")
        else:
            await until(lambda: f"checkpoint {pid}" in gpu.stub.calls())
        rig.engine.stop(replica, 30.0)
        await rig.exited(replica)
        assert not alive(pid)

    played(gpu, tmp_path, scenario)


def test_one_that_is_stopped_before_its_memory_moves_ends_in_order(tmp_path: Path) -> None:
    """A checkpoint of what is ending would only keep it from its end."""
    gpu = Gpu(tmp_path)
    asked, released = threading.Event(), threading.Event()

    def slow(id: DeviceId) -> DeviceUse | None:
        asked.set()
        released.wait(DEADLINE_S)
        return DeviceUse(used_bytes=MODEL_BYTES, by_pid={gpu.pids[0]: MODEL_BYTES})

    gpu.measure = slow  # type: ignore[method-assign]

    async def scenario(rig: Rig) -> None:
        replica = await started(rig, DEAF)
        gpu.hold(rig, replica)
        rig.engine.park(replica)
        await until(asked.is_set)
        moving = rig.engine._replicas[replica]._parking._moving
        assert moving is not None
        rig.engine.stop(replica, 30.0)
        released.set()
        await until(moving.done)
        await rig.printed(replica, "asked to end")
        rig.engine.stop(replica, 0)
        await rig.exited(replica)

    played(gpu, tmp_path, scenario)
    assert gpu.stub.calls() == []


def test_a_room_on_another_device_starts_it_anew_there(tmp_path: Path) -> None:
    """A process keeps the devices that it saw first; nobody hears of an end."""
    gpu = Gpu(tmp_path)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig, TELLING)
        pid = gpu.hold(rig, replica)
        assert (await rig.call(replica, b"").ended()).body == b"GPU-1"
        rig.engine.park(replica)
        await heard(rig, replica, "parked")
        rig.engine.unpark(replica, grant("GPU-2"))
        await until(lambda: rig.listener.heard[replica].count("ready") == 2)
        assert (await rig.call(replica, b"").ended()).body == b"GPU-2"
        assert rig.pid(replica) != pid
        tail = rig.engine.log_tail(replica, 20)
        assert any("its room is now on GPU-2: it is started anew there" in one for one in tail)
        assert not alive(pid)

    played(gpu, tmp_path, scenario)


def test_a_replica_that_is_stopped_while_it_is_started_anew_ends(tmp_path: Path) -> None:
    """It does not come back after its end was asked for."""
    gpu = Gpu(tmp_path)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig)
        gpu.hold(rig, replica)
        rig.engine.park(replica)
        await heard(rig, replica, "parked")
        rig.engine.unpark(replica, grant("GPU-2"))
        rig.engine.stop(replica, 0)
        await rig.exited(replica)
        assert rig.engine.pid(replica) is None

    played(gpu, tmp_path, scenario)


def test_the_memory_limit_makes_room_for_what_comes_to_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of a model on a device is far less than the model."""
    gpu = Gpu(tmp_path)
    limits: list[int] = []
    create = Cgroups.create

    def created(self: Cgroups, *arguments: object) -> object:
        cgroup = create(self, *arguments)  # type: ignore[arg-type]
        if cgroup is not None:
            limit = cgroup.limit
            monkeypatch.setattr(
                cgroup,
                "limit",
                lambda bounds: (limits.append(bounds.memory_max_bytes), limit(bounds)),
            )
        return cgroup

    monkeypatch.setattr(Cgroups, "create", created)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig)
        gpu.hold(rig, replica)
        rig.engine.park(replica)
        await heard(rig, replica, "parked")
        if "memory limits" not in rig.engine.describe():
            assert limits[-1] == GIB + MODEL_BYTES

    played(gpu, tmp_path, scenario)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("unmeasurable", "cannot be measured by NVML"),
        ("strangers", "processes that are not seen here"),
        ("unlisted", "NVML does not say what it holds"),
        ("no room", "are free in host memory"),
    ],
)
def test_what_cannot_be_known_or_held_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, words: str
) -> None:
    """It serves on, and the reason is told."""
    gpu = Gpu(tmp_path)

    async def scenario(rig: Rig) -> None:
        replica = await started(rig)
        if what == "unmeasurable":
            gpu.is_measurable = False
        elif what == "strangers":
            gpu.strangers = {2**22 + 7: GIB}
        elif what == "unlisted":
            monkeypatch.setattr(gpu_parking, "_target", lambda file: "/dev/nvidia0")
        else:
            gpu.hold(rig, replica)
            monkeypatch.setattr(gpu_parking, "available_bytes", lambda: 100 * MIB)
        rig.engine.park(replica)
        assert words in await heard(rig, replica, "park failed")
        assert not is_frozen(rig.pid(replica))
        assert (await rig.call(replica, b"x").ended()).body == b"x"

    played(gpu, tmp_path, scenario)


def test_host_memory_is_what_the_kernel_says() -> None:
    """Less than the machine has, and more than nothing."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < gpu_parking.available_bytes() <= total
