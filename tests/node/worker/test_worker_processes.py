"""The template and its replicas as real processes: how they start and how they end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from worker_rig import COMMAND, INTERPRETER, Rig, await_readable, await_true, is_alive

from coldspark.node.worker import control, frames

pytestmark = pytest.mark.process

Write = Callable[[str], Path]

ECHO = """
def predict_fn(data, model):
    return data
"""

FAMILY = """
import json, os, subprocess, time

SLEEP = ["sleep", "300"]

def predict_fn(data, model):
    # A plain child; a child in a session of its own; a daemon that forked twice; forks that never
    # execute anything, in the group and out of it.
    pids = [subprocess.Popen(SLEEP).pid, subprocess.Popen(SLEEP, start_new_session=True).pid]
    reader, writer = os.pipe()
    for is_daemon in (False, True):
        child = os.fork()
        if child == 0:
            if is_daemon:
                os.setsid()
                if os.fork():
                    os._exit(0)
            os.write(writer, b"%d " % os.getpid())
            time.sleep(300)
            os._exit(0)
    if os.fork() == 0:
        os.setsid()
        os.write(writer, b"%d " % subprocess.Popen(SLEEP).pid)
        os._exit(0)
    text = b""
    while text.count(b" ") < 3:
        text += os.read(reader, 100)
    return pids + [int(word) for word in text.split()]
"""


STRAY = """
import subprocess

SCRIPT = "sleep 300 >/dev/null 2>&1 & echo $!"

def predict_fn(data, model):
    run = subprocess.run(
        ["sh", "-c", SCRIPT], env={}, start_new_session=True, stdout=subprocess.PIPE
    )
    return int(run.stdout)
"""


def dead(pids: list[int]) -> Callable[[], bool]:
    """Return the claim that none of them runs."""
    return lambda: not any(is_alive(pid) for pid in pids)


def test_forked_replica_answers_a_call(rig: Rig, write: Write) -> None:
    """Prepare imports once; a fork loads, says ready, and replies."""
    prepared = rig.prepare(
        write(
            """
            def model_fn(model_dir):
                return model_dir

            def predict_fn(data, model):
                return {"got": data, "model": model}
            """
        )
    )
    assert prepared["fork_safe"], prepared["reason"]
    channel = rig.fork(model_dir="/tmp").ready()
    assert channel.answer(1, b'{"a": 1}') == {"got": {"a": 1}, "model": "/tmp"}


def test_import_happens_once_for_all_replicas(rig: Rig, write: Write) -> None:
    """Two replicas share the pid in which the program was imported, and differ in their own."""
    rig.prepare(
        write(
            """
            import os, random
            imported_in = os.getpid()

            def predict_fn(data, model):
                return [imported_in, os.getpid(), random.random()]
            """
        )
    )
    first, second = rig.fork("r1").ready(), rig.fork("r2").ready()
    one, two = first.answer(1), second.answer(1)
    assert one[0] == two[0] == rig.process.pid
    assert (one[1], two[1]) == (first.pid, second.pid)
    assert one[2] != two[2]


def test_replica_has_its_own_session_environment_and_directory(
    rig: Rig, write: Write, tmp_path: Path
) -> None:
    """The order's environment, directory and mark are the replica's, and of what it executes."""
    rig.prepare(
        write(
            """
            import os, subprocess

            def predict_fn(data, model):
                shown = open("/proc/self/environ", "rb").read().split(b"\\0")
                child = subprocess.run(["env"], capture_output=True, text=True).stdout
                return {
                    "session": os.getsid(0),
                    "directory": os.getcwd(),
                    "color": os.environ["COLOR"],
                    "mark": b"COLDSPARK_REPLICA=r1" in shown,
                    "child_mark": "COLDSPARK_REPLICA=r1" in child.splitlines(),
                    "descriptors": len(os.listdir("/proc/self/fd")),
                }
            """
        )
    )
    channel = rig.fork(cwd=str(tmp_path), environment={"COLOR": "green"}).ready()
    facts = channel.answer(1)
    # Standard input, output and error, the channel and its watch, and the listing's own.
    assert facts.pop("descriptors") == 6
    assert facts == {
        "session": channel.pid,
        "directory": str(tmp_path),
        "color": "green",
        "mark": True,
        "child_mark": True,
    }


def test_descriptors_that_the_import_opened_stay_open(rig: Rig, write: Write) -> None:
    """A file that the program opened before the fork is still that file after it."""
    rig.prepare(
        write(
            """
            copies = [open(__file__) for _ in range(3)]

            def predict_fn(data, model):
                return ["predict_fn" in copy.read() for copy in copies]
            """
        )
    )
    assert rig.fork().ready().answer(1) == [True, True, True]


def test_import_error_breaks_the_template(rig: Rig, write: Write) -> None:
    """The cause, the message and only the user's frames are told; the exit code says why."""
    path = write("import no_such_module_here\n")
    rig.tell({"op": "prepare", "program": str(path), "paths": [str(path.parent)]})
    event = rig.event("broken")
    assert event["cause"] == "import error"
    assert event["message"] == "ModuleNotFoundError: No module named 'no_such_module_here'"
    assert "inference.py" in event["traceback"]
    assert "node/worker" not in event["traceback"]
    assert rig.process.wait(10) == control.EXIT_BOOT_FAILED


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("open('/no/such/model')", "model file missing"),
        ("raise MemoryError", "out of memory"),
        ("import no_such_module_here", "import error"),
        ("raise ValueError('bad weights')", "unknown"),
        ("raise SystemExit(3)", "unknown"),
    ],
)
def test_model_that_cannot_load_breaks_the_replica(
    rig: Rig, write: Write, body: str, cause: str
) -> None:
    """BROKEN carries the root cause; the exit code says that trying again will not help."""
    rig.prepare(write(f"def model_fn(d):\n    {body}\ndef predict_fn(x, m):\n    return x\n"))
    channel = rig.fork()
    channel.expect(frames.BOOTED)
    broken = channel.expect(frames.BROKEN)
    assert broken["cause"] == cause
    assert "model_fn" in broken["traceback"]
    assert rig.event("exited")["status"] == control.EXIT_BOOT_FAILED


def test_program_without_handler_functions_is_named_invalid(rig: Rig, write: Write) -> None:
    """The message names what is missing."""
    rig.prepare(write("x = 1\n"))
    channel = rig.fork()
    channel.expect(frames.BOOTED)
    broken = channel.expect(frames.BROKEN)
    assert broken["cause"] == "handler invalid"
    assert "predict_fn(data, model)" in broken["message"]


def test_exit_is_reported_with_its_status(rig: Rig, write: Write) -> None:
    """os._exit in a call ends the replica, with its own status."""
    rig.prepare(write("import os\ndef predict_fn(data, model):\n    os._exit(7)\n"))
    channel = rig.fork().ready()
    channel.call(1)
    assert rig.event("exited") == {
        "event": "exited",
        "replica": "r1",
        "pid": channel.pid,
        "status": 7,
    }
    channel.end()


def test_segmentation_fault_is_reported_as_a_signal(rig: Rig, write: Write) -> None:
    """A crash is minus the signal's number."""
    rig.prepare(write("import ctypes\ndef predict_fn(data, model):\n    ctypes.string_at(0)\n"))
    channel = rig.fork().ready()
    channel.call(1)
    assert rig.event("exited")["status"] == -signal.SIGSEGV


def test_signal_reaches_the_whole_group(rig: Rig, write: Write) -> None:
    """SIGTERM ends a replica and the children of its group."""
    rig.prepare(write(FAMILY))
    channel = rig.fork().ready()
    pids = channel.answer(1)
    rig.signal("r1", signal.SIGTERM)
    assert rig.event("exited")["status"] == -signal.SIGTERM
    assert dead(pids)()


def test_nothing_a_replica_started_outlives_it(rig: Rig, write: Write) -> None:
    """Children, daemons and sessions are gone before the exit is reported; others' are not."""
    rig.prepare(write(FAMILY))
    doomed, spared = rig.fork("r1").ready(), rig.fork("r2").ready()
    doomed_pids, spared_pids = doomed.answer(1), spared.answer(1)
    doomed.sock.close()
    assert rig.event("exited")["replica"] == "r1"
    assert dead([doomed.pid, *doomed_pids])()
    assert all(is_alive(pid) for pid in spared_pids)
    rig.tell({"op": "sweep", "replica": "r2"})
    assert rig.event("exited")["status"] == -signal.SIGKILL
    assert dead([spared.pid, *spared_pids])()


def test_stray_without_a_mark_dies_with_the_last_replica(rig: Rig, write: Write) -> None:
    """A daemon that dropped its environment and session is killed when nobody else can own it."""
    rig.prepare(write(STRAY))
    channel = rig.fork().ready()
    stray = channel.answer(1)
    assert is_alive(stray)
    rig.signal("r1", signal.SIGKILL)
    rig.event("exited")
    assert not is_alive(stray)


def test_closed_control_socket_ends_everything(rig: Rig, write: Write) -> None:
    """When the supervisor is gone, so are the replicas, all they started, and the template."""
    rig.prepare(write(FAMILY))
    channel = rig.fork().ready()
    pids = channel.answer(1)
    rig.control.close()
    assert rig.process.wait(10) == control.EXIT_ORPHANED
    assert dead([channel.pid, *pids])()


def test_killed_template_takes_its_replicas_along(rig: Rig, write: Write) -> None:
    """kill -9 of the template kills the replicas by their parent-death signal."""
    rig.prepare(write(ECHO))
    channels = [rig.fork(name).ready() for name in ("r1", "r2")]
    rig.process.kill()
    for channel in channels:
        channel.end()
    await_true(dead([channel.pid for channel in channels]), "replicas die")


def test_supervisor_that_dies_during_the_import_takes_the_template_along(write: Write) -> None:
    """While the import blocks the template, the parent-death signal stands in for the socket."""
    path = write("import time\nprint('importing', flush=True)\ntime.sleep(300)\n")
    script = f"""
import json, socket, subprocess, sys, time
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
child = subprocess.Popen([*{COMMAND!r}, str(theirs.fileno())], pass_fds=[theirs.fileno()])
print(child.pid, flush=True)
ours.send(json.dumps({{"op": "prepare", "program": {str(path)!r}, "paths": []}}).encode())
time.sleep(300)
"""
    supervisor = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    template = int(supervisor.stdout.readline())
    await_readable(supervisor.stdout.fileno())
    assert supervisor.stdout.readline() == b"importing\n"
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    await_true(dead([template]), "the template dies")


def test_print_of_100_mb_arrives_whole(rig: Rig, write: Write) -> None:
    """A talkative handler is only as slow as its reader."""
    rig.prepare(
        write("def predict_fn(data, model):\n    print('x' * 100_000_000)\n    return 'done'\n")
    )
    channel = rig.fork().ready()
    channel.call(1)
    size_bytes = 0
    while size_bytes < 100_000_001:
        await_readable(channel.stdout)
        size_bytes += len(os.read(channel.stdout, 1 << 20))
    assert json.loads(channel.reply(1)[1]) == "done"
    assert size_bytes == 100_000_001


THREADED = """
import os, threading
imported_in = os.getpid()
threading.Thread(target=threading.Event().wait, name="ticker", daemon=True).start()

def predict_fn(data, model):
    shown = open("/proc/self/environ", "rb").read().split(b"\\0")
    return [imported_in, os.getpid(), b"COLDSPARK_REPLICA=r1" in shown, os.environ["COLOR"]]
"""


def test_program_with_a_thread_is_started_afresh_with_the_reason_shown(
    rig: Rig, write: Write
) -> None:
    """Not fork-safe: same events, but each replica imports the program itself."""
    prepared = rig.prepare(write(THREADED))
    assert prepared["fork_safe"] is False
    assert "ticker" in prepared["reason"]
    # The program and its thread are gone from the template, which is still the same process.
    assert len(list(Path(f"/proc/{rig.process.pid}/task").iterdir())) == 1
    channel = rig.fork(environment={"COLOR": "red"}).ready()
    assert channel.answer(1) == [channel.pid, channel.pid, True, "red"]
    channel.sock.close()
    assert rig.event("exited")["status"] == 0


def test_template_that_starts_afresh_still_kills_everything(rig: Rig, write: Write) -> None:
    """It stays the subreaper, and still sees the end of its socket."""
    rig.prepare(write(THREADED.partition("def predict_fn")[0] + FAMILY))
    one = rig.fork("r1").ready()
    pids = one.answer(1)
    rig.signal("r1", signal.SIGKILL)
    assert rig.event("exited")["status"] == -signal.SIGKILL
    assert dead(pids)()
    two = rig.fork("r2").ready()
    pids = two.answer(1)
    rig.control.close()
    assert rig.process.wait(10) == control.EXIT_ORPHANED
    assert dead([two.pid, *pids])()


def test_replica_started_afresh_dies_with_its_template(rig: Rig, write: Write) -> None:
    """The parent-death signal holds without a fork, too."""
    rig.prepare(write(THREADED))
    channel = rig.fork(environment={"COLOR": "red"}).ready()
    rig.process.kill()
    channel.end()
    await_true(dead([channel.pid]), "the replica dies")


@pytest.mark.skipif(sys.executable != INTERPRETER, reason="needs numpy")
def test_helper_threads_of_blas_do_not_forbid_forks(rig: Rig, write: Write) -> None:
    """numpy brings threads of its own; the canary shows that forks work all the same."""
    prepared = rig.prepare(
        write(
            """
            import numpy as np
            np.ones((512, 512)) @ np.ones((512, 512))

            def predict_fn(data, model):
                return float((np.ones((512, 512)) @ np.ones((512, 512))).sum())
            """
        )
    )
    assert prepared["fork_safe"], prepared["reason"]
    assert rig.fork().ready().answer(1) == 512.0**3


def test_fork_that_hangs_is_found_out_by_the_canary(rig: Rig, write: Write) -> None:
    """A thread outside Python and a lock that no child can take: the reason is shown."""
    prepared = rig.prepare(
        write(
            """
            import _thread, os, threading
            _thread.start_new_thread(threading.Event().wait, ())
            os.register_at_fork(after_in_child=threading.Event().wait)

            def predict_fn(data, model):
                return data
            """
        )
    )
    assert prepared["fork_safe"] is False
    assert "hung" in prepared["reason"]
    assert rig.fork().ready().answer(1, b"5") == 5


def test_command_runs_in_its_own_group_with_the_mark(rig: Rig) -> None:
    """A template without a program forks commands; they need no channel."""
    rig.prepare(None)
    argv = ["sh", "-c", 'echo "$COLDSPARK_REPLICA $COLOR $(pwd)"; exit 3']
    channel = rig.fork(argv=argv, environment={"COLOR": "blue"}, cwd="/usr")
    assert rig.event("exited")["status"] == 3
    assert channel.printed(channel.stdout) == "r1 blue /usr\n"


def test_command_that_does_not_exist_says_so(rig: Rig) -> None:
    """Exit 127 and one clear line."""
    rig.prepare(None)
    channel = rig.fork(argv=["no-such-program"])
    assert rig.event("exited")["status"] == 127
    message = "coldspark: cannot run 'no-such-program': No such file or directory\n"
    assert channel.printed(channel.stderr) == message


def test_directory_that_does_not_exist_breaks_the_replica(rig: Rig, write: Write) -> None:
    """An order that cannot be met is BROKEN, not a crash."""
    rig.prepare(write(ECHO))
    channel = rig.fork(cwd="/no/such/place")
    assert "/no/such/place" in channel.expect(frames.BROKEN)["message"]
    assert rig.event("exited")["status"] == control.EXIT_BOOT_FAILED


def test_cgroup_that_cannot_be_joined_is_a_warning(rig: Rig, write: Write, tmp_path: Path) -> None:
    """Limits that do not apply are told in the log; the replica runs."""
    rig.prepare(write(ECHO))
    procs = tmp_path / "cgroup.procs"
    procs.touch()
    channel = rig.fork(cgroups=[str(procs), "/no/such/cgroup.procs"]).ready()
    assert procs.read_text() == "0"
    channel.sock.close()
    rig.event("exited")
    assert "limits do not apply: /no/such/cgroup.procs" in channel.printed(channel.stderr)


def test_orders_that_make_no_sense_are_refused(rig: Rig, write: Write) -> None:
    """The template says why, and goes on."""
    rig.prepare(write(ECHO))
    rig.tell({"op": "fork", "replica": "r1", "cwd": "/"})
    assert "0 descriptors came; 3 needed" in rig.event("fork_failed")["message"]
    rig.tell({"op": "fork", "replica": "r" * 65, "cwd": "/"})
    assert "replica id of 65 bytes" in rig.event("fork_failed")["message"]
    rig.tell({"op": "signal", "replica": "nobody", "signal": 9})
    assert rig.fork().ready().answer(1, b"1") == 1


def _cgroup2() -> Path | None:
    """Return where a cgroup of version 2 can be made, if anywhere."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2" and os.access(where, os.W_OK):
            return Path(where)
    return None


@pytest.mark.skipif(_cgroup2() is None, reason="needs a writable cgroup2 mount")
def test_stray_without_a_mark_dies_with_its_cgroup(rig: Rig, write: Write) -> None:
    """Where the kernel keeps the books, nothing can hide, even while other replicas live."""
    mount = _cgroup2()
    assert mount is not None
    group = mount / f"coldspark-test-{os.getpid()}"
    group.mkdir()
    try:
        rig.prepare(write(STRAY))
        rig.fork("r1").ready()
        channel = rig.fork("r2", cgroups=[str(group / "cgroup.procs")]).ready()
        stray = channel.answer(1)
        assert is_alive(stray)
        rig.signal("r2", signal.SIGKILL)
        rig.event("exited")
        assert not is_alive(stray)
    finally:
        await_true(lambda: "populated 0" in (group / "cgroup.events").read_text(), "it empties")
        group.rmdir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may change the uid")
def test_replica_runs_under_the_uid_it_is_given(rig: Rig) -> None:
    """uid, gid and the process limit apply, and the parent-death signal survives the change."""
    rig.prepare(None)
    argv = ["sh", "-c", "id -u; id -g; grep processes /proc/self/limits; cat"]
    channel = rig.fork(argv=argv, uid=54321, processes_max=77)
    assert rig.event("exited")["status"] == 0
    words = channel.printed(channel.stdout).split()
    assert words[:6] == ["54321", "54321", "Max", "processes", "77", "77"]
