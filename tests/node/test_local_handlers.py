"""Handlers on this machine: real templates, real forks, real exits."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from local_rig import ECHO, SLOW, Rig, alive, gone, opened, play, spec, until

from coldspark.errors import Conflict, StartFailed
from coldspark.spec.messages import Device, Reservation
from coldspark.spec.types import (
    MIB,
    DeviceId,
    EndpointName,
    HandlerProgram,
    NodeId,
    ReplicaId,
    RootCause,
)

pytestmark = pytest.mark.process


def test_a_handler_starts_answers_and_stops(tmp_path: Path) -> None:
    """The whole life, in order, and with its times printed."""

    async def scenario(rig: Rig) -> None:
        first, second = rig.handler(ECHO), rig.handler(ECHO)
        await rig.ready(first)
        await rig.ready(second)
        third = await rig.ready(rig.handler(ECHO))
        times = rig.listener.at_s
        spent_s = times[third, "ready"] - times[third, "fetched"]
        print(f"warm template, fetched -> ready: {spent_s * 1e3:.1f} ms")

        for body in (b"", b"hello", b"x" * (3 * MIB + 1)):
            sink = await rig.call(third, body).ended()
            assert (sink.status, sink.body) == (200, body)
            assert sink.handler_us is not None

        # Two starts at once, and a third later, are forks of one template.
        assert [users for _, _, users in rig.engine.templates()] == [3]
        assert "fork of template" in (rig.engine.template(third) or "")
        rig.engine.stop(third, 10)
        rig.engine.stop(third, 10)
        end = await rig.exited(third)
        assert (end.cause, end.exit_status) == (RootCause.KILLED, -signal.SIGTERM)
        assert rig.listener.heard[third] == ["fetched", "booted", "ready", "exited"]

    play(tmp_path, scenario)
    assert list((tmp_path / "data" / "replicas").iterdir()) == []
    assert (tmp_path / "model" / "code" / "inference.py").exists()


def test_it_runs_under_uvloop_too(tmp_path: Path) -> None:
    """The production loop has other transports."""
    uvloop = pytest.importorskip("uvloop")

    async def run() -> None:
        async with asyncio.timeout(60), opened(Rig(tmp_path)) as rig:
            replica = await rig.ready(rig.handler(ECHO))
            sink = await rig.call(replica, b"x" * (2 * MIB)).ended()
            assert len(sink.body) == 2 * MIB
            rig.engine.stop(replica, 0)
            assert (await rig.exited(replica)).exit_status == -signal.SIGKILL

    uvloop.run(run())


def test_the_replica_sees_a_clean_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spec's and the order's variables, the grant's devices, and no secret of ours."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    text = """
import json, os
SEEN = os.environ.get("MY_SETTING")
def model_fn(model_dir): return model_dir
def transform_fn(model, data, content_type, accept):
    return json.dumps({**os.environ, "SEEN": SEEN, "MODEL": model}), "application/json"
"""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(text, environment=(("MY_SETTING", "1"),))
        devices = (
            Device(id=DeviceId("0"), type="T4", memory_bytes=1, is_simulated=True),
            Device(id=DeviceId("GPU-1"), type="T4", memory_bytes=1),
        )
        granted = Reservation(replica=ReplicaId("r1"), node=NodeId("n"), devices=devices)
        replica = await rig.ready(rig.start(what, granted))
        sink = await rig.call(replica).ended()
        seen = json.loads(sink.body)
        assert seen["SEEN"] == "1"
        assert seen["MODEL"] == seen["SM_MODEL_DIR"] == str(tmp_path / "model")
        assert os.readlink(seen["SAGEMAKER_BASE_DIR"] + "/model") == seen["MODEL"]
        assert seen["COLDSPARK_ENDPOINT"] == "echo"
        assert seen["COLDSPARK_REPLICA"] == replica
        assert (seen["COLDSPARK_GPU"], seen["COLDSPARK_GPU_SIMULATED"]) == ("T4,T4", "1")
        assert seen["CUDA_VISIBLE_DEVICES"] == "GPU-1"
        assert "AWS_SECRET_ACCESS_KEY" not in seen

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("text", "cause", "words"),
    [
        ("import nonexistent_module", RootCause.IMPORT_ERROR, "nonexistent_module"),
        ("def model_fn(d): open(d + '/weights.bin')", RootCause.MODEL_FILE_MISSING, "weights.bin"),
        ("def model_fn(d): raise SystemExit(3)", RootCause.UNKNOWN, "sys.exit(3)"),
        ("import os; print('bye', flush=True); os._exit(5)", RootCause.UNKNOWN, "exit status 5"),
        ("def model_fn(d): import os; os._exit(6)", RootCause.UNKNOWN, "exit status 6"),
    ],
    ids=["import", "model file", "sys.exit", "exit at import", "exit at load"],
)
def test_a_start_that_fails_says_why(
    tmp_path: Path, text: str, cause: RootCause, words: str
) -> None:
    """Exactly one on_exited, with cause, cure and the log's last lines."""
    text += "\ndef predict_fn(data, model): return data\n"

    async def scenario(rig: Rig) -> None:
        replicas = [rig.handler(text), rig.handler(text)]
        for replica in replicas:
            end = await rig.exited(replica)
            assert end.cause is cause, end
            assert words in end.message
            assert "ready" not in rig.listener.heard[replica]
        assert rig.engine.log_tail(replicas[0], 1)[0].startswith("ended: ")
        # A template that broke, or whose program was written anew, is not forked from again.
        again = rig.handler(ECHO)
        await rig.ready(again)

    play(tmp_path, scenario)


def test_what_cannot_be_prepared_says_why(tmp_path: Path) -> None:
    """No model data, no environment, no program."""

    async def scenario(rig: Rig) -> None:
        missing = rig.start(spec(handler=HandlerProgram(), model="file:///nowhere"))
        url = rig.model("req", {"code/inference.py": ECHO, "code/requirements.txt": "impossible\n"})
        unbuilt = rig.start(spec(handler=HandlerProgram(), model=url))
        url = rig.model("model", {"code/inference.py": ECHO})
        long = rig.handler(ECHO, environment=(("A", "x" * 90_000), ("B", "x" * 90_000)))
        torn = rig.handler(ECHO, environment=(("TORN", "a\0b"),))
        unnamed = rig.start(spec(handler=HandlerProgram(program="other.py"), model=url))
        end = await rig.exited(missing)
        assert (end.cause, end.exit_status) == (RootCause.ARTIFACT_UNAVAILABLE, None)
        end = await rig.exited(unbuilt)
        assert (end.cause, end.log_tail) == (RootCause.ENVIRONMENT_FAILED, ("uv: no",))
        assert rig.environments.asked[0] == ("impossible",)
        end = await rig.exited(unnamed)
        assert end.cause is RootCause.HANDLER_INVALID
        assert "no 'other.py' in code/ of the model archive" in end.message
        assert "at most 131072" in (await rig.exited(long)).message
        assert "null byte" in (await rig.exited(torn)).message

    play(tmp_path, scenario)


def test_a_stop_while_fetching_cancels_the_fetch(tmp_path: Path) -> None:
    """Nothing was forked; still exactly one on_exited."""

    async def scenario(rig: Rig) -> None:
        rig.artifacts.held.clear()
        started = rig.handler(ECHO)
        untouched = rig.handler(ECHO)
        rig.engine.stop(untouched, 10)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        rig.engine.stop(started, 10)
        for replica in (started, untouched):
            end = await rig.exited(replica)
            assert (end.cause, end.exit_status) == (RootCause.KILLED, None)
            assert rig.listener.heard[replica] == ["exited"]
        assert rig.artifacts.cancelled.is_set()

    play(tmp_path, scenario)


def test_a_stop_while_loading_ends_it(tmp_path: Path) -> None:
    """SIGTERM is ignored by the handler, so SIGKILL ends it after the grace."""
    text = """
import os, signal, time
def model_fn(d):
    if os.environ["COLDSPARK_REPLICA"].startswith("-"):
        raise RuntimeError("not ahead of the fork")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("loading", flush=True)
    time.sleep(60)
def predict_fn(data, model): return data
"""

    async def scenario(rig: Rig) -> None:
        replica = rig.handler(text)
        await rig.listener.wait_for(replica, "booted")
        await rig.printed(replica, "loading")
        rig.engine.stop(replica, 0.05)
        end = await rig.exited(replica)
        assert (end.cause, end.exit_status) == (RootCause.KILLED, -signal.SIGKILL)

    play(tmp_path, scenario)


def test_a_stop_while_the_template_loads_ends_both(tmp_path: Path) -> None:
    """A load that hangs is not waited for again: the next start gets a template of its own."""
    text = """
import time
def model_fn(d):
    print("loading", flush=True)
    time.sleep(60)
def predict_fn(data, model): return data
"""

    async def scenario(rig: Rig) -> None:
        replica = rig.handler(text)
        await rig.printed(replica, "loading")
        ((_, pid, _),) = rig.engine.templates()
        rig.engine.stop(replica, 0.05)
        assert (await rig.exited(replica)).cause is RootCause.KILLED
        await gone(pid)

    play(tmp_path, scenario)


def test_a_model_is_loaded_once_and_shared_by_its_forks(tmp_path: Path) -> None:
    """What the template loaded, every replica has: nothing is loaded again."""
    text = """
import json, os
def model_fn(d): return os.getpid()
def transform_fn(model, data, content_type, accept):
    return json.dumps({"loaded_by": model, "pid": os.getpid()})
"""

    async def scenario(rig: Rig) -> None:
        answers = []
        for _ in range(2):
            replica = await rig.ready(rig.handler(text))
            answers.append(json.loads((await rig.call(replica, b"{}").ended()).body))
        ((_, template, _),) = rig.engine.templates()
        assert {answer["loaded_by"] for answer in answers} == {template}
        assert len({answer["pid"] for answer in answers}) == 2

    play(tmp_path, scenario)


def test_a_model_that_opens_a_socket_is_loaded_after_the_fork(tmp_path: Path) -> None:
    """Forks of one connection would talk across each other; the reason is told."""
    text = """
import json, os, socket
def model_fn(d): return socket.socket(), os.getpid()
def transform_fn(model, data, content_type, accept):
    return json.dumps({"loaded_by": model[1], "pid": os.getpid()})
"""

    async def scenario(rig: Rig) -> None:
        replica = await rig.ready(rig.handler(text))
        answer = json.loads((await rig.call(replica, b"{}").ended()).body)
        assert answer["loaded_by"] == answer["pid"]
        assert "a socket was opened while the model was loaded" in rig.engine.template(replica)

    play(tmp_path, scenario)


def test_a_template_is_ready_before_the_first_start(tmp_path: Path) -> None:
    """What was prepared for a spec is what its replicas are forked from, standby and all."""

    async def scenario(rig: Rig) -> None:
        what = rig.handler_spec(ECHO)
        await rig.engine.prepare(what, print)
        ((_, prepared, users),) = rig.engine.templates()
        assert users == 0
        replica = await rig.ready(rig.start(what))
        assert [pid for _, pid, _ in rig.engine.templates()] == [prepared]
        assert (await rig.call(replica, b"x").ended()).body == b"x"

    play(tmp_path, scenario)


def test_what_is_prepared_drives_out_no_template_that_was_used(tmp_path: Path) -> None:
    """Many endpoints deployed at once make no more templates than there is room for."""

    async def scenario(rig: Rig) -> None:
        await rig.ready(rig.handler(ECHO, name="used"))
        for number in range(4):
            await rig.engine.prepare(rig.handler_spec(ECHO, name=f"other{number}"), print)
        labels = [label.split("/")[-3] for label, _, _ in rig.engine.templates()]
        assert labels == ["used", "other0"]

    play(tmp_path, scenario, templates_max=2)


def test_a_program_that_cannot_be_imported_is_told_when_it_is_prepared(tmp_path: Path) -> None:
    """Earlier than the first caller."""

    async def scenario(rig: Rig) -> None:
        with pytest.raises(StartFailed, match="nothing_like_this"):
            await rig.engine.prepare(rig.handler_spec("import nothing_like_this"), print)

    play(tmp_path, scenario)


def test_an_idle_template_ends_and_a_used_one_stays(tmp_path: Path) -> None:
    """It is kept for a while after its last replica, then closed."""

    async def scenario(rig: Rig) -> None:
        used = await rig.ready(rig.handler(ECHO, name="used"))
        idle = await rig.ready(rig.handler(ECHO, name="idle"))
        pids = {label.split("/")[-3]: pid for label, pid, _ in rig.engine.templates()}
        rig.engine.stop(idle, 0)
        await rig.exited(idle)
        await gone(pids["idle"])
        assert [pid for _, pid, _ in rig.engine.templates()] == [pids["used"]]
        assert (await rig.call(used, b"x").ended()).body == b"x"

    play(tmp_path, scenario, template_idle_s=0.05)


def test_there_are_only_so_many_templates(tmp_path: Path) -> None:
    """What spares little goes first, although it was used last."""
    slow = "import time\ntime.sleep(1)\n" + ECHO

    async def scenario(rig: Rig) -> None:
        for name, text in (("slow1", slow), ("quick", ECHO), ("slow2", slow)):
            replica = await rig.ready(rig.handler(text, name=name))
            rig.engine.stop(replica, 0)
            await rig.exited(replica)
        labels = [label for label, _, _ in rig.engine.templates()]
        assert sorted(label.split("/")[-3] for label in labels) == ["slow1", "slow2"]

    play(tmp_path, scenario, templates_max=2)


def test_templates_hold_only_so_much_memory(tmp_path: Path) -> None:
    """Over the budget, one without replicas goes."""
    heavy = "HELD = bytearray(b'x') * (96 << 20)\n" + ECHO

    async def scenario(rig: Rig) -> None:
        for name in ("first", "second"):
            replica = await rig.ready(rig.handler(heavy, name=name))
            rig.engine.stop(replica, 0)
            await rig.exited(replica)
        await until(lambda: len(rig.engine.templates()) == 1)

    play(tmp_path, scenario, template_bytes_max=150 * MIB)


def test_a_model_that_takes_too_much_memory_is_named_so(tmp_path: Path) -> None:
    """Loading in the template is held to the replica's own limit, where this machine can."""
    text = """
def model_fn(d): return b"x" * (900 << 20)
def predict_fn(data, model): return data
"""

    async def scenario(rig: Rig) -> None:
        if "memory limits" in rig.engine.describe().partition("not enforced")[2]:
            pytest.skip(f"this machine limits no memory: {rig.engine.describe()}")
        end = await rig.exited(rig.handler(text, memory_bytes=256 * MIB))
        assert end.cause is RootCause.OUT_OF_MEMORY

    play(tmp_path, scenario)


def test_a_flood_of_output_slows_nobody_else(tmp_path: Path) -> None:
    """One replica prints 100 MB; another answers meanwhile; the disk holds its share only."""
    flood = """
import os
def model_fn(d): return None
def transform_fn(model, data, content_type, accept):
    line = b"x" * 99 + b"\\n"
    for _ in range(1000): os.write(1, line * 1000)
    print("done", flush=True)
    return b"", "text/plain"
"""

    async def scenario(rig: Rig) -> None:
        noisy = await rig.ready(rig.handler(flood, name="noisy"))
        quiet = await rig.ready(rig.handler(ECHO, name="quiet"))
        flooding = rig.call(noisy)
        answers = 0
        while not flooding.over.is_set():
            await rig.call(quiet, b"x").ended()
            answers += 1
        assert answers > 20
        await rig.printed(noisy, "done")
        files = (tmp_path / "data" / "logs").rglob(f"{noisy}.log*")
        assert sum(file.stat().st_size for file in files) <= 2**20
        texts = [line.text for line in rig.engine.logs(EndpointName("echo"), 300)]
        assert texts[-1] == "done"
        assert len(texts) == 300

    play(tmp_path, scenario)


def test_close_ends_everything(tmp_path: Path) -> None:
    """Ready, loading and fetching replicas are all reported; no process is left."""

    async def run() -> None:
        rig = Rig(tmp_path)
        await rig.engine.open()
        ready = await rig.ready(rig.handler(SLOW))
        child = int((await rig.call(ready, b"fork").ended()).body)
        rig.artifacts.held.clear()
        fetching = rig.handler(ECHO)
        pids = [rig.pid(ready), child, rig.engine.templates()[0][1]]
        await rig.engine.close()
        await rig.engine.close()
        assert rig.listener.exits.keys() == {ready, fetching}
        assert not any(alive(pid) for pid in pids)

    asyncio.run(run())


def test_one_server_per_data_directory(tmp_path: Path) -> None:
    """A second one would take the first one's processes for leftovers."""

    async def scenario(rig: Rig) -> None:
        with pytest.raises(Conflict, match="another coldspark server"):
            await Rig(tmp_path).engine.open()

    play(tmp_path, scenario)
