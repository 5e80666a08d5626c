"""Models that are safe to load only after the fork: a process that stands by loads them ahead."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from worker_rig import Rig

pytestmark = pytest.mark.process

Write = Callable[[str], Path]

THREADED = """
import os, threading
def model_fn(model_dir):
    thread = threading.Thread(target=threading.Event().wait, daemon=True, name="loop")
    thread.start()
    return {"loaded_by": os.getpid(), "x": os.environ.get("X"), "thread": thread}
def predict_fn(data, model):
    return {"pid": os.getpid(), "loaded_by": model["loaded_by"], "x": model["x"],
            "alive": model["thread"].is_alive(), "cwd": os.getcwd(), "now": os.environ.get("X")}
"""
FAILS_WITHOUT_ORDER = """
import os, threading
FAILED = []
def model_fn(model_dir):
    threading.Thread(target=threading.Event().wait, daemon=True, name="loop").start()
    if os.getpid() != int(os.environ["TEMPLATE"]) and "X" not in os.environ:
        FAILED.append(os.getpid())
        raise RuntimeError("no X yet")
    return os.environ.get("X")
def predict_fn(data, model):
    return {"model": model, "failed": FAILED, "pid": os.getpid()}
"""
SETUP = """
import os
def setup_fn(model_dir):
    return {"set_up_by": os.getpid(), "in": model_dir}
def model_fn(model_dir, setup):
    return {**setup, "loaded_by": os.getpid()}
def predict_fn(data, model):
    return {**model, "pid": os.getpid()}
"""
SETUP_THEN_THREAD = SETUP.replace(
    "def model_fn(model_dir, setup):",
    "import threading\n"
    "def model_fn(model_dir, setup):\n"
    "    threading.Thread(target=threading.Event().wait, daemon=True, name='loop').start()",
)
THREAD_IN_SETUP = SETUP.replace(
    "def setup_fn(model_dir):",
    "import threading\n"
    "def setup_fn(model_dir):\n"
    "    threading.Thread(target=threading.Event().wait, daemon=True, name='early').start()",
)


def prepare(rig: Rig, program: Path, **fields: Any) -> dict[str, Any]:
    rig.tell({"op": "prepare", "program": str(program), "paths": [str(program.parent)], **fields})
    return rig.event("prepared")


def stand_by(rig: Rig, *, load: bool) -> int:
    rig.tell({"op": "stand_by", "standby": "s1", "cgroups": [], "load": load})
    return int(rig.event("standing")["pid"])


def test_a_standby_loads_the_model_before_its_order_comes(rig: Rig, write: Write) -> None:
    """The model's threads live in the replica that it becomes, and its order still holds."""
    prepared = prepare(rig, write(THREADED), model_dir="/usr")
    assert (prepared["fork_safe"], prepared["has_model"]) == (True, False)
    assert prepared["loads_ahead"] is True
    assert "started threads at import: loop" in prepared["reason"]

    pid = stand_by(rig, load=True)
    word = rig.event("loaded_ahead")
    assert (word["standby"], word["trouble"]) == ("s1", None)
    answer = rig.fork("r1", standby="s1", environment={"X": "1"}, cwd="/usr").ready().answer(1)

    assert answer == {
        "pid": pid,
        "loaded_by": pid,
        "x": None,
        "alive": True,
        "cwd": "/usr",
        "now": "1",
    }


def test_an_order_that_comes_while_it_loads_is_not_lost(rig: Rig, write: Write) -> None:
    """It is met as soon as the model is there, whether anybody heard that or not."""
    slow = THREADED.replace("    return {", "    import time; time.sleep(0.3)\n    return {", 1)
    prepare(rig, write(slow), model_dir="/usr")
    pid = stand_by(rig, load=True)
    answer = rig.fork("r1", standby="s1").ready().answer(1)
    assert (answer["pid"], answer["loaded_by"]) == (pid, pid)


def test_a_load_that_fails_ahead_is_tried_again_with_the_order(rig: Rig, write: Write) -> None:
    """What needs the replica's own variables cannot be had without them, and is no failure."""
    program = write(FAILS_WITHOUT_ORDER.replace('os.environ["TEMPLATE"]', str(rig.process.pid)))
    assert prepare(rig, program, model_dir="/usr")["loads_ahead"] is True
    pid = stand_by(rig, load=True)
    assert rig.event("loaded_ahead")["trouble"] == "RuntimeError: no X yet"
    answer = rig.fork("r1", standby="s1", environment={"X": "1"}).ready().answer(1)
    assert answer == {"model": "1", "failed": [pid], "pid": pid}


def test_nothing_is_loaded_ahead_unless_it_is_asked_for(rig: Rig, write: Write) -> None:
    """The supervisor knows whether there is memory for it."""
    prepare(rig, write(THREADED), model_dir="/usr")
    pid = stand_by(rig, load=False)
    answer = rig.fork("r1", standby="s1", environment={"X": "1"}).ready().answer(1)
    assert (answer["pid"], answer["x"]) == (pid, "1")


def test_a_model_that_cannot_be_loaded_in_the_template_is_not_loaded_ahead(
    rig: Rig, write: Write
) -> None:
    """It would fail in the process that stands by as well."""
    failing = THREADED.replace("def model_fn(model_dir):", "def model_fn(model_dir):\n    1 / 0")
    prepared = prepare(rig, write(failing), model_dir="/usr")
    assert prepared["loads_ahead"] is False
    assert "loading it here failed: ZeroDivisionError" in prepared["reason"]


def test_setup_and_model_are_both_there_before_the_fork(rig: Rig, write: Write) -> None:
    """Where no GPU is involved, and nothing is in the way."""
    prepared = prepare(rig, write(SETUP), model_dir="/usr")
    assert (prepared["has_model"], prepared["has_setup"]) == (True, True)
    channel = rig.fork(model_dir="/usr").ready()
    assert channel.answer(1) == {
        "set_up_by": rig.process.pid,
        "in": "/usr",
        "loaded_by": rig.process.pid,
        "pid": channel.pid,
    }


def test_with_a_setup_directory_only_the_setup_runs_before_the_fork(rig: Rig, write: Write) -> None:
    """So it is for a GPU: the model needs the replica's device."""
    prepared = prepare(rig, write(SETUP), setup_dir="/usr")
    assert (prepared["has_model"], prepared["has_setup"]) == (False, True)
    assert (prepared["loads_ahead"], prepared["reason"]) == (False, None)
    channel = rig.fork(model_dir="/usr").ready()
    answer = channel.answer(1)
    assert (answer["set_up_by"], answer["loaded_by"]) == (rig.process.pid, channel.pid)


def test_a_model_that_is_unsafe_leaves_its_setup_before_the_fork(rig: Rig, write: Write) -> None:
    """One rung less, not all of them."""
    prepared = prepare(rig, write(SETUP_THEN_THREAD), model_dir="/usr")
    assert (prepared["has_model"], prepared["has_setup"]) == (False, True)
    assert prepared["reason"].startswith("its model is loaded after the fork: ")
    channel = rig.fork(model_dir="/usr").ready()
    answer = channel.answer(1)
    assert (answer["set_up_by"], answer["loaded_by"]) == (rig.process.pid, channel.pid)


def test_a_setup_that_is_unsafe_runs_after_the_fork(rig: Rig, write: Write) -> None:
    """With the reason; the imports are still shared."""
    prepared = prepare(rig, write(THREAD_IN_SETUP), setup_dir="/usr")
    assert (prepared["fork_safe"], prepared["has_setup"]) == (True, False)
    assert prepared["reason"] == (
        "its setup runs after the fork: the program started threads at import: early"
    )
    channel = rig.fork(model_dir="/usr").ready()
    assert channel.answer(1)["set_up_by"] == channel.pid


def test_a_setup_that_raises_is_tried_again_in_the_replica(rig: Rig, write: Write) -> None:
    """There it is the replica's own failure, or none."""
    program = write(
        SETUP.replace("    return {", "    os.environ['ONLY_REPLICA']\n    return {", 1)
    )
    prepared = prepare(rig, program, setup_dir="/usr")
    assert "its setup_fn here failed: KeyError" in prepared["reason"]
    channel = rig.fork(model_dir="/usr", environment={"ONLY_REPLICA": "1"}).ready()
    assert channel.answer(1)["set_up_by"] == channel.pid
