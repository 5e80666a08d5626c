"""The checkpoint calls by real ctypes, against a stub of libcuda compiled here."""

import asyncio
import ctypes
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from stub_cuda import CHECKPOINTED, LOCKED, RUNNING, StubCuda

from coldspark.node.doctor import CheckStatus, check_gpu_parking
from coldspark.node.gpu import cuda_checkpoint
from coldspark.node.gpu.cuda_checkpoint import (
    CheckpointCallFailed,
    CheckpointDriver,
    CheckpointUnavailable,
    CudaProcessState,
    LockArgs,
)
from coldspark.node.gpu.cuda_suspension import Suspension, SuspensionFailed, open_suspension

NOT_READY, NOT_SUPPORTED = 600, 801
PID, OTHER = 4_000_001, 4_000_002


@pytest.fixture
def stub(tmp_path: Path) -> StubCuda:
    """A driver of two processes that use CUDA."""
    made = StubCuda(tmp_path / "cuda")
    made.put(str(PID), RUNNING)
    made.put(str(OTHER), RUNNING)
    return made


def helped(stub: StubCuda, body: Callable[[Suspension], Awaitable[None]], within_s: float) -> None:
    """Run a body with a suspension, and see that its process ends."""

    async def run() -> None:
        suspension = await open_suspension(stub.library, within_s)
        try:
            await body(suspension)
        finally:
            suspension.close()
            await suspension.ended()

    asyncio.run(run())


def test_the_lock_s_arguments_are_laid_out_as_in_the_header() -> None:
    """Eight words of eight bytes, the timeout first."""
    assert ctypes.sizeof(LockArgs) == 64
    assert (LockArgs.timeoutMs.offset, LockArgs.reserved0.offset) == (0, 4)
    assert LockArgs.reserved1.offset == 8


def test_a_process_goes_through_the_states_and_back(stub: StubCuda) -> None:
    """Lock, checkpoint, restore, unlock."""
    driver = CheckpointDriver(stub.library)
    driver.init()
    seen = [driver.state(PID)]
    driver.lock(PID, 50)
    for step in (driver.checkpoint, driver.restore, driver.unlock):
        seen.append(driver.state(PID))
        step(PID)
    seen.append(driver.state(PID))
    assert seen == [
        CudaProcessState.RUNNING,
        CudaProcessState.LOCKED,
        CudaProcessState.CHECKPOINTED,
        CudaProcessState.LOCKED,
        CudaProcessState.RUNNING,
    ]
    assert driver.restore_thread(PID) == PID + 1


def test_a_call_that_says_no_is_told_by_its_name(stub: StubCuda) -> None:
    """The driver's own word for it."""
    driver = CheckpointDriver(stub.library)
    with pytest.raises(
        CheckpointCallFailed, match="cuCheckpointProcessCheckpoint said CUDA_ERROR_ILLEGAL"
    ):
        driver.checkpoint(PID)
    with pytest.raises(CheckpointCallFailed, match="CUDA_ERROR_INVALID_VALUE"):
        driver.state(1)


def test_a_state_of_a_later_driver_counts_as_failed(stub: StubCuda) -> None:
    """Nobody here could go on from it."""
    stub.put(str(PID), 77)
    assert CheckpointDriver(stub.library).state(PID) is CudaProcessState.FAILED


def test_no_driver_an_old_one_and_no_driver_at_all_are_told_apart(tmp_path: Path) -> None:
    """In words that say what would help."""
    with pytest.raises(CheckpointUnavailable, match=r"libcuda-none\.so cannot be loaded"):
        CheckpointDriver(str(tmp_path / "libcuda-none.so"))
    with pytest.raises(CheckpointUnavailable, match="no CUDA driver"):
        CheckpointDriver("libm.so.6")
    old = StubCuda(tmp_path / "old", version=12_040, is_old=True)
    with pytest.raises(
        CheckpointUnavailable, match=r"CUDA 12\.4\) lacks cuCheckpoint.*570 or newer"
    ):
        CheckpointDriver(old.library)
    early = StubCuda(tmp_path / "early", version=12_060)
    with pytest.raises(CheckpointUnavailable, match=r"CUDA 12\.6\) is too old"):
        CheckpointDriver(early.library)


def test_processes_are_all_locked_before_one_is_checkpointed(stub: StubCuda) -> None:
    """Those that work together stop together, and go on together."""
    driver = CheckpointDriver(stub.library)
    driver.init()
    cuda_checkpoint.suspend(driver, [PID, OTHER], 50)
    cuda_checkpoint.resume(driver, [PID, OTHER])
    words = ("lock", "checkpoint", "restore", "unlock")
    assert stub.calls()[1:] == [f"{word} {pid}" for word in words for pid in (PID, OTHER)]


@pytest.mark.process
def test_the_calls_are_made_in_another_process(stub: StubCuda) -> None:
    """It is initialised before the restore, and the same one does both."""

    async def body(suspension: Suspension) -> None:
        await suspension.suspend([PID, OTHER])
        assert (stub.get(PID), stub.get(OTHER)) == (CHECKPOINTED, CHECKPOINTED)
        await suspension.resume()
        assert (stub.get(PID), stub.get(OTHER)) == (RUNNING, RUNNING)

    helped(stub, body, 20)
    assert stub.calls()[0] == "init 0"
    assert stub.library not in Path("/proc/self/maps").read_text()


@pytest.mark.process
@pytest.mark.parametrize(("call", "code"), [("lock", NOT_READY), ("checkpoint", NOT_SUPPORTED)])
def test_what_cannot_be_suspended_runs_on(stub: StubCuda, call: str, code: int) -> None:
    """The one that was locked already is unlocked."""
    stub.put(f"fail-{call}", code)

    async def body(suspension: Suspension) -> None:
        with pytest.raises(SuspensionFailed, match="CUDA_ERROR_NOT_") as failure:
            await suspension.suspend([PID, OTHER])
        assert failure.value.is_running
        assert (stub.get(PID), stub.get(OTHER)) == (RUNNING, RUNNING)

    helped(stub, body, 20)


@pytest.mark.process
def test_what_cannot_be_undone_is_told(stub: StubCuda) -> None:
    """Such a process is of no use any more."""
    stub.put("fail-checkpoint", 999)
    stub.put("fail-unlock", 999)

    async def body(suspension: Suspension) -> None:
        with pytest.raises(SuspensionFailed, match="CUDA_ERROR_UNKNOWN") as failure:
            await suspension.suspend([PID])
        assert not failure.value.is_running
        assert stub.get(PID) == LOCKED

    helped(stub, body, 20)


@pytest.mark.process
def test_a_call_that_hangs_ends_with_its_process(stub: StubCuda) -> None:
    """The event loop never waits for a driver."""
    stub.put("hang-checkpoint", 1)

    async def body(suspension: Suspension) -> None:
        with pytest.raises(SuspensionFailed, match=r"did not suspend it within 0\.5 s") as failure:
            await suspension.suspend([PID])
        assert not failure.value.is_running

    helped(stub, body, 0.5)


@pytest.mark.process
def test_why_it_is_unavailable_comes_from_the_other_process(tmp_path: Path) -> None:
    """Also that cuInit found no device."""
    stub = StubCuda(tmp_path)
    stub.put("fail-init", 100)
    with pytest.raises(CheckpointUnavailable, match="cuInit said CUDA_ERROR_NO_DEVICE"):
        asyncio.run(open_suspension(stub.library))
    with pytest.raises(CheckpointUnavailable, match="cannot be loaded"):
        asyncio.run(open_suspension(str(tmp_path / "none.so")))


@pytest.mark.process
def test_the_doctor_says_whether_device_memory_can_be_parked(tmp_path: Path) -> None:
    """And why not, where it cannot."""
    row = check_gpu_parking(StubCuda(tmp_path / "new", version=13_000).library)
    assert row.status is CheckStatus.OK
    assert row.detail.startswith("CUDA 13.0 checkpoints device memory")
    row = check_gpu_parking(StubCuda(tmp_path / "old", version=12_040, is_old=True).library)
    assert row.status is CheckStatus.WARN
    assert "lacks cuCheckpointProcessGetState" in row.detail
