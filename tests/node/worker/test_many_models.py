"""A handler of many models: which stay loaded, and what a cancelled load leaves behind."""

import os
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from worker_rig import Channel, Rig, await_readable

from coldspark.node.worker import frames, model_cache
from coldspark.node.worker.control import ModelMemory
from coldspark.node.worker.model_cache import LoadedModel, ModelCache, ModelLoadReport

Write = Callable[[str], Path]

PROGRAM = """
import os, time

def model_fn(model_dir):
    print("loads", os.path.basename(model_dir), flush=True)
    if os.path.exists(os.path.join(model_dir, "slow")):
        time.sleep(60)
    return os.path.basename(model_dir)

def predict_fn(data, model):
    if data == "stream":
        return (part for part in (model, "!"))
    if data == "sleep":
        time.sleep(60)
    return model

def park(model): print("parks", model, flush=True)
def unpark(model): print("unparks", model, flush=True)
"""


class House:
    """Models whose sizes a test says, in a process that seems to hold nothing else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, *, is_cached: bool = True):
        self.held = 0
        self.sizes: dict[str, int] = {}
        self.fails = 0
        monkeypatch.setattr(model_cache, "resident_bytes", lambda: self.held)
        monkeypatch.setattr(model_cache, "files_bytes", lambda directory: 10)
        monkeypatch.setattr(model_cache, "give_back", lambda: None)
        program = types.ModuleType("program")
        program.model_fn = self._load  # type: ignore[attr-defined]
        program.predict_fn = lambda data, model: model  # type: ignore[attr-defined]
        self.models = ModelCache(program, ModelMemory(room * 10 // 9 + 1, is_cached))

    def _load(self, model_dir: str) -> str:
        if self.fails:
            self.fails -= 1
            raise MemoryError("a device is full")
        self.held += self.sizes.get(model_dir, 10)
        return model_dir

    def take(self, name: str) -> tuple[LoadedModel, ModelLoadReport]:
        loaded, doings = self.models.acquire(name, name, lambda work: work(), lambda: False)
        assert loaded is not None
        for evicted in doings.evicted:
            self.held -= self.sizes.get(evicted, 10)
        return loaded, doings

    def use(self, name: str) -> ModelLoadReport:
        loaded, doings = self.take(name)
        self.models.release(loaded)
        return doings

    @property
    def names(self) -> list[str]:
        return list(self.models._loaded)


def test_the_one_not_used_for_longest_makes_room_before_the_next_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By what each took when it was loaded."""
    house = House(monkeypatch, 25)
    assert house.use("a").load_us is not None
    house.use("b")
    assert house.use("a") == ModelLoadReport(loaded=2)
    doings = house.use("c")
    assert (doings.evicted, doings.loaded) == (["b"], 2)
    assert house.names == ["a", "c"]


def test_one_in_use_never_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit for that is tried nevertheless."""
    house = House(monkeypatch, 15)
    loaded, _ = house.take("a")
    assert house.use("b").evicted == []
    house.models.release(loaded)
    assert sorted(house.use("c").evicted) == ["a", "b"]


def test_what_others_took_says_what_a_new_one_will(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of 10 bytes that came to 100: the next such files make room for 100."""
    house = House(monkeypatch, 150)
    house.sizes = dict.fromkeys("abc", 100)
    house.use("a")
    assert house.use("b").evicted == ["a"]


def test_out_of_memory_evicts_until_it_loads_or_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a device, whose memory no file tells of."""
    house = House(monkeypatch, 1_000)
    for name in "abc":
        house.use(name)
    house.fails = 2
    assert house.use("d").evicted == ["a", "b"]
    house.fails = 9
    with pytest.raises(MemoryError):
        house.take("e")
    assert house.names == []
    house.fails = 0
    # What was evicted in vain is told with the next call.
    assert sorted(house.use("e").evicted) == ["c", "d"]


def test_without_a_cache_each_goes_when_its_last_call_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not before."""
    house = House(monkeypatch, 1_000, is_cached=False)
    one, _ = house.take("a")
    other, doings = house.take("a")
    assert doings.load_us is None
    house.models.release(one)
    assert house.names == ["a"]
    house.models.release(other)
    assert house.names == []


def test_who_waits_for_anothers_load_uses_what_it_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One load at a time; a call that is cancelled waits no longer."""
    house = House(monkeypatch, 1_000)
    begun, may_end = threading.Event(), threading.Event()

    def slow(work: Callable[[], Any]) -> Any:
        begun.set()
        assert may_end.wait(10)
        return work()

    found: list[Any] = []
    first = threading.Thread(
        target=lambda: found.append(house.models.acquire("a", "a", slow, lambda: False))
    )
    first.start()
    assert begun.wait(10)
    assert house.models.acquire("a", "a", slow, lambda: True) == (None, ModelLoadReport())
    second = threading.Thread(
        target=lambda: found.append(house.models.acquire("a", "a", slow, lambda: False))
    )
    second.start()
    may_end.set()
    first.join(10)
    second.join(10)
    assert found[0][0] is found[1][0]
    assert found[0][0].uses == 2


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=40))
def test_within_any_history_what_is_held_stays_within_the_room(
    history: list[tuple[str, bool]],
) -> None:
    """Unless those in use alone are more; every use is counted, and every eviction told."""
    with pytest.MonkeyPatch.context() as patch:
        house = House(patch, 35)
        open_ones: list[LoadedModel] = []
        known: set[str] = set()
        for name, is_kept in history:
            loaded, doings = house.take(name)
            known = (known - set(doings.evicted)) | {name}
            assert known == set(house.names)
            if is_kept:
                open_ones.append(loaded)
            else:
                house.models.release(loaded)
            in_use = {one.target for one in open_ones} | {name}
            assert set(house.names) >= in_use
            if doings.load_us is not None:
                assert len(house.names) <= max(3, len(in_use))


# --- in a real replica ------------------------------------------------------------------------


def named(folder: Path, target: str) -> list[tuple[str, str]]:
    """Return the headers that choose a model."""
    return [
        ("x-amzn-sagemaker-target-model", target),
        ("x-coldspark-model-dir", str(folder / target)),
    ]


def channel_line(channel: Channel) -> str:
    """Return what was printed, up to the end of a line."""
    text = b""
    while not text.endswith(b"\n"):
        await_readable(channel.stdout)
        text += os.read(channel.stdout, 1 << 16)
    return text.decode().strip()


@pytest.mark.process
def test_a_replica_loads_what_calls_name_and_says_so(
    rig: Rig, write: Write, tmp_path: Path
) -> None:
    """The first call of a model says what it took; hits say nothing. All models park."""
    rig.prepare(write(PROGRAM))
    room = {"memory_bytes": 2**30, "is_cached": True}
    channel = rig.fork(multi_model=room).ready()
    for name in "ab":
        (tmp_path / name).mkdir()
        channel.call(1, headers=named(tmp_path, name))
        head, body = channel.reply(1)
        assert body == b'"%b"' % name.encode()
        told = dict(head["headers"])["x-coldspark-models"]
        assert '"load_us"' in told
        assert channel_line(channel) == f"loads {name}"
    channel.call(2, headers=named(tmp_path, "a"))
    assert "x-coldspark-models" not in dict(channel.reply(2)[0]["headers"])
    channel.call(3, b'"stream"', headers=named(tmp_path, "a"))
    assert channel.frame()[0] == frames.HEAD

    channel.call(4, b'"sleep"', headers=named(tmp_path, "b"))
    assert [channel.frame()[2] for _ in range(2)] == [b"a", b"!"]
    channel.expect(frames.END, 3)
    channel.send(frames.encode(frames.CANCEL, 4))
    assert channel.expect(frames.FAILED, 4)["kind"] == "Cancelled"
    # Cancelled in its load, in the main lane: it ends at once, and can be loaded afterwards.
    (tmp_path / "c").mkdir()
    (tmp_path / "c/slow").touch()
    channel.call(5, headers=named(tmp_path, "c"))
    assert channel_line(channel) == "loads c"
    channel.send(frames.encode(frames.CANCEL, 5))
    assert channel.expect(frames.FAILED, 5)["kind"] == "Cancelled"
    (tmp_path / "c/slow").unlink()
    channel.call(6, headers=named(tmp_path, "c"))
    assert channel.reply(6)[1] == b'"c"'
    assert channel_line(channel) == "loads c"

    channel.send(frames.encode(frames.PARK, 0))
    assert channel.expect(frames.PARKED)["trouble"] is None
    channel.send(frames.encode(frames.UNPARK, 0))
    assert channel.expect(frames.PARKED)["trouble"] is None
