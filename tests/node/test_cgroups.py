"""Cgroups: which files are written on each layout, and (as root) that they do what they say."""

import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from coldspark.node import processes
from coldspark.node.cgroups import Cgroup, CgroupLimits, Cgroups, detect
from coldspark.node.orphans import reap_orphans
from coldspark.spec.types import MIB, ReplicaId

R = ReplicaId("r-1")
BOUNDS = CgroupLimits(memory_bytes=512 * MIB, vcpus=2.0, processes_max=64)
V2_FILES = ("memory.max", "memory.swap.max", "memory.oom.group", "cpu.weight", "pids.max")


def touched(directory: Path, *names: str) -> None:
    """Make control files, as the kernel would."""
    for name in names:
        (directory / name).touch()


def test_v2_writes_limits_below_our_own_cgroup(tmp_path: Path) -> None:
    """One tree: the delegated cgroup gets a directory of ours, and that one per replica."""
    own = tmp_path / "system.slice" / "coldspark.service"
    own.mkdir(parents=True)
    touched(tmp_path, "cgroup.controllers")
    touched(own, "cgroup.subtree_control")
    ours = own / "coldspark-abc"
    ours.mkdir()
    touched(ours, "cgroup.subtree_control")
    (ours / "r-1").mkdir()
    touched(ours / "r-1", *V2_FILES, "cgroup.procs", "cgroup.kill")

    cgroups = detect("abc", tmp_path, "0::/system.slice/coldspark.service\n")
    cgroup = cgroups.create(R, BOUNDS)

    assert cgroup is not None
    assert cgroup.procs == (str(ours / "r-1" / "cgroup.procs"),)
    written = {name: (ours / "r-1" / name).read_text() for name in V2_FILES}
    assert written == {
        "memory.max": str(512 * MIB),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.weight": "200",
        "pids.max": "64",
    }
    assert "are enforced" in cgroups.describe()
    (ours / "r-1" / "memory.events").write_text("oom 3\noom_kill 2\n")
    assert cgroup.oom_kills() == 2


def test_v1_writes_one_tree_per_controller(tmp_path: Path) -> None:
    """Legacy: directories at the roots, the freezer besides."""
    files = {
        "memory": ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        "cpu": ("cpu.shares",),
        "pids": ("pids.max",),
        "freezer": ("freezer.state",),
    }
    for kind, names in files.items():
        directory = tmp_path / kind / "coldspark-abc" / "r-1"
        directory.mkdir(parents=True)
        touched(directory, *names)

    cgroup = detect("abc", tmp_path, "4:memory:/x\n").create(R, BOUNDS)

    assert cgroup is not None
    assert len(cgroup.procs) == 4
    place = "coldspark-abc/r-1"
    memory = tmp_path / "memory" / place
    assert (memory / "memory.limit_in_bytes").read_text() == str(512 * MIB)
    assert (tmp_path / "cpu" / place / "cpu.shares").read_text() == "2048"
    assert (tmp_path / "pids" / place / "pids.max").read_text() == "64"
    assert cgroup.freeze()
    assert (tmp_path / "freezer" / place / "freezer.state").read_text() == "FROZEN"


def test_without_cgroups_everything_works_and_says_so(tmp_path: Path) -> None:
    """An unprivileged container: no cgroup, no limits, no failure."""
    cgroups = detect("abc", tmp_path, "")

    assert cgroups.create(R, BOUNDS) is None
    assert cgroups.describe() == (
        "not enforced here (no writable cgroup): memory limits, CPU weights, process limits"
    )


def test_the_memory_limit_has_a_floor() -> None:
    """Less than 256 MiB would end most Python processes before they can say why."""
    small = CgroupLimits(memory_bytes=16 * MIB, vcpus=1, processes_max=1)

    assert small.memory_max_bytes == 256 * MIB
    assert BOUNDS.memory_max_bytes == 512 * MIB


@pytest.fixture
def real() -> Iterator[Cgroups]:
    """Cgroups of an installation that exists only for one test."""
    cgroups = detect(f"test-{uuid.uuid4().hex[:12]}")
    yield cgroups
    for cgroup in cgroups.orphans():
        cgroup.kill()
        cgroups.retire(cgroup)
    cgroups.remove()


def created(cgroups: Cgroups, bounds: CgroupLimits) -> Cgroup:
    """Return a real cgroup, or skip where this machine has none."""
    cgroup = cgroups.create(R, bounds)
    if cgroup is None:
        pytest.skip("no writable cgroups here")
    return cgroup


def run_in(cgroup: Cgroup, code: str) -> "subprocess.Popen[bytes]":
    """Start Python in a cgroup; it prints a line once it is in."""
    join = "".join(f"open({path!r}, 'w').write('0');" for path in cgroup.procs)
    text = f"{join}print('in', flush=True)\n{code}"
    command = [sys.executable, "-c", text]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"in\n"
    return process


@pytest.mark.process
def test_kill_ends_every_process_and_the_directory_goes(real: Cgroups) -> None:
    """Also what it forked, in another session."""
    cgroup = created(real, BOUNDS)
    code = "import os,time\nif os.fork()==0: os.setsid()\nprint('go',flush=True)\ntime.sleep(60)"
    process = run_in(cgroup, code)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [b"go\n"] * 2
    assert len(cgroup.pids()) == 2

    cgroup.kill()

    assert process.wait(10) == -signal.SIGKILL
    assert process.stdout.read() == b""
    real.retire(cgroup)


@pytest.mark.process
@pytest.mark.parametrize("then_bytes", [900 * MIB, 300 * MIB])
def test_a_memory_limit_can_be_raised_and_lowered(real: Cgroups, then_bytes: int) -> None:
    """On v1 the limit with swap must stay above the one without, both ways."""
    cgroup = created(real, BOUNDS)
    if "memory limits" in real.describe():
        pytest.skip("no memory controller here")

    cgroup.limit(replace(BOUNDS, memory_bytes=then_bytes))

    names = ("memory.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    files = [Path(procs).with_name(name) for procs in cgroup.procs for name in names]
    limits = [int(file.read_text()) for file in files if file.exists()]
    assert limits == [then_bytes] * len(limits)
    assert limits


@pytest.mark.process
def test_too_much_memory_is_killed_and_counted(real: Cgroups) -> None:
    """The kernel's count tells an out-of-memory kill from any other."""
    cgroup = created(real, CgroupLimits(memory_bytes=16 * MIB, vcpus=1, processes_max=64))
    if "memory limits" in real.describe():
        pytest.skip("no memory controller here")

    process = run_in(cgroup, "x = b'x' * (600 * 2**20)")

    assert process.wait(20) == -signal.SIGKILL
    assert cgroup.oom_kills() >= 1
    assert (cgroup.memory_peak_bytes() or 0) > 200 * MIB


@pytest.mark.process
def test_freeze_stops_and_thaw_goes_on(real: Cgroups) -> None:
    """A frozen process answers nothing until it is thawed."""
    cgroup = created(real, BOUNDS)
    process = run_in(cgroup, "import sys\nfor line in sys.stdin: print(line, end='', flush=True)")
    assert process.stdin is not None
    assert process.stdout is not None

    assert cgroup.freeze()
    process.stdin.write(b"hello\n")
    process.stdin.flush()
    assert select.select([process.stdout], [], [], 0.1)[0] == []
    cgroup.thaw()

    assert process.stdout.readline() == b"hello\n"
    process.stdin.close()
    assert process.wait(10) == 0


@pytest.mark.process
def test_leftovers_are_found_by_cgroup_and_by_mark(real: Cgroups) -> None:
    """Either net is enough; strangers are left alone."""
    instance = f"test-{uuid.uuid4().hex[:12]}"
    command = [sys.executable, "-c", "print('in', flush=True); import time; time.sleep(60)"]

    def marked(value: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, processes.INSTANCE_TAG: value}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    ours, stranger = marked(instance), marked(instance + "0")
    held = run_in(created(real, BOUNDS), "import time; time.sleep(60)")

    assert reap_orphans(instance, real) == 1

    assert ours.wait(10) == -signal.SIGKILL
    assert held.wait(10) == -signal.SIGKILL
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait(10)
    real.sweep()
    assert real.orphans() == []


def test_no_secret_of_the_platform_is_inherited() -> None:
    """Only what is named passes; a proxy with a password does not."""
    source = {
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "s",
        "COLDSPARK_ADMIN_KEY": "k",
        "HTTPS_PROXY": "http://proxy:8080",
        "http_proxy": "http://user:pass@proxy:8080",
        "SSL_CERT_FILE": "/c",
    }

    assert processes.clean_environment(source) == {
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "HTTPS_PROXY": "http://proxy:8080",
        "SSL_CERT_FILE": "/c",
    }


@pytest.mark.process
def test_a_clean_cgroup_is_renewed_with_other_limits(real: Cgroups) -> None:
    """The next replica gets the directories of one that left nothing in them."""
    cgroup = created(real, BOUNDS)
    assert real.retire(cgroup)

    again = real.create(ReplicaId("r-2"), replace(BOUNDS, processes_max=7))

    assert again is cgroup
    limits = [Path(procs).with_name("pids.max") for procs in again.procs]
    assert {file.read_text() for file in limits if file.exists()} <= {"7\n"}
    assert real.create(ReplicaId("r-3"), BOUNDS) is not cgroup


@pytest.mark.process
def test_a_cgroup_that_was_frozen_is_not_renewed(real: Cgroups) -> None:
    """Whoever came into it would stand still."""
    cgroup = created(real, BOUNDS)
    cgroup.freeze()

    real.retire(cgroup)

    assert real.create(ReplicaId("r-2"), BOUNDS) is not cgroup
    assert not any(Path(procs).exists() for procs in cgroup.procs)


@pytest.mark.process
def test_a_cgroup_with_a_kill_for_memory_is_not_renewed(real: Cgroups) -> None:
    """The next replica's end would be told as its own want of memory."""
    cgroup = created(real, CgroupLimits(memory_bytes=16 * MIB, vcpus=1, processes_max=64))
    if "memory limits" in real.describe():
        pytest.skip("no memory controller here")
    process = run_in(cgroup, "x = b'x' * (600 * 2**20)")
    assert process.wait(20) == -signal.SIGKILL

    real.retire(cgroup)

    assert real.create(ReplicaId("r-2"), BOUNDS) is not cgroup


@pytest.mark.process
def test_a_cgroup_with_a_process_in_it_is_not_renewed(real: Cgroups) -> None:
    """It would be killed with the next replica, or count as its own."""
    cgroup = created(real, BOUNDS)
    process = run_in(cgroup, "import sys; sys.stdin.read()")

    assert not real.retire(cgroup)

    assert real.create(ReplicaId("r-2"), BOUNDS) is not cgroup
    cgroup.kill()
    process.wait(10)
