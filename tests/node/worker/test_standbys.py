"""Processes that stand by: forked ahead, used once, never left behind."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from worker_rig import Rig, await_true, is_alive

from coldspark.node.worker import orphans

pytestmark = pytest.mark.process

Write = Callable[[str], Path]

PROGRAM = """
import os, random
HERE = os.getpid()
def model_fn(model_dir):
    return os.getpid()
def predict_fn(data, model):
    return {"pid": os.getpid(), "imported_by": HERE, "loaded_by": model, "cwd": os.getcwd(),
            "mark": os.environ["COLDSPARK_REPLICA"], "x": os.environ.get("X"),
            "random": random.random()}
"""


def standing(rig: Rig, name: str = "s1") -> int:
    rig.tell({"op": "stand_by", "standby": name, "cgroups": []})
    event = rig.event("standing")
    assert event["standby"] == name
    return int(event["pid"])


def test_a_standby_becomes_the_replica_that_is_ordered(rig: Rig, write: Write) -> None:
    """It takes name, environment and directory of its order, and loads its model then."""
    rig.prepare(write(PROGRAM))
    pid = standing(rig)

    channel = rig.fork("r1", standby="s1", environment={"X": "of the order"}, cwd="/usr").ready()
    answer = channel.answer(1)

    assert (channel.pid, answer["pid"]) == (pid, pid)
    assert answer["imported_by"] == rig.process.pid
    assert answer["loaded_by"] == pid
    assert (answer["mark"], answer["x"], answer["cwd"]) == ("r1", "of the order", "/usr")


def test_a_standby_is_used_once(rig: Rig, write: Write) -> None:
    """The next order of that name is met by a fork."""
    rig.prepare(write(PROGRAM))
    pid = standing(rig)
    first = rig.fork("r1", standby="s1").ready()
    second = rig.fork("r2", standby="s1").ready()
    assert first.answer(1)["pid"] == pid
    assert second.answer(1)["pid"] not in (pid, rig.process.pid)
    assert first.answer(2)["random"] != second.answer(2)["random"]


def test_a_standby_that_dies_is_told_and_its_order_is_met_by_a_fork(rig: Rig, write: Write) -> None:
    """Nobody waits for a process that is gone."""
    rig.prepare(write(PROGRAM))
    pid = standing(rig)
    os.kill(pid, signal.SIGKILL)
    assert rig.event("fell")["standby"] == "s1"
    assert rig.fork("r1", standby="s1").ready().answer(1)["pid"] != pid


def test_a_standby_does_not_outlive_its_template(rig: Rig, write: Write) -> None:
    """Neither when the template is killed, nor when its supervisor hangs up."""
    rig.prepare(write(PROGRAM))
    pid = standing(rig)
    rig.process.kill()
    await_true(lambda: not is_alive(pid), "the standby is gone")


def test_the_end_of_a_replica_leaves_the_standby_alone(rig: Rig, write: Write) -> None:
    """What is swept up after the last replica is not what waits for the next."""
    rig.prepare(write(PROGRAM))
    channel = rig.fork("r1").ready()
    pid = standing(rig)
    channel.sock.close()
    rig.event("exited")
    assert is_alive(pid)
    assert rig.fork("r2", standby="s1").ready().answer(1)["pid"] == pid


def test_a_program_that_cannot_be_forked_has_no_standby(rig: Rig, write: Write) -> None:
    """It is told at once, so that nobody counts on it."""
    rig.prepare(write("import threading, time\n" + THREAD + PROGRAM))
    rig.tell({"op": "stand_by", "standby": "s1", "cgroups": []})
    assert rig.event("fell")["standby"] == "s1"


THREAD = "threading.Thread(target=time.sleep, args=(300,), daemon=True).start()\n"


def loading(rig: Rig, program: Path) -> dict[str, object]:
    paths = [str(program.parent)]
    rig.tell({"op": "prepare", "program": str(program), "paths": paths, "model_dir": "/"})
    return rig.event("prepared")


def test_a_model_is_loaded_before_the_fork(rig: Rig, write: Write) -> None:
    """Replicas and standbys have it from the start."""
    assert loading(rig, write(PROGRAM))["has_model"] is True
    standing(rig)
    for name, standby in (("r1", "s1"), ("r2", None)):
        answer = rig.fork(name, standby=standby).ready().answer(1)
        assert answer["loaded_by"] == rig.process.pid


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("    threading.Thread(target=time.sleep, args=(300,), daemon=True).start()", "threads"),
        ("    globals()['kept'] = socket.socket()", "a socket was opened"),
        ("    if 'X' not in os.environ: raise RuntimeError('no X')", "no X"),
    ],
)
def test_a_model_that_rules_a_fork_out_is_loaded_after_it(
    rig: Rig, write: Write, line: str, reason: str
) -> None:
    """One rung lower: imports are shared all the same, and the reason is told."""
    program = "import socket, threading, time\n" + PROGRAM.replace(
        "def model_fn(model_dir):", f"def model_fn(model_dir):\n{line}"
    )
    told = loading(rig, write(program))
    assert (told["has_model"], told["fork_safe"]) == (False, True)
    assert reason in str(told["reason"])
    answer = rig.fork(environment={"X": "1"}).ready().answer(1)
    assert (answer["imported_by"], answer["loaded_by"]) == (rig.process.pid, answer["pid"])


def test_an_order_with_a_standby_of_a_command_runs_the_command(rig: Rig) -> None:
    """Commands need no import, but their fork and their cgroups are ready all the same."""
    rig.prepare(None)
    pid = standing(rig)
    channel = rig.fork("r1", standby="s1", argv=["sh", "-c", "echo $$ $COLDSPARK_REPLICA"])
    assert rig.event("exited")["status"] == 0
    assert channel.printed(channel.stdout).split() == [str(pid), "r1"]


def test_nothing_of_the_channel_is_left_in_a_standby(rig: Rig, write: Write) -> None:
    """The end of one replica's channel is seen although standbys were forked beside it."""
    rig.prepare(write(PROGRAM))
    channel = rig.fork("r1").ready()
    standing(rig)
    os.kill(channel.pid, signal.SIGKILL)
    channel.end()
    with pytest.raises(EOFError):
        channel.frame()


def test_both_ways_of_finding_descendants_agree() -> None:
    """The kernel's own lists, and the look at every process where it keeps none."""
    inner = subprocess.Popen(["sh", "-c", "sleep 60 & sleep 60 & wait"])
    try:
        await_true(lambda: len(orphans.descendants(inner.pid)) == 2, "both sleep")
        searched = orphans._searched_children()
        read = orphans._read_children(inner.pid)
        assert len(read) == 2
        assert sorted(read) == sorted(searched(inner.pid))
    finally:
        for process in orphans.descendants(inner.pid):
            os.kill(process.pid, signal.SIGKILL)
        inner.kill()
        inner.wait()


def test_a_standby_warms_its_model_up_before_its_order_comes(rig: Rig, write: Write) -> None:
    """What a first request would wait for is done; a fork without a standby does it as well."""
    program = PROGRAM + (
        "def model_warmup_fn(model_dir, model):\n    global WARM\n    WARM = os.getpid()\n"
    )
    program = program.replace('"pid": os.getpid(),', '"pid": os.getpid(), "warm": WARM,')
    loading(rig, write(program))
    standing(rig)
    for name, standby in (("r1", "s1"), ("r2", None)):
        answer = rig.fork(name, standby=standby).ready().answer(1)
        assert answer["warm"] == answer["pid"]
