"""What replicas import after the fork is told, and imported before the next one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from worker_rig import Channel, Rig

from coldspark.node.worker import frames

pytestmark = pytest.mark.process

Write = Callable[[str], Path]

LAZY = """
import os, sys
EARLY = "late" in sys.modules
def predict_fn(data):
    loaded = sys.modules.get(data)
    if loaded is None:
        __import__(data)
        loaded = sys.modules[data]
    return {"imported_by": getattr(loaded, "PID", None), "pid": os.getpid()}
"""


THREAD = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True, name="poll").start()
"""


def prepare(rig: Rig, program: Path, learned: list[str]) -> dict[str, Any]:
    rig.tell(
        {
            "op": "prepare",
            "program": str(program),
            "paths": [str(program.parent)],
            "learned": learned,
        }
    )
    return rig.event("prepared")


def module(program: Path, name: str, text: str) -> None:
    (program.parent / f"{name}.py").write_text("import os\nPID = os.getpid()\n" + text)


def told(channel: Channel) -> list[str]:
    return list(channel.expect(frames.LEARNED)["modules"])


def test_a_replica_tells_what_its_first_call_imported(rig: Rig, write: Write) -> None:
    """With what that imported in turn, and nothing that the fork brought."""
    program = write(LAZY)
    module(program, "late", "import wave\n")
    prepare(rig, program, [])
    channel = rig.fork().ready()
    answer = channel.answer(1, b'"late"')
    assert answer["imported_by"] == answer["pid"]
    names = told(channel)
    assert {"late", "wave"} <= set(names)
    assert names.index("wave") < names.index("late")
    assert not {"os", "inference", "json"} & set(names)


def test_what_lies_outside_environment_and_code_is_not_told(
    rig: Rig, write: Write, tmp_path: Path
) -> None:
    """A module that a program has written somewhere may be gone the next time."""
    program = write("import sys\n" + LAZY + "sys.path.append(sys.argv[0] + '.d')\n")
    scratch = program.parent / "inference.py.d"
    scratch.mkdir()
    (scratch / "stray.py").write_text("import wave\n")
    away = tmp_path / "elsewhere"
    away.mkdir()
    rig.tell({"op": "prepare", "program": str(program), "paths": [str(away)]})
    rig.event("prepared")
    channel = rig.fork().ready()
    channel.answer(1, b'"stray"')
    names = told(channel)
    assert "wave" in names
    assert "stray" not in names


def test_a_call_that_imports_nothing_tells_nothing(rig: Rig, write: Write) -> None:
    """The next frame is the next reply."""
    prepare(rig, write(LAZY), ["wave"])
    channel = rig.fork().ready()
    for number in range(1, 6):
        channel.answer(number, b'"wave"')


def test_learned_modules_come_with_the_fork(rig: Rig, write: Write) -> None:
    """After the program itself, which does not see them."""
    program = write(LAZY)
    module(program, "late", "")
    prepared = prepare(rig, program, ["late"])
    assert (prepared["learned"], prepared["denied"]) == (1, {})
    assert prepared["learned_us"] >= 0
    answer = rig.fork().ready().answer(1, b'"late"')
    assert answer["imported_by"] == rig.process.pid


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise RuntimeError('not here')", "RuntimeError: not here"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (
            THREAD,
            "importing it starts threads: poll",
        ),
        ("import socket\nKEPT = socket.socket()", "importing it opens a socket"),
    ],
)
def test_what_does_not_bear_a_fork_is_denied_and_the_rest_is_kept(
    rig: Rig, write: Write, text: str, reason: str
) -> None:
    """The template starts over without it, and forks."""
    program = write(LAZY)
    module(program, "good", "")
    module(program, "bad", text)
    module(program, "fine", "")
    prepared = prepare(rig, program, ["good", "bad", "fine"])
    assert (prepared["fork_safe"], prepared["learned"]) == (True, 2)
    assert prepared["denied"] == {"bad": reason}
    assert prepared["reason"] is None
    for number, name in enumerate((b'"good"', b'"fine"')):
        channel = rig.fork(f"r{number}").ready()
        assert channel.answer(1, name)["imported_by"] == rig.process.pid


def test_starting_over_is_bounded(rig: Rig, write: Write) -> None:
    """When three attempts have failed, all the rest is left out."""
    program = write(LAZY)
    names = [f"bad{number}" for number in range(5)]
    for name in names:
        module(program, name, "import socket\nKEPT = socket.socket()")
    prepared = prepare(rig, program, names)
    assert (prepared["fork_safe"], prepared["learned"]) == (True, 0)
    assert set(prepared["denied"]) == set(names)
    assert prepared["denied"]["bad4"] == "too many of those before it were refused"
