"""Who does the work does not matter; who is told to stop stops."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from operator import mul
from pathlib import Path

import pytest
from plans import BOOKS, question

from coldspark.cli.plan_processes import ProcessPool, cores
from coldspark.errors import InvalidRequest
from coldspark.sim.executor import SerialExecutor, WorkExecutor, raise_if_cancelled
from coldspark.sim.plan_json import Json, to_json
from coldspark.sim.planner import Planner
from coldspark.sim.traffic import Durations, synthetic_traffic


def planned(crew: WorkExecutor) -> tuple[Json, list[tuple[int, int]]]:
    """Return a plan with chance in everything, and what was heard of its steps."""
    traffic = synthetic_traffic(
        rate_per_hour=24, days=0.1, burst=2, service=Durations.lognormal(2, 9), seed=3
    )
    start = Durations.lognormal(10, 30)
    asked = question(traffic=traffic, period_s=8_640.0, start=start, seeds=2)
    heard: list[tuple[int, int]] = []
    planner = Planner(asked, BOOKS, lambda done, total, what: heard.append((done, total)), crew)
    return to_json(planner.plan()), heard


@pytest.mark.process
def test_any_number_of_processes_comes_to_the_same_plan() -> None:
    """To the last digit, and each step is told of once."""
    alone, heard_alone = planned(SerialExecutor())
    with ProcessPool(2) as crew:
        together, heard_together = planned(crew)
    assert together == alone
    assert heard_together == heard_alone
    assert [done for done, _ in heard_alone] == list(range(heard_alone[0][1]))


def test_results_stand_in_the_order_of_the_pieces() -> None:
    """Whatever is done first."""
    heard: list[str] = []
    pieces = [(str(n), partial(mul, n, n)) for n in range(5)]
    assert SerialExecutor().run(pieces, heard.append) == [0, 1, 4, 9, 16]
    assert heard == ["0", "1", "2", "3", "4"]


def test_work_that_nobody_called_off_goes_on() -> None:
    """Outside of a crew there is nothing to heed."""
    raise_if_cancelled(1, 2)


@pytest.mark.process
def test_a_pool_that_is_called_off_ends_at_once() -> None:
    """The pieces that wait are dropped; those under way give up at their next look."""
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), ProcessPool(2) as crew:
        crew.run([("fast", _nothing), ("slow", _endless), ("never", _endless)], _interrupt)
    assert time.monotonic() - begun < 30.0


@pytest.mark.process
def test_a_process_that_is_killed_ends_the_plan_with_a_reason() -> None:
    """Not with a traceback, and not never."""
    with (
        pytest.raises(InvalidRequest, match="was killed, by lack of memory"),
        ProcessPool(2) as crew,
    ):
        crew.run([("killed", _killed), ("slow", _nothing)], lambda name: None)


def _killed() -> None:
    """Die as the kernel ends a process."""
    os.kill(os.getpid(), signal.SIGKILL)


def _nothing() -> None:
    """Be done."""


def _endless() -> None:
    """Go on until told not to."""
    for done in range(3_000):
        raise_if_cancelled(done, 3_000)
        time.sleep(0.02)
    raise AssertionError("nobody called it off")


def _interrupt(name: str) -> None:
    raise KeyboardInterrupt


@pytest.mark.process
def test_ctrl_c_ends_a_long_plan_and_its_processes(tmp_path: Path) -> None:
    """Exit code 130 and no answer, well before it would be done; nobody is left behind."""
    if cores() == 1:
        pytest.skip("one core has no crew")
    coldspark = str(Path(sys.executable).parent / "coldspark")
    words = ["plan", "--rate", "5000/h", "--days", "7", "--service", "2s", "--no-break-even"]
    running = subprocess.Popen(
        [coldspark, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # What runs in a shell's background inherits an ignored Ctrl-C, as this test itself may.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        env={**os.environ, "COLDSPARK_CONFIG": str(tmp_path / "none.toml")},
    )
    while len(children := _children(running.pid)) < 1 + cores():
        assert running.poll() is None, "it was done before it had begun"
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, b"")
    ends_s = time.monotonic() + 20.0
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < ends_s, "a process was left behind"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []
