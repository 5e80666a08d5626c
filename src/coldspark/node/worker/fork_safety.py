"""Make the template fit for forking after the user's imports, and prove that it is.

Threads do not survive a fork, and a library that used its thread pool before it hangs in every
child. So: pools are paused, Python threads and open GPUs rule a fork out, and where other threads
are left (BLAS helpers, mostly harmless) a canary child tries what a replica would do.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Iterable
from typing import NoReturn

CANARY_DEADLINE_S = 2.0
_OMP_PAUSE_HARD = 2
_OPENMP = ("libgomp", "libomp", "libiomp5")


def settle() -> int | None:
    """Put thread pools to rest and freeze the heap; return the threads torch would have used."""
    threads = _calm_torch()
    _pause_openmp()
    gc.collect()
    gc.disable()
    # Frozen objects are not traversed in the children, so their pages stay shared.
    gc.freeze()
    return threads


def _calm_torch() -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "set_num_threads"):
        return None
    threads = int(torch.get_num_threads())
    torch.set_num_threads(1)
    return threads


def _pause_openmp() -> None:
    """End the OpenMP pools: a child of a process that has one hangs at its first parallel loop."""
    for path in _mapped(_OPENMP):
        try:
            ctypes.CDLL(path).omp_pause_resource_all(_OMP_PAUSE_HARD)
        except (OSError, AttributeError):
            continue  # Too old to know the call; the canary will tell.


def _mapped(names: tuple[str, ...]) -> set[str]:
    with open("/proc/self/maps") as file:
        paths = {line.split(maxsplit=5)[5].strip() for line in file if "/" in line}
    return {path for path in paths if os.path.basename(path).startswith(names)}


def reason_against_fork() -> str | None:
    """Say why replicas must not be forked from this process, or None when they may."""
    names = _threads()
    if names:
        return f"the program started threads at import: {', '.join(names)}"
    device = _open_gpu()
    if device is not None:
        return f"the program opened {device} at import; a fork cannot use the GPU then"
    if len(os.listdir("/proc/self/task")) > 1:
        return _try_canary()
    return None


def reason_left_by_import(sockets_before: frozenset[str]) -> str | None:
    """Say what one import left in the process that a fork does not bear; quick, without a trial."""
    names = _threads()
    if names:
        return f"importing it starts threads: {', '.join(names)}"
    device = _open_gpu()
    if device is not None:
        return f"importing it opens {device}"
    if sockets() - sockets_before:
        return "importing it opens a socket"
    return None


def sockets() -> frozenset[str]:
    """Return the sockets that are open, each by its number in the kernel."""
    return frozenset(target for target in _open_files() if target.startswith("socket:"))


def _threads() -> list[str]:
    """Return the names of Python's threads but this one; the first eight."""
    return [thread.name for thread in threading.enumerate() if thread.is_alive()][1:9]


def socket_opened(descriptors: Iterable[int]) -> str | None:
    """Say that one of the descriptors is a socket: forks of one connection would talk across."""
    for descriptor in descriptors:
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                return "a socket was opened while the model was loaded"
        except OSError:
            continue
    return None


def _open_gpu() -> str | None:
    return next((target for target in _open_files() if target.startswith("/dev/nvidia")), None)


def _open_files() -> list[str]:
    targets = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    return targets


def _try_canary() -> str | None:
    """Fork a child that does what replicas do; say what went wrong, or None."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _sing()
    os.close(writer)
    # The pipe ends when the child does: no polling, and nothing of Python between the two.
    is_over = bool(select.select([reader], [], [], CANARY_DEADLINE_S)[0])
    os.close(reader)
    if not is_over:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not is_over:
        return f"a trial fork hung for {CANARY_DEADLINE_S:g} s; threads left: {_thread_names()}"
    if status != 0:
        return f"a trial fork failed with status {status}; threads left: {_thread_names()}"
    return None


def _sing() -> NoReturn:
    """Use threads, BLAS and OpenMP as a replica might, then exit."""
    status = 1
    try:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
        _multiply()
        _use_torch()
        status = 0
    finally:
        os._exit(status)


def _multiply() -> None:
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        # Large enough for a BLAS to share it out among its threads.
        matrix = numpy.ones((256, 256), dtype=numpy.float32)
        _ = matrix @ matrix


def _use_torch() -> None:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "set_num_threads"):
        return
    torch.set_num_threads(2)
    # Above the grain size, so that two threads really take part.
    _ = torch.ones(1 << 17).clone().exp().sum()
    _ = torch.ones(256, 256) @ torch.ones(256, 256)
    try:
        torch.set_num_interop_threads(2)
    except RuntimeError:
        # Somebody set it, which is fine, or used that pool, which no child can. Try it.
        torch.jit.CompilationUnit(_INTEROP).both(torch.ones(1))


_INTEROP = """
def add(x):
    return x + 1

def both(x):
    return torch.jit.wait(torch.jit.fork(add, x))
"""


def _thread_names() -> str:
    names = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as file:
                names.append(file.read().strip())
        except OSError:
            continue
    return ", ".join(sorted(names)[:8])
