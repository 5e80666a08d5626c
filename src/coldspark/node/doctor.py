"""What this machine can do, as rows: each check is bounded in time and says its cure."""

import contextlib
import os
import platform
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from coldspark import clock, compiled
from coldspark.node.gpu import cuda_checkpoint, cuda_suspension, devices
from coldspark.objects.eviction import held_bytes
from coldspark.platform.catalogue import Catalogue
from coldspark.spec.messages import Device
from coldspark.spec.units import format_size

_CHECK_TIMEOUT_S = 8.0
_PROBE_TIMEOUT_S = 5.0
_DISK_FREE_MIN = 5 * 10**9
_DISK_PROBE_BYTES = 8 * 1024 * 1024
_OPEN_FILES_MIN = 4_096
_CONTROLLERS = ("memory", "cpu", "pids", "freezer")

_FORK_PROBE = """
import os, time
begun = time.perf_counter()
pid = os.fork()
if pid == 0:
    os._exit(7)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), round((time.perf_counter() - begun) * 1e6))
"""
_NAMESPACE_PROBE = """
import ctypes, os, sys
CLONE_NEWUSER = 0x10000000
libc = ctypes.CDLL(None, use_errno=True)
sys.exit(0 if libc.unshare(CLONE_NEWUSER) == 0 else ctypes.get_errno() or 1)
"""


class CheckStatus(StrEnum):
    """How well the machine does at one thing."""

    OK = "ok"
    WARN = "warn"
    """It works without, or more slowly, or less guarded."""
    MISSING = "missing"
    """Something cannot work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorCheck:
    """One thing that was looked at."""

    name: str
    status: CheckStatus
    detail: str
    cure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """Everything that was looked at."""

    checks: tuple[DoctorCheck, ...]

    @property
    def status(self) -> CheckStatus:
        """Return the worst status."""
        order = (CheckStatus.OK, CheckStatus.WARN, CheckStatus.MISSING)
        return max((check.status for check in self.checks), key=order.index, default=CheckStatus.OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorOptions:
    """What to examine."""

    data: Path
    catalogue: Catalogue
    simulated: tuple[Device, ...] = ()
    address: tuple[str, int] | None = None
    """Host and port that a server would bind; None when this is asked of a running one."""
    weights_bytes_max: int | None = None
    """The bound of downloaded model data, if there is one."""


def examine(question: DoctorOptions) -> DoctorReport:
    """Run every check; one that hangs or breaks becomes a row that says so. Takes seconds."""
    checks = [_bounded(name, check) for name, check in _checks(question).items()]
    return DoctorReport(checks=tuple(check for check in checks if check is not None))


def _checks(question: DoctorOptions) -> dict[str, Callable[[], DoctorCheck | None]]:
    return {
        "python": _python,
        "event loop": _event_loop,
        "hot path": lambda: check_hot_path(compiled.modules()),
        "uv": _uv,
        "gpu": lambda: _gpu(question),
        "gpu parking": check_gpu_parking,
        "simulated gpu": lambda: _simulated(question),
        "machine": _machine,
        "cgroups": lambda: check_cgroups(Path("/")),
        "fork templates": _fork,
        "pidfd": _pidfd,
        "user namespaces": _user_namespaces,
        "disk space": lambda: _disk_space(question.data),
        "model data": lambda: _model_data(question),
        "disk speed": lambda: _disk_speed(question.data),
        "open files": _open_files,
        "huge pages": lambda: check_huge_pages(Path("/")),
        "port": lambda: _port(question.address),
    }


def _bounded(name: str, check: Callable[[], DoctorCheck | None]) -> DoctorCheck | None:
    """Run a check on a thread that is left behind when it hangs (a dead network disk does)."""
    found: list[DoctorCheck | None] = []

    def run() -> None:
        try:
            found.append(check())
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            found.append(_warn(name, f"could not be examined: {error}", None))

    thread = threading.Thread(target=run, name=f"doctor {name}", daemon=True)
    thread.start()
    thread.join(_CHECK_TIMEOUT_S)
    if not found:
        return _warn(name, f"gave no answer within {_CHECK_TIMEOUT_S:g} s", None)
    return found[0]


def _python() -> DoctorCheck:
    detail = f"{platform.python_version()} on {platform.system()} {platform.release()}"
    if platform.system() != "Linux":
        cure = "Run the server on Linux: replicas need fork, cgroups and pidfds."
        return DoctorCheck(name="python", status=CheckStatus.MISSING, detail=detail, cure=cure)
    return _ok("python", detail)


def _event_loop() -> DoctorCheck:
    try:
        return _ok("event loop", f"uvloop {version('uvloop')}, httptools {version('httptools')}")
    except PackageNotFoundError as error:
        return DoctorCheck(
            name="event loop",
            status=CheckStatus.MISSING,
            detail=f"the package {error.name} is not installed",
            cure="pip install --force-reinstall coldspark",
        )


def check_hot_path(modules: Sequence[str]) -> DoctorCheck:
    """Say whether requests run through machine code. ``modules``: those that are compiled."""
    if modules:
        return _ok("hot path", f"compiled to machine code: {len(modules)} modules")
    has_compiler = any(map(shutil.which, ("cc", "gcc", "clang")))
    first = "" if has_compiler else "install a C compiler (apt-get install gcc); then, "
    return DoctorCheck(
        name="hot path",
        status=CheckStatus.WARN,
        detail="plain Python: the router needs 15 to 20 % more processor than compiled",
        cure=f"{first}in a checkout: make compile, and run .compiled/bin/coldspark",
    )


def _uv() -> DoctorCheck:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        return DoctorCheck(
            name="uv",
            status=CheckStatus.MISSING,
            detail="not found: environments cannot be built from requirements",
            cure="pip install uv",
        )
    return _ok("uv", f"{_run([found, '--version']).stdout.strip()}: builds environments")


def _gpu(question: DoctorOptions) -> DoctorCheck:
    inventory = devices.discover(question.catalogue)
    if not inventory.devices:
        cure = (
            "Models run on CPU here. To rehearse a GPU deployment: coldspark up --simulate A10G:1"
        )
        return _warn("gpu", inventory.reason or "none", None if question.simulated else cure)
    return _ok("gpu", f"{_listed(inventory.devices)}, driver {inventory.driver}")


def check_gpu_parking(library: str = cuda_checkpoint.LIBRARY) -> DoctorCheck:
    """Say whether the driver can move a parked replica's device memory to the host."""
    try:
        version = cuda_suspension.examine(library, _PROBE_TIMEOUT_S)
    except cuda_checkpoint.CheckpointUnavailable as reason:
        cure = "Driver 570 or newer on x86-64 has it; docs/howto/park-gpus.md says what else helps."
        return _warn("gpu parking", f"no checkpoints of device memory: {reason}", cure)
    words = f"CUDA {version // 1000}.{version % 1000 // 10} checkpoints device memory"
    return _ok("gpu parking", f"{words}: idle replicas on GPUs can be parked")


def _simulated(question: DoctorOptions) -> DoctorCheck | None:
    if not question.simulated:
        return None
    detail = f"{_listed(question.simulated)}: simulated, no GPU computes anything"
    return _ok("simulated gpu", detail)


def _listed(found: tuple[Device, ...]) -> str:
    types = [device.type for device in found]
    first = {device.type: device for device in reversed(found)}
    return ", ".join(
        f"{types.count(name)} x {name} ({format_size(device.memory_bytes)})"
        for name, device in first.items()
    )


def _machine() -> DoctorCheck:
    found = devices.host_capacity()
    return _ok("machine", f"{found.vcpus:g} vCPU, {format_size(found.memory_bytes)} memory")


def check_cgroups(root: Path) -> DoctorCheck:
    """Say which cgroup version this is and which controllers limits can be written to."""
    layout = _cgroup_layout(root)
    able = [kind for kind in _CONTROLLERS if _can_make_group(root, kind, layout)]
    lacking = [kind for kind in _CONTROLLERS if kind not in able]
    detail = f"{layout}; writable: {', '.join(able) or 'none'}"
    if not lacking:
        return _ok("cgroups", detail)
    return _warn(
        "cgroups",
        f"{detail}; not enforced: {', '.join(lacking)}",
        "Run as root, or delegate: systemd-run --user -p Delegate=yes coldspark up",
    )


def _cgroup_layout(root: Path) -> str:
    base = root / "sys/fs/cgroup"
    if (base / "cgroup.controllers").exists():
        return "v2"
    return "hybrid" if (base / "unified").is_dir() else "v1"


def _can_make_group(root: Path, controller: str, layout: str) -> bool:
    if layout == "v2":
        return any(_offers(folder, controller) for folder in _leaf(root, controller))
    return _can_make(root / "sys/fs/cgroup" / controller)


def _leaf(root: Path, controller: str) -> Iterator[Path]:
    yield from list(devices.cgroup_folders(root, controller))[:1]


def _offers(folder: Path, controller: str) -> bool:
    """Return whether a v2 group has the controller; freezing is part of every group."""
    offered = (folder / "cgroup.controllers").read_text().split()
    return (controller == "freezer" or controller in offered) and _can_make(folder)


def _can_make(folder: Path) -> bool:
    probe = folder / f"coldspark-doctor-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True


def _fork() -> DoctorCheck:
    result = _run([sys.executable, "-S", "-c", _FORK_PROBE])
    words = result.stdout.split()
    if result.returncode != 0 or words[:1] != ["7"]:
        return _warn(
            "fork templates",
            f"a forked child did not come back: {result.stderr.strip()[-200:]}",
            "Replicas start by exec, which is slower. Look for a seccomp rule that forbids fork.",
        )
    return _ok("fork templates", f"a forked child answered in {int(words[1]) / 1000:.1f} ms")


def _pidfd() -> DoctorCheck:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError) as error:
        return _warn("pidfd", f"not offered ({error})", "Linux 5.3 or newer has it.")
    return _ok("pidfd", "processes are watched without polling")


def _user_namespaces() -> DoctorCheck:
    result = _run([sys.executable, "-S", "-c", _NAMESPACE_PROBE])
    if result.returncode == 0:
        return _ok("user namespaces", "replicas can be given their own")
    return _warn(
        "user namespaces",
        f"not allowed ({os.strerror(result.returncode)})",
        "sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000",
    )


def _disk_space(data: Path) -> DoctorCheck:
    usage = shutil.disk_usage(_existing(data))
    detail = f"{format_size(usage.free)} free of {format_size(usage.total)} for {data}"
    if usage.free < _DISK_FREE_MIN:
        cure = f"Free some space, or choose another place with --data: environments need {_need()}."
        return _warn("disk space", detail, cure)
    return _ok("disk space", detail)


def _need() -> str:
    return f"about {format_size(_DISK_FREE_MIN)}"


def _model_data(question: DoctorOptions) -> DoctorCheck | None:
    held = held_bytes(question.data / "artifacts")
    most = question.weights_bytes_max
    if most is None:
        words = "no bound (weights_limit)" if held else "none was downloaded; no bound"
        return _ok("model data", f"{format_size(held)}; {words}" if held else words)
    detail = f"{format_size(held)} of at most {format_size(most)}"
    if held > most:
        cure = "delete endpoints that name it, or raise weights_limit"
        return _warn("model data", f"{detail}: deployed endpoints need it", cure)
    return _ok("model data", detail)


def _disk_speed(data: Path) -> DoctorCheck:
    """Write 8 MiB, then a short line, each through to the disk: as the ledger does."""
    folder = _existing(data)
    probe = folder / f".coldspark-doctor-{os.getpid()}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        bulk_s = _timed_write(descriptor, b"\0" * _DISK_PROBE_BYTES)
        line_s = min(_timed_write(descriptor, b"\n") for _ in range(5))
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            probe.unlink()
    rate = format_size(round(_DISK_PROBE_BYTES / max(bulk_s, 1e-6)))
    detail = f"{_speed_class(line_s)}: a line is durable in {line_s * 1000:.2f} ms, {rate}/s"
    if line_s < 0.01:
        return _ok("disk speed", detail)
    cure = "Every answer waits for its ledger line: put --data on an SSD."
    return _warn("disk speed", detail, cure)


def _timed_write(descriptor: int, content: bytes) -> float:
    begun = clock.monotonic_s()
    os.write(descriptor, content)
    os.fsync(descriptor)
    return clock.monotonic_s() - begun


def _speed_class(line_s: float) -> str:
    if line_s < 0.0005:
        return "fast (NVMe or memory)"
    return "good (SSD)" if line_s < 0.01 else "slow (disk or network)"


def _existing(path: Path) -> Path:
    """Return the nearest folder that exists: the data directory may not be there yet."""
    absolute = path.absolute()
    return next(folder for folder in (absolute, *absolute.parents) if folder.is_dir())


def _open_files() -> DoctorCheck:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    detail = f"{_limit(soft)}, may be raised to {_limit(hard)}"
    if soft == resource.RLIM_INFINITY or soft >= _OPEN_FILES_MIN:
        return _ok("open files", detail)
    return _warn("open files", detail, f"ulimit -n {max(65_536, _OPEN_FILES_MIN)}")


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)


def check_huge_pages(root: Path) -> DoctorCheck:
    """Say whether large anonymous mappings get huge pages: forks of big templates copy fewer."""
    file = root / "sys/kernel/mm/transparent_hugepage/enabled"
    text = file.read_text() if file.exists() else ""
    match = re.search(r"\[(\w+)\]", text)
    if match is None:
        return _warn("huge pages", "not offered by this kernel", None)
    if match[1] == "never":
        cure = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
        return _warn("huge pages", "never: loading large models is slower", cure)
    return _ok("huge pages", match[1])


def _port(address: tuple[str, int] | None) -> DoctorCheck | None:
    if address is None:
        return None
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            cure = "A coldspark server may be running already; otherwise choose another --port."
            return _warn("port", f"{host}:{port} cannot be bound ({error.strerror})", cure)
    return _ok("port", f"{host}:{port} is free")


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False
    )


def _ok(name: str, detail: str) -> DoctorCheck:
    return DoctorCheck(name=name, status=CheckStatus.OK, detail=detail)


def _warn(name: str, detail: str, cure: str | None) -> DoctorCheck:
    return DoctorCheck(name=name, status=CheckStatus.WARN, detail=detail, cure=cure)
