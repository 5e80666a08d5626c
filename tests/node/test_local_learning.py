"""What replicas import late is in the next template; models unsafe to fork are loaded ahead."""

from pathlib import Path

import pytest
from local_rig import ECHO, Rig, play, until

from coldspark.node.warmth import TemplateView
from coldspark.spec.messages import Device, Reservation
from coldspark.spec.types import DeviceId, NodeId, ReplicaId, Revision, RevisionId, Spec

pytestmark = pytest.mark.process

LAZY = """
import os
def model_fn(model_dir):
    return None
def transform_fn(model, data, content_type, accept):
    import late
    return f"{late.PID} {os.getpid()}", "text/plain"
"""
LATE = "import os, time\ntime.sleep(0.02)\nPID = os.getpid()\n"
ABORTS = """
import os
PID = os.getpid()
if "COLDSPARK_ENDPOINT" not in os.environ:
    os._exit(3)
"""
THREADED = """
import os, threading
def model_fn(model_dir):
    threading.Thread(target=threading.Event().wait, daemon=True, name="loop").start()
    return str(os.getpid())
def transform_fn(model, data, content_type, accept):
    return f"{model} {os.getpid()}", "text/plain"
"""
SETUP = """
import os
def setup_fn(model_dir):
    return os.getpid()
def model_fn(model_dir, setup):
    return f"{setup} {os.getpid()}"
def transform_fn(model, data, content_type, accept):
    return model, "text/plain"
"""


def held(rig: Rig, what: Spec) -> TemplateView | None:
    """Return the template that the next replica would be forked from."""
    return rig.engine.warmth(Revision(id=RevisionId("0" * 16), spec=what)).template


async def answer(rig: Rig, replica: ReplicaId) -> list[int]:
    """Call, and return the numbers of the reply."""
    answers = await rig.call(replica, b"{}").ended()
    assert answers.failure is None, answers.failure
    return [int(word) for word in answers.body.split()]


async def one_life(rig: Rig, what: Spec) -> tuple[ReplicaId, list[int]]:
    """Start a replica, call it once, and see it end."""
    replica = await rig.ready(rig.start(what))
    numbers = await answer(rig, replica)
    # What the first call has imported is told before the second is taken.
    assert await answer(rig, replica) == numbers
    rig.engine.stop(replica, 1.0)
    await rig.exited(replica)
    return replica, numbers


def lazy(rig: Rig, late: str = LATE) -> Spec:
    rig.model("model", {"code/late.py": late})
    return rig.handler_spec(LAZY)


def test_what_a_replica_imports_late_is_in_the_next_template(tmp_path: Path) -> None:
    """The idle template is renewed beside the old one, and told; nothing is imported twice."""

    async def scenario(rig: Rig) -> None:
        what = lazy(rig)
        _, (importer, replica) = await one_life(rig, what)
        assert importer == replica
        first = held(rig, what)
        assert first is not None
        assert first.learned_modules == 0
        await until(lambda: (view := held(rig, what)) is not None and view.learned_modules > 0)
        renewed = held(rig, what)
        assert renewed is not None
        assert renewed.pid != first.pid
        assert (renewed.learned_us or 0) >= 20_000
        _, (importer, _) = await one_life(rig, what)
        assert importer == renewed.pid
        after = held(rig, what)
        assert after is not None
        assert after.pid == renewed.pid

    play(tmp_path, scenario)


def test_what_was_learned_outlives_the_server(tmp_path: Path) -> None:
    """The first template of the next run has it, with nobody's wait for a renewal."""

    async def learns(rig: Rig) -> None:
        what = lazy(rig)
        await one_life(rig, what)
        await until(lambda: (view := held(rig, what)) is not None and view.learned_modules > 0)

    async def knows(rig: Rig) -> None:
        what = lazy(rig)
        _, (importer, replica) = await one_life(rig, what)
        assert importer != replica

    play(tmp_path, learns)
    play(tmp_path, knows)


def test_a_module_that_kills_a_template_kills_none_that_is_needed(tmp_path: Path) -> None:
    """The template that tries it dies alone; it is denied, and replicas start as before."""

    async def scenario(rig: Rig) -> None:
        what = lazy(rig, ABORTS)
        await one_life(rig, what)
        first = held(rig, what)
        assert first is not None
        record = tmp_path / "data" / "learned"
        await until(lambda: any(b"died" in file.read_bytes() for file in record.glob("*.json")))
        _, (importer, replica) = await one_life(rig, what)
        assert importer == replica
        after = held(rig, what)
        assert after is not None
        assert after.pid == first.pid

    play(tmp_path, scenario)


def test_a_record_that_cannot_be_read_is_learned_anew(tmp_path: Path) -> None:
    """It only spares time."""

    async def learns(rig: Rig) -> None:
        what = lazy(rig)
        await one_life(rig, what)
        await until(lambda: (view := held(rig, what)) is not None and view.learned_modules > 0)

    play(tmp_path, learns)
    for file in (tmp_path / "data" / "learned").iterdir():
        file.write_bytes(b"{")
    play(tmp_path, learns)


def test_a_standby_has_loaded_a_model_that_no_template_can_hold(tmp_path: Path) -> None:
    """It is weighed, told, and used."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(THREADED)
        await rig.engine.prepare(what, print)
        await until(lambda: (view := held(rig, what)) is not None and view.has_loaded_standby)
        view = held(rig, what)
        assert view is not None
        assert not view.has_model
        assert view.memory_bytes > 0
        replica = await rig.ready(rig.start(what))
        loader, runner = await answer(rig, replica)
        assert loader == runner == rig.pid(replica)
        assert "its model is loaded after the fork" in (rig.engine.template(replica) or "")

    play(tmp_path, scenario)


def test_templates_over_their_memory_load_nothing_ahead(tmp_path: Path) -> None:
    """One with users is not dropped, so it is the loaded process that goes, and says why."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(THREADED)
        replica = await rig.ready(rig.start(what))
        await until(lambda: "not ahead of an order" in str(held(rig, what)))
        await until(lambda: (view := held(rig, what)) is not None and not view.has_standby)
        loader, _ = await answer(rig, replica)
        assert loader == rig.pid(replica)
        again, _ = await answer(rig, await rig.ready(rig.start(what)))
        assert again != loader

    play(tmp_path, scenario, template_bytes_max=1)


def test_without_standbys_each_replica_is_a_fork(tmp_path: Path) -> None:
    """As the server was told."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(ECHO)
        for _ in range(3):
            replica = await rig.ready(rig.start(what))
            view = held(rig, what)
            assert view is not None
            assert not view.has_standby
            begun = rig.engine.start_of(replica)
            assert begun is not None
        assert begun.rung == "templated"

    play(tmp_path, scenario, has_standbys=False)


def test_on_a_gpu_only_the_setup_runs_before_the_fork(tmp_path: Path) -> None:
    """No process touches a device before a replica has it: nothing is loaded ahead there."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(SETUP)
        device = Device(id=DeviceId("0"), type="T4", memory_bytes=16 * 2**30)
        grant = Reservation(replica=ReplicaId("r1"), node=NodeId("here"), devices=(device,))
        replica = await rig.ready(rig.start(what, grant))
        setter, loader = await answer(rig, replica)
        ((_, template, _),) = rig.engine.templates()
        assert setter == template
        assert loader == rig.pid(replica)
        assert "set up" in (rig.engine.template(replica) or "")

    play(tmp_path, scenario)
