"""Move the CUDA state of a process to host memory and back: libcuda's checkpoint calls, by ctypes.

As a module it says what the calls are; as a program (``python -I -S cuda_checkpoint.py LIBRARY``)
it is the helper that makes them, one JSON line in and one out, until its input ends. Only the
helper loads libcuda: a call that hangs is ended with it, and the platform's own process never
initialises CUDA. It therefore imports nothing but the standard library.

Signatures, layouts and values are those of cuda.h 12.8 (the first with these calls; driver 570),
read again in the driver API's reference of 13.4, which adds two states and gives some reserved
fields a meaning; all arguments but the lock's are optional and left out here. Of the reference:

- lock: RUNNING to LOCKED; when its timeout is reached, CUDA_ERROR_NOT_READY, and RUNNING still;
- checkpoint: LOCKED to CHECKPOINTED, memory in the process's own host memory, devices let go;
- restore: CHECKPOINTED to LOCKED; needs persistence mode, or cuInit called before by the caller;
- unlock: LOCKED to RUNNING.

NVIDIA's notes to cuda-checkpoint add: x86-64 alone; no MIG; IPC memory from driver 610 on.
"""

import ctypes
import json
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

LIBRARY = "libcuda.so.1"
VERSION_MIN = 12_080
"""CUDA 12.8, as ``cuDriverGetVersion`` counts: driver 570."""
LOCK_TIMEOUT_MS = 10_000
"""How long work that was already submitted may take to finish. An idle replica has none."""
_CALLS = ("GetState", "GetRestoreThreadId", "Lock", "Checkpoint", "Restore", "Unlock")
_RESULTS = {
    1: "CUDA_ERROR_INVALID_VALUE",
    2: "CUDA_ERROR_OUT_OF_MEMORY",
    3: "CUDA_ERROR_NOT_INITIALIZED",
    100: "CUDA_ERROR_NO_DEVICE",
    101: "CUDA_ERROR_INVALID_DEVICE",
    201: "CUDA_ERROR_INVALID_CONTEXT",
    304: "CUDA_ERROR_OPERATING_SYSTEM",
    401: "CUDA_ERROR_ILLEGAL_STATE",
    600: "CUDA_ERROR_NOT_READY",
    800: "CUDA_ERROR_NOT_PERMITTED",
    801: "CUDA_ERROR_NOT_SUPPORTED",
    999: "CUDA_ERROR_UNKNOWN",
}


class CudaProcessState(IntEnum):
    """``CUprocessState``."""

    RUNNING = 0
    LOCKED = 1
    CHECKPOINTED = 2
    FAILED = 3
    CHECKPOINTING = 4
    RESTORING = 5


class LockArgs(ctypes.Structure):
    """``CUcheckpointLockArgs``: 64 bytes."""

    _fields_ = [
        ("timeoutMs", ctypes.c_uint),
        ("reserved0", ctypes.c_uint),
        ("reserved1", ctypes.c_uint64 * 7),
    ]


class CheckpointUnavailable(Exception):
    """These calls cannot be made here; the message says why."""


class CheckpointCallFailed(Exception):
    """A call of libcuda said no."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call} said {_RESULTS.get(code, f'CUDA error {code}')}")
        self.code = code


class CheckpointDriver:
    """The checkpoint calls of one libcuda. Each blocks until the driver has done it."""

    def __init__(self, library: str = LIBRARY) -> None:
        """Load it. Raises Unavailable."""
        try:
            self._library = ctypes.CDLL(library)
        except OSError as error:
            reason = str(error).removeprefix(f"{library}: ")
            raise CheckpointUnavailable(f"{library} cannot be loaded: {reason}") from error
        self.version = self._version(library)
        missing = [name for name in _CALLS if not hasattr(self._library, _symbol(name))]
        if missing or self.version < VERSION_MIN:
            what = f"lacks {_symbol(missing[0])}" if missing else "is too old"
            raise CheckpointUnavailable(
                f"the driver (CUDA {self.version // 1000}.{self.version % 1000 // 10}) {what}:"
                " driver 570 or newer moves device memory to the host"
            )

    def _version(self, library: str) -> int:
        found = ctypes.c_int(0)
        if not hasattr(self._library, "cuDriverGetVersion"):
            raise CheckpointUnavailable(
                f"{library} has no cuDriverGetVersion: it is no CUDA driver"
            )
        self._check("cuDriverGetVersion", self._library.cuDriverGetVersion(ctypes.byref(found)))
        return found.value

    def init(self) -> None:
        """Initialise the driver in this process; it makes no context."""
        self._check("cuInit", self._library.cuInit(ctypes.c_uint(0)))

    def state(self, pid: int) -> CudaProcessState:
        """Return how far a process is."""
        found = ctypes.c_int(-1)
        self._call("GetState", pid, ctypes.byref(found))
        # A state of a later driver is none that anybody here could go on from.
        return (
            CudaProcessState(found.value)
            if found.value in list(CudaProcessState)
            else CudaProcessState.FAILED
        )

    def restore_thread(self, pid: int) -> int:
        """Return the id of the thread in the process that does the work of a restore."""
        found = ctypes.c_int(0)
        self._call("GetRestoreThreadId", pid, ctypes.byref(found))
        return found.value

    def lock(self, pid: int, timeout_ms: int) -> None:
        """Let submitted work finish and hold further calls back, for so long at most."""
        arguments = LockArgs(timeoutMs=timeout_ms)
        self._call("Lock", pid, ctypes.byref(arguments))

    def checkpoint(self, pid: int) -> None:
        """Copy device memory to the host, and let the devices go."""
        self._call("Checkpoint", pid, None)

    def restore(self, pid: int) -> None:
        """Take the devices again and copy the memory back."""
        self._call("Restore", pid, None)

    def unlock(self, pid: int) -> None:
        """Let the process go on."""
        self._call("Unlock", pid, None)

    def _call(self, name: str, pid: int, arguments: Any) -> None:
        function = getattr(self._library, _symbol(name))
        self._check(_symbol(name), function(ctypes.c_int(pid), arguments))

    def _check(self, call: str, code: int) -> None:
        if code != 0:
            raise CheckpointCallFailed(call, code)


def suspend(driver: CheckpointDriver, pids: Sequence[int], lock_timeout_ms: int) -> None:
    """Checkpoint processes, all or none. Raises CheckpointCallFailed.

    All are locked before the first is checkpointed: processes that work together then stop
    together. The driver does not promise to leave a process well whose checkpoint failed, so what
    could not be brought back to RUNNING is for the caller to end.
    """
    try:
        for pid in pids:
            driver.lock(pid, lock_timeout_ms)
        for pid in pids:
            driver.checkpoint(pid)
    except CheckpointCallFailed:
        for pid in pids:
            _undo(driver, pid)
        raise


def resume(driver: CheckpointDriver, pids: Sequence[int]) -> None:
    """Bring checkpointed processes back, then let them all go on. Raises CheckpointCallFailed."""
    for pid in pids:
        driver.restore(pid)
    for pid in pids:
        driver.unlock(pid)


def _undo(driver: CheckpointDriver, pid: int) -> None:
    try:
        if driver.state(pid) is CudaProcessState.CHECKPOINTED:
            driver.restore(pid)
        if driver.state(pid) is CudaProcessState.LOCKED:
            driver.unlock(pid)
    except CheckpointCallFailed:
        # ``_are_running`` finds it out, for all of them.
        return


def _are_running(driver: CheckpointDriver, pids: Sequence[int]) -> bool:
    try:
        return all(driver.state(pid) is CudaProcessState.RUNNING for pid in pids)
    except CheckpointCallFailed:
        return False


def _symbol(name: str) -> str:
    return f"cuCheckpointProcess{name}"


def answer(driver: CheckpointDriver, question: dict[str, Any]) -> dict[str, Any]:
    """Do what one line asks for: ``{"do": "suspend" | "resume", "pids": […]}``."""
    pids = [int(pid) for pid in question["pids"]]
    try:
        if question["do"] == "suspend":
            suspend(driver, pids, int(question["lock_timeout_ms"]))
        else:
            resume(driver, pids)
    except CheckpointCallFailed as failure:
        return {"trouble": str(failure), "running": _are_running(driver, pids)}
    return {"trouble": None}


def serve(library: str) -> None:
    """Answer the lines of standard input: first whether the calls are there at all."""
    try:
        driver = CheckpointDriver(library)
        driver.init()
    except (CheckpointUnavailable, CheckpointCallFailed) as error:
        _say({"trouble": str(error)})
        return
    _say({"trouble": None, "version": driver.version})
    for line in sys.stdin:
        _say(answer(driver, json.loads(line)))


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
