"""The processes of a system under test: everything that descends from this process.

This process adopts orphans (Linux's child subreaper), so what a peer sends into the background is
still found, counted and ended. Nothing else on the machine is ever touched.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_TERM_S, _LEFT_S, _KILL_S = 15.0, 3.0, 15.0
_BREATH_S = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


def adopt_orphans() -> None:
    """Make orphaned descendants children of this process. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def members() -> list[int]:
    """Return the living descendants of this process.

    Reading ``/proc`` takes time: a child that was read before its parent died hangs in the air. A
    second look, begun after the first, finds it adopted.
    """
    return list(dict.fromkeys([*_seen(), *_seen()]))


def _seen() -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(path.parent.name))
    found = list(children.get(os.getpid(), []))
    for pid in found:
        found += children.get(pid, [])
    return found


def pss_mb() -> float:
    """Return the memory of the tree; shared pages count by their share. Megabytes."""
    return sum(map(_pss_kb, members())) * 1024 / 1e6


def _pss_kb(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def cores_used(seconds: float) -> float:
    """Return how many cores the tree keeps busy. What begins and ends meanwhile is missed."""
    before, begun = {pid: _cpu_s(pid) for pid in members()}, time.monotonic()
    time.sleep(seconds)
    used = sum(max(0.0, _cpu_s(pid) - before.get(pid, 0.0)) for pid in members())
    return used / (time.monotonic() - begun)


def _cpu_s(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0


def end(leader: int) -> None:
    """Ask the leader to end, then kill what is left. Ctrl-C waits meanwhile."""
    held = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with suppress(ProcessLookupError):
            os.kill(leader, signal.SIGTERM)
        _within(_TERM_S, lambda: leader not in members())
        _within(_LEFT_S, lambda: not members())
        time.sleep(_BREATH_S)
        if not _within(_KILL_S, _all_killed):
            raise RuntimeError(f"processes that do not end: {members()}")
    finally:
        signal.signal(signal.SIGINT, held)


def _within(limit_s: float, is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.05)
    return False


def _all_killed() -> bool:
    """Kill what lives, reap what died; return whether nothing was left."""
    left = members()
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _reap()
    return not left


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
