"""The real driver: what it frees, what it brings back, what a parked replica then answers."""

import asyncio
import subprocess
from pathlib import Path

import memory_holder
import pytest
from local_rig import Rig, play, spec, until

from coldspark.node.gpu.cuda_suspension import SuspensionFailed, open_suspension
from coldspark.node.gpu.devices import device_use
from coldspark.node.gpu.gpu_parking import HELD_BYTES_MAX
from coldspark.spec.messages import Device, Reservation
from coldspark.spec.types import GIB, HandlerProgram, NodeId, ReplicaId

pytestmark = [pytest.mark.gpu, pytest.mark.process]

HOLDER = Path(memory_holder.__file__).read_text()
HANDLER = f"""
{HOLDER.partition("if __name__")[0]}
def model_fn(model_dir): return Memory()
def transform_fn(model, data, content_type, accept): return str(model.is_whole())
"""


def held(gpu: Device, pid: int) -> int:
    """Return what NVML says that a process holds."""
    use = device_use(gpu.id)
    assert use is not None
    return use.by_pid.get(pid, 0)


def is_whole(holder: "subprocess.Popen[str]") -> bool:
    """Ask the process whether its memory is as it was."""
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("?\n")
    holder.stdin.flush()
    return holder.stdout.readline() == "True\n"


def test_device_memory_goes_and_comes_back_unchanged(
    gpu: Device, checkpoints: int, holder: "subprocess.Popen[str]"
) -> None:
    """By NVML, for a process that knows nothing of it; twice."""
    assert held(gpu, holder.pid) >= memory_holder.SIZE_BYTES

    async def away_and_back() -> None:
        suspension = await open_suspension()
        try:
            await suspension.suspend([holder.pid])
            await until(lambda: held(gpu, holder.pid) <= HELD_BYTES_MAX)
            assert held(gpu, suspension.pid) == 0, "what moves the memory holds none itself"
            await suspension.resume()
        finally:
            await suspension.ended()

    for _ in range(2):
        asyncio.run(away_and_back())
        assert held(gpu, holder.pid) >= memory_holder.SIZE_BYTES
        assert is_whole(holder)


def test_a_process_without_cuda_is_refused_and_runs_on(gpu: Device, checkpoints: int) -> None:
    """The driver says so."""
    process = subprocess.Popen(["sleep", "60"])

    async def suspend() -> None:
        suspension = await open_suspension()
        try:
            with pytest.raises(SuspensionFailed):
                await suspension.suspend([process.pid])
        finally:
            await suspension.ended()

    try:
        asyncio.run(suspend())
        assert process.poll() is None
    finally:
        process.kill()
        process.wait(10)


def test_a_replica_on_a_gpu_is_parked_and_answers_as_before(
    tmp_path: Path, gpu: Device, checkpoints: int
) -> None:
    """The whole way: engine, driver, NVML, frost, and back."""

    async def scenario(rig: Rig) -> None:
        model = rig.model("m", {"code/inference.py": HANDLER})
        what = spec(handler=HandlerProgram(), model=model, memory_bytes=2 * GIB)
        room = Reservation(replica=ReplicaId("r1"), node=NodeId("n"), devices=(gpu,))
        replica = await rig.ready(rig.start(what, room))
        pid = rig.pid(replica)
        assert held(gpu, pid) >= memory_holder.SIZE_BYTES
        for times in (2, 3):
            rig.engine.park(replica)
            await until(lambda: rig.listener.heard[replica][-1] != "ready")
            assert rig.listener.heard[replica][-1] == "parked"
            assert held(gpu, pid) <= HELD_BYTES_MAX
            rig.engine.unpark(replica, room)
            await until(lambda n=times: rig.listener.heard[replica].count("ready") == n)
            assert (await rig.call(replica, b"").ended()).body == b"True"
            assert rig.pid(replica) == pid

    play(tmp_path, scenario)
