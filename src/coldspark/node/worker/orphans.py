"""Find and kill what a replica leaves behind: its group, its session, its cgroups, its mark.

Only descendants of the template are ever looked at: it is their subreaper, so whatever a replica
started, however far removed, is one. A process outside that tree is never touched.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from . import kernel_calls, process_tag

KILL_DEADLINE_S = 3.0
_ROUND_MS = 5.0


class Process(NamedTuple):
    """One line of /proc/PID/stat."""

    pid: int
    parent: int
    group: int
    session: int
    is_dead: bool
    """A zombie: it runs no more, and only waits to be reaped."""


def descendants(root: int, spared: Collection[int] = ()) -> list[Process]:
    """Return every process below ``root``, the dead ones included, but nothing from ``spared``."""
    found, open_pids = [], [root]
    children_of = _read_children if _tells_children() else _searched_children()
    while open_pids:
        below = [pid for pid in children_of(open_pids.pop()) if pid not in spared]
        found += [process for process in map(read, below) if process is not None]
        open_pids += below
    return found


def _tells_children() -> bool:
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def _read_children(pid: int) -> list[int]:
    """Ask the kernel for a process's children, without a look at all others.

    The list is whole as long as none of them is reaped meanwhile: ours are reaped by us alone, and
    what a dead replica left is ours.
    """
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            path = f"/proc/{pid}/task/{thread}/children"
            children += map(int, kernel_calls.read(path).split())
    except OSError:
        pass  # It has ended, and its children are somebody else's.
    return children


def _searched_children() -> Callable[[int], list[int]]:
    """Look at every process once, where the kernel was built without those lists."""
    children: dict[int, list[int]] = {}
    for process in _processes():
        children.setdefault(process.parent, []).append(process.pid)
    return lambda pid: children.get(pid, [])


def alive_below(root: int, spared: Collection[int]) -> list[Process]:
    """Return the living processes below ``root``, but nothing from ``spared`` on down."""
    return [process for process in descendants(root, spared) if not process.is_dead]


def _processes() -> Iterable[Process]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            process = read(int(name))
            if process is not None:
                yield process


def read(pid: int) -> Process | None:
    """Return the process, or None when there is none of that number."""
    try:
        line = kernel_calls.read(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The name in parentheses may hold anything, so count from its end.
    fields = line[line.rfind(b")") + 2 :].split()
    is_dead = fields[0] in (b"Z", b"X")
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), is_dead)


def processes_of_replica(
    replica: str, pid: int | None, cgroups: Sequence[str], spared: Collection[int] = ()
) -> list[Process]:
    """Return what lives of a replica. ``pid`` is its own process, unless that was reaped.

    ``spared`` are processes that it cannot have anything below, as the other replicas'.
    """
    members = _cgroup_members(cgroups)
    return [
        process
        for process in alive_below(os.getpid(), spared)
        if pid in (process.pid, process.group, process.session)
        or process.pid in members
        or process_tag.has_tag(process.pid, replica)
    ]


def _cgroup_members(cgroups: Sequence[str]) -> set[int]:
    members: set[int] = set()
    for path in cgroups:
        try:
            members.update(map(int, kernel_calls.read(path).split()))
        except (OSError, ValueError):
            continue
    return members


def kill_cgroups(cgroups: Sequence[str]) -> None:
    """Use the kernel's own atomic kill where a cgroup has it (version 2, not the root)."""
    for path in cgroups:
        try:
            kernel_calls.write(f"{os.path.dirname(path)}/cgroup.kill", b"1")
        except OSError:
            continue


def kill_until_gone(find: Callable[[], list[Process]]) -> bool:
    """Kill what ``find`` returns until it returns nothing; False when the deadline came first.

    Several rounds, because a process may fork between being found and being killed.
    """
    deadline_s = time.monotonic() + KILL_DEADLINE_S
    processes = find()
    while processes:
        if time.monotonic() > deadline_s:
            return False
        for process in processes:
            send(process.pid, signal.SIGKILL)
        select.poll().poll(_ROUND_MS)
        processes = find()
    return True


def send(pid: int, signal_number: int) -> None:
    """Signal one process, which may be gone already."""
    try:
        os.kill(pid, signal_number)
    except (ProcessLookupError, PermissionError):
        return


def send_to_group(pid: int, signal_number: int) -> None:
    """Signal the group that ``pid`` leads, or ``pid`` alone as long as it leads none."""
    process = read(pid)
    if process is None:
        return
    if process.group != pid:
        send(pid, signal_number)
        return
    try:
        os.killpg(pid, signal_number)
    except (ProcessLookupError, PermissionError):
        return
