"""Hold each replica in its own cgroups: memory limit, CPU weight, process limit, kill, freeze.

Three layouts exist: v2 (one tree with every controller), v1 (a tree per controller), and hybrid
(v1 controllers, and a v2 tree without them that still kills and freezes). On v1 our directory is
made at the root of each tree, as dockerd does; on v2 below our own cgroup, as delegation wants.
What cannot be written is not enforced, and ``describe`` says so: the platform works without.

The memory limit is ``resources.memory_bytes``, but never below ``MEMORY_BYTES_MIN``: the default
of 1 GiB is accounting that a small replica may rely on, and less than 256 MiB ends most Python
processes before they can say why. CPU is a weight, not a quota: an idle machine may be used whole.
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from coldspark.spec.types import MIB, ReplicaId

MEMORY_BYTES_MIN = 256 * MIB
_CONTROLLERS = ("memory", "cpu", "pids")
_ROOT = Path("/sys/fs/cgroup")
_V1_FREEZE_POLLS = 50
_READ_BYTES = 65_536
_SPARE_MAX = 32
_CLEAN_BYTES_MAX = MIB
"""What the kernel itself still holds a moment after the last process ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupLimits:
    """What one replica may use."""

    memory_bytes: int
    vcpus: float
    processes_max: int

    @property
    def memory_max_bytes(self) -> int:
        """The enforced limit."""
        return max(self.memory_bytes, MEMORY_BYTES_MIN)


class Cgroup:
    """The directories of one replica. All calls are single writes and reads in sysfs."""

    def __init__(
        self, directories: dict[str, Path], unified: Path | None, *, is_known: bool = False
    ) -> None:
        # By os and not by pathlib from here on: it is on the way of every wake.
        self._directories = {kind: str(path) for kind, path in directories.items()}
        """By v1 controller name."""
        self._unified = None if unified is None else str(unified)
        self._limits: CgroupLimits | None = None
        """What was written last."""
        self._is_known = is_known
        """Whether it was made by this run, and never frozen."""
        self._is_used = False
        """Whether another replica was in it before."""

    @property
    def procs(self) -> tuple[str, ...]:
        """The files that the child writes its pid to."""
        return tuple(f"{directory}/cgroup.procs" for directory in self._all())

    def limit(self, bounds: CgroupLimits) -> None:
        """Write the limits that this machine can enforce."""
        if bounds == self._limits:
            return
        self._limits = bounds
        if self._unified is not None and not self._directories:
            self._limit_unified(self._unified, bounds)
        for controller, directory in self._directories.items():
            if controller == "memory":
                # Neither may pass the other on its way: memsw goes first up, and last down.
                _write(f"{directory}/memory.memsw.limit_in_bytes", bounds.memory_max_bytes)
                _write(f"{directory}/memory.limit_in_bytes", bounds.memory_max_bytes)
                _write(f"{directory}/memory.memsw.limit_in_bytes", bounds.memory_max_bytes)
            elif controller == "cpu":
                shares = _between(2, round(1024 * bounds.vcpus), 262_144)
                _write(f"{directory}/cpu.shares", shares)
            elif controller == "pids":
                _write(f"{directory}/pids.max", bounds.processes_max)

    def _limit_unified(self, unified: str, bounds: CgroupLimits) -> None:
        _write(f"{unified}/memory.max", bounds.memory_max_bytes)
        _write(f"{unified}/memory.swap.max", 0)
        _write(f"{unified}/memory.oom.group", 1)
        _write(f"{unified}/cpu.weight", _between(1, round(100 * bounds.vcpus), 10_000))
        _write(f"{unified}/pids.max", bounds.processes_max)

    def kill(self) -> None:
        """SIGKILL every process in it."""
        if self._unified is not None and _write(f"{self._unified}/cgroup.kill", 1):
            return
        # Without cgroup.kill a process may fork while the list is read: frozen ones cannot.
        self.freeze()
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.thaw()

    def freeze(self) -> bool:
        """Stop every process in it; return whether this machine can."""
        self._is_known = False
        if self._unified is not None and _write(f"{self._unified}/cgroup.freeze", 1):
            return True
        freezer = self._directories.get("freezer")
        if freezer is None or not _write(f"{freezer}/freezer.state", "FROZEN"):
            return False
        # v1 reports FREEZING until the last process has stopped.
        return any(_read(f"{freezer}/freezer.state") == "FROZEN" for _ in range(_V1_FREEZE_POLLS))

    def thaw(self) -> None:
        """Let its processes run again."""
        if self._unified is not None and _write(f"{self._unified}/cgroup.freeze", 0):
            return
        freezer = self._directories.get("freezer")
        if freezer is not None:
            _write(f"{freezer}/freezer.state", "THAWED")

    def pids(self) -> list[int]:
        """Return the processes in it."""
        found: set[int] = set()
        for directory in self._all():
            found.update(int(word) for word in _read(f"{directory}/cgroup.procs").split())
        return sorted(found)

    def oom_kills(self) -> int:
        """Return how many of its processes the kernel killed for memory."""
        if "memory" in self._directories:
            return _count(_read(f"{self._directories['memory']}/memory.oom_control"), "oom_kill")
        return (
            0
            if self._unified is None
            else _count(_read(f"{self._unified}/memory.events"), "oom_kill")
        )

    def memory_peak_bytes(self) -> int | None:
        """Return the most memory it held at once, or None where nobody counts."""
        files: list[str] = []
        if self._is_used:
            return None
        if "memory" in self._directories:
            files.append(f"{self._directories['memory']}/memory.max_usage_in_bytes")
        if self._unified is not None:
            files.append(f"{self._unified}/memory.peak")
        values = [_read(file) for file in files]
        return next((int(value) for value in values if value.isdigit()), None)

    def renew(self) -> bool:
        """Return whether another replica may have it, as if it were new.

        What a replica left in it (processes, memory that files on tmpfs hold, kills for memory)
        would be charged to the next.
        """
        if not self._is_known or (self.memory_bytes() or 0) > _CLEAN_BYTES_MAX:
            return False
        self._is_used = True
        return self.oom_kills() == 0 and not self.pids()

    def memory_bytes(self) -> int | None:
        """Return the memory that it is charged with, or None where nobody counts."""
        if "memory" in self._directories:
            text = _read(f"{self._directories['memory']}/memory.usage_in_bytes")
        else:
            text = _read(f"{self._unified}/memory.current")
        return int(text) if text.isdigit() else None

    def remove(self) -> bool:
        """Remove the directories; return whether they are gone (False while a process dies)."""
        outcomes = [_remove(directory) for directory in self._all()]
        return all(outcomes)

    def _all(self) -> list[str]:
        unified = [] if self._unified is None else [self._unified]
        return unified + list(self._directories.values())


class Cgroups:
    """The cgroups of one installation (``instance``), whatever the layout."""

    def __init__(
        self, instance: str, *, trees: dict[str, Path], unified: Path | None, missing: str | None
    ) -> None:
        self._instance = instance
        self._trees = trees
        """Our directory in each v1 tree, by controller."""
        self._unified = unified
        """Our directory in the v2 tree."""
        self._missing = missing
        self._removing: list[Cgroup] = []
        self._spare: list[Cgroup] = []
        """As new: making and removing one takes longer than all else in a start."""

    def create(self, replica: ReplicaId, bounds: CgroupLimits) -> Cgroup | None:
        """Make and limit the cgroup of a replica; None where there are no cgroups.

        One that is made bears the replica's name; one that is renewed, an earlier one's.
        """
        if self._spare:
            spare = self._spare.pop()
            spare.limit(bounds)
            return spare
        name = replica.replace("/", "_")
        unified = None if self._unified is None else _made(self._unified / name)
        made = {kind: _made(tree / name) for kind, tree in self._trees.items()}
        directories = {kind: path for kind, path in made.items() if path is not None}
        if unified is None and not directories:
            return None
        cgroup = Cgroup(directories, unified, is_known=True)
        cgroup.limit(bounds)
        return cgroup

    def retire(self, cgroup: Cgroup) -> bool:
        """Take back a cgroup whose processes were killed; return whether nothing is left in it.

        It is another replica's next, or is removed, now or at a later ``sweep``.
        """
        if len(self._spare) < _SPARE_MAX and cgroup.renew():
            self._spare.append(cgroup)
            return True
        self._removing.append(cgroup)
        self.sweep()
        return cgroup not in self._removing

    def sweep(self) -> None:
        """Remove what could not be removed when it was retired."""
        self._removing = [cgroup for cgroup in self._removing if not cgroup.remove()]

    def orphans(self) -> list[Cgroup]:
        """Return the cgroups that an earlier run of this installation left."""
        names = {path.name for parent in self._parents() for path in _children(parent)}
        return [self._existing(name) for name in sorted(names)]

    def remove(self) -> None:
        """Remove our own directories, if they are empty."""
        self._removing += self._spare
        self._spare = []
        self.sweep()
        for parent in self._parents():
            _remove(parent)

    def describe(self) -> str:
        """Say in one sentence what is enforced and what is not."""
        if self._missing is None:
            return "memory, CPU weight and process limits are enforced by cgroups"
        return self._missing

    def _existing(self, name: str) -> Cgroup:
        paths = {kind: tree / name for kind, tree in self._trees.items()}
        directories = {kind: path for kind, path in paths.items() if path.is_dir()}
        unified = None if self._unified is None else self._unified / name
        return Cgroup(directories, unified if unified is not None and unified.is_dir() else None)

    def _parents(self) -> list[Path]:
        unified = [] if self._unified is None else [self._unified]
        return unified + list(self._trees.values())


def own_cgroup() -> str:
    """Return the text of ``/proc/self/cgroup``; ``detect`` may move this process elsewhere."""
    return _read(Path("/proc/self/cgroup"))


def detect(instance: str, root: Path = _ROOT, own: str | None = None) -> Cgroups:
    """Find the layout and make this installation's directories in it.

    ``own`` is the text of ``/proc/self/cgroup``.
    """
    own = own_cgroup() if own is None else own
    name = f"coldspark-{instance}"
    if (root / "cgroup.controllers").exists():
        return _detect_v2(instance, root / _own_path(own).lstrip("/"), name)
    unified = None
    if (root / "unified" / "cgroup.procs").exists():
        unified = _made(root / "unified" / _own_path(own).lstrip("/") / name)
    # Two controllers may be one tree (``cpu,cpuacct``): the links beside it name each.
    trees = {kind: _made(root / kind / name) for kind in (*_CONTROLLERS, "freezer")}
    made = {kind: path for kind, path in trees.items() if path is not None}
    if unified is not None:
        made.pop("freezer", None)
        if trees["freezer"] is not None:
            _remove(trees["freezer"])
    return Cgroups(instance, trees=made, unified=unified, missing=_missing(set(made)))


def _detect_v2(instance: str, base: Path, name: str) -> Cgroups:
    ours = _made(base / name)
    if ours is None:
        return Cgroups(instance, trees={}, unified=None, missing=_missing(set()))
    given = [_write(base / "cgroup.subtree_control", f"+{kind}") for kind in _CONTROLLERS]
    if not all(given):
        # v2 gives controllers only to children of a cgroup that has no process of its own.
        server = _made(base / f"{name}-server")
        if server is not None and _write(server / "cgroup.procs", os.getpid()):
            for kind in _CONTROLLERS:
                _write(base / "cgroup.subtree_control", f"+{kind}")
    enabled = {kind for kind in _CONTROLLERS if _write(ours / "cgroup.subtree_control", f"+{kind}")}
    return Cgroups(instance, trees={}, unified=ours, missing=_missing(enabled))


def _missing(enforced: set[str]) -> str | None:
    words = {"memory": "memory limits", "cpu": "CPU weights", "pids": "process limits"}
    lacking = [words[kind] for kind in _CONTROLLERS if kind not in enforced]
    if not lacking:
        return None
    return f"not enforced here (no writable cgroup): {', '.join(lacking)}"


def _own_path(own: str) -> str:
    """Return the path after ``0::`` in /proc/self/cgroup."""
    lines = [line.removeprefix("0::") for line in own.splitlines() if line.startswith("0::")]
    return lines[0] if lines else "/"


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))


def _write(file: str | Path, value: object) -> bool:
    try:
        # Never create: in a plain directory an absent control would look like a success.
        descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(descriptor, str(value).encode())
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _read(file: str | Path) -> str:
    """Read a small file of the kernel's in one go, or as much of it as a page holds at a time."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        parts = []
        while part := os.read(descriptor, _READ_BYTES):
            parts.append(part)
        return b"".join(parts).decode().strip()
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _count(text: str, name: str) -> int:
    words = [line.split() for line in text.splitlines()]
    return sum(int(pair[1]) for pair in words if len(pair) == 2 and pair[0] == name)


def _made(directory: Path) -> Path | None:
    try:
        os.mkdir(directory)
    except FileExistsError:
        return directory
    except OSError:
        return None
    return directory


def _children(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if path.is_dir()]
    except OSError:
        return []


def _remove(directory: str | Path) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
