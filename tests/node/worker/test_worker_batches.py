"""Batches over a real channel: who is in one, who fails, who gives up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from worker_rig import Channel, Rig, await_true

from coldspark.node.worker import frames

pytestmark = pytest.mark.process

Write = Callable[[str], Path]

PROGRAM = """
import json, os, threading, time

class Teapot(Exception):
    status_code = 418

def input_fn(body, content_type):
    value = json.loads(body)
    if value == "unreadable": raise ValueError("cannot read it")
    return value

def predict_batch_fn(inputs, model, context):
    for value in inputs:
        if isinstance(value, dict):
            open(value["until"] + ".begun", "w").close()
            while not os.path.exists(value["until"]): time.sleep(0.002)
    if inputs == ["alone for ever"]:
        while True: pass
    if "poison" in inputs: raise RuntimeError(f"poison among {len(inputs)}")
    if "short" in inputs: return inputs[1:]
    if "word" in inputs: return "word"
    assert threading.current_thread() is threading.main_thread()
    return [one(value, len(inputs), context, at) for at, value in enumerate(inputs)]

def model_fn(model_dir): return "model"

def one(value, size, context, at):
    if value == "teapot": return Teapot("short and stout")
    if value == "stream": return (word for word in ("a", "b"))
    if value == "big": return "x" * 3_000_000
    context.set_response_header(at, "x-request", context.get_request_id(at))
    return [value, size]
"""
SIZE_MAX = 4


@pytest.fixture
def channel(rig: Rig, write: Write) -> Channel:
    """A replica of the program that computes batches and holds no request back."""
    rig.prepare(write(PROGRAM))
    return rig.fork(batch_size_max=SIZE_MAX, concurrency=8).ready()


class Hold:
    """A call that keeps the replica busy until it is released."""

    def __init__(self, channel: Channel, number: int, folder: Path) -> None:
        self._channel = channel
        self._number = number
        self._file = folder / f"released-{number}"
        channel.call(number, json.dumps(self.body).encode())
        await_begun(self._file)

    @property
    def body(self) -> dict[str, str]:
        """What the program is sent."""
        return {"until": str(self._file)}

    def release(self) -> None:
        """Let it end, and see it answered."""
        self._file.touch()
        assert answer(self._channel, self._number) == [self.body, 1]


def await_begun(file: Path) -> None:
    """Wait until the program waits for this file."""
    begun = file.with_name(f"{file.name}.begun")
    await_true(begun.exists, f"the batch that waits for {file.name} began")


def call(channel: Channel, number: int, value: object) -> None:
    """Send a call."""
    channel.call(number, json.dumps(value).encode())


def answer(channel: Channel, number: int) -> Any:
    """Return the JSON of the reply that must come next."""
    return json.loads(channel.reply(number)[1])


def test_what_waits_is_one_batch_of_at_most_its_size(channel: Channel, tmp_path: Path) -> None:
    """Six that came while the replica was busy are four and two, answered in order."""
    hold = Hold(channel, 1, tmp_path)
    for number in range(2, 8):
        call(channel, number, number)
    hold.release()

    answers = [answer(channel, number) for number in range(2, 8)]
    assert answers == [[2, 4], [3, 4], [4, 4], [5, 4], [6, 2], [7, 2]]


def test_each_reply_has_its_own_head(channel: Channel, tmp_path: Path) -> None:
    """The context speaks of one request by its index; waiting is told apart from the handler."""
    hold = Hold(channel, 1, tmp_path)
    call(channel, 2, "a")
    call(channel, 3, "b")
    hold.release()

    for number in (2, 3):
        head, _ = channel.reply(number)
        assert ["x-request", f"request-{number}"] in head["headers"]
        assert head["waited_us"] > 0
        assert head["handler_us"] > 0


def test_unreadable_request_fails_before_the_batch(channel: Channel, tmp_path: Path) -> None:
    """What input_fn raises is that request's own failure, and the others do without it."""
    hold = Hold(channel, 1, tmp_path)
    for number, value in ((2, "a"), (3, "unreadable"), (4, "b")):
        call(channel, number, value)
    hold.release()

    assert channel.expect(frames.FAILED, 3)["message"] == "ValueError: cannot read it"
    assert [answer(channel, 2), answer(channel, 4)] == [["a", 2], ["b", 2]]


def test_when_a_batch_fails_each_is_tried_alone(channel: Channel, tmp_path: Path) -> None:
    """Only the bad one fails, with what it raised when it was alone."""
    hold = Hold(channel, 1, tmp_path)
    for number, value in ((2, "a"), (3, "poison"), (4, "b")):
        call(channel, number, value)
    hold.release()

    kinds = {}
    for _ in range(3):
        kind, number, payload = channel.frame()
        kinds[number] = (kind, payload)
    assert json.loads(kinds[3][1])["message"] == "RuntimeError: poison among 1"
    for number, value in ((2, "a"), (4, "b")):
        kind, payload = kinds[number]
        assert kind == frames.REPLY
        assert json.loads(frames.split_headed(payload)[1]) == [value, 1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("short", "predict_batch_fn returned 1 results for 2 inputs"),
        ("word", "predict_batch_fn returned str; it must return a list"),
    ],
)
def test_other_than_a_result_for_each_is_everybodys_failure(
    channel: Channel, tmp_path: Path, value: str, message: str
) -> None:
    """Nobody can say whose result is missing; the message names what came."""
    hold = Hold(channel, 1, tmp_path)
    call(channel, 2, value)
    call(channel, 3, "a")
    hold.release()

    for number in (2, 3):
        assert message in channel.expect(frames.FAILED, number)["message"]


def test_a_result_that_is_an_exception_is_one_failure(channel: Channel, tmp_path: Path) -> None:
    """It is raised for its request alone, and nothing is computed twice."""
    hold = Hold(channel, 1, tmp_path)
    call(channel, 2, "teapot")
    call(channel, 3, "a")
    hold.release()

    head, body = channel.reply(2)
    assert head["status"] == 418
    assert b"short and stout" in body
    assert answer(channel, 3) == ["a", 2]


def test_a_streamed_result_is_refused(channel: Channel, tmp_path: Path) -> None:
    """A batch has no streams; the others are answered."""
    hold = Hold(channel, 1, tmp_path)
    call(channel, 2, "stream")
    call(channel, 3, "a")
    hold.release()

    assert "cannot be part of a batch" in channel.expect(frames.FAILED, 2)["message"]
    assert answer(channel, 3) == ["a", 2]


def test_a_large_reply_comes_after_the_others(channel: Channel, tmp_path: Path) -> None:
    """It needs its reader's credit, and nobody else shall wait for that reader."""
    hold = Hold(channel, 1, tmp_path)
    call(channel, 2, "big")
    call(channel, 3, "a")
    hold.release()

    assert answer(channel, 3) == ["a", 2]
    channel.expect(frames.HEAD, 2)
    size_bytes = 0
    while size_bytes < 3_000_002:
        kind, number, payload = channel.frame()
        assert (kind, number) == (frames.CHUNK, 2)
        size_bytes += len(payload)
    assert channel.expect(frames.END, 2)["handler_us"] > 0


def test_who_gives_up_while_waiting_is_not_computed(channel: Channel, tmp_path: Path) -> None:
    """The end is told at once, while the replica is still busy with another."""
    hold = Hold(channel, 1, tmp_path)
    for number in (2, 3, 4):
        call(channel, number, number)
    channel.send(frames.encode(frames.CANCEL, 3))

    assert channel.expect(frames.FAILED, 3)["kind"] == "Cancelled"
    hold.release()
    assert [answer(channel, 2), answer(channel, 4)] == [[2, 2], [4, 2]]


def test_who_gives_up_in_a_batch_does_not_disturb_it(channel: Channel, tmp_path: Path) -> None:
    """The call ends at once; the batch goes on for the other."""
    hold = Hold(channel, 1, tmp_path)
    inner = tmp_path / "inner"
    call(channel, 2, {"until": str(inner)})
    call(channel, 3, "a")
    hold.release()
    await_begun(inner)
    channel.send(frames.encode(frames.CANCEL, 3))

    assert channel.expect(frames.FAILED, 3)["kind"] == "Cancelled"
    inner.touch()
    assert answer(channel, 2) == [{"until": str(inner)}, 2]
    call(channel, 4, "next")
    assert answer(channel, 4) == ["next", 1]


def test_a_batch_that_nobody_wants_is_interrupted(channel: Channel, tmp_path: Path) -> None:
    """When all have given up it ends, however long it would have run."""
    hold = Hold(channel, 1, tmp_path)
    for number in (2, 3):
        call(channel, number, {"until": str(tmp_path / "never")})
    hold.release()
    await_begun(tmp_path / "never")
    for number in (2, 3):
        channel.send(frames.encode(frames.CANCEL, number))

    assert {channel.frame()[1] for _ in range(2)} == {2, 3}
    call(channel, 4, "next")
    assert answer(channel, 4) == ["next", 1]


def test_one_that_is_tried_alone_can_be_interrupted(channel: Channel, tmp_path: Path) -> None:
    """The deadline of each holds while a failed batch is split."""
    hold = Hold(channel, 1, tmp_path)
    call(channel, 2, "poison")
    call(channel, 3, "alone for ever")
    hold.release()

    assert channel.expect(frames.FAILED, 2)["message"] == "RuntimeError: poison among 1"
    channel.send(frames.encode(frames.CANCEL, 3))
    assert channel.expect(frames.FAILED, 3)["kind"] == "Cancelled"
    call(channel, 4, "next")
    assert answer(channel, 4) == ["next", 1]


def test_who_is_held_back_for_others_is_answered_without_them(
    rig: Rig, write: Write, tmp_path: Path
) -> None:
    """Two were there, and one of them never comes again."""
    rig.prepare(write(PROGRAM))
    channel = rig.fork(batch_size_max=2, batch_wait_s=0.05, concurrency=4).ready()
    hold = Hold(channel, 1, tmp_path)
    call(channel, 2, "a")
    call(channel, 3, "b")
    hold.release()
    assert [answer(channel, 2), answer(channel, 3)] == [["a", 2], ["b", 2]]

    for number in range(4, 10):
        call(channel, number, "again")
        assert answer(channel, number) == ["again", 1]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("def predict_fn(data): return data", "defines no predict_batch_fn(inputs, model)"),
        (
            "def model_fn(d): pass\ndef transform_fn(model, data, type, accept): return data",
            "defines no predict_batch_fn(inputs, model)",
        ),
        ("def predict_batch_fn(inputs):\n    yield 1", "predict_batch_fn is a generator"),
        (
            "def predict_batch_fn(inputs): return inputs\ndef output_fn(p, accept):\n    yield p",
            "output_fn is a generator",
        ),
        ("def predict_batch_fn(): pass", "predict_batch_fn takes 0 arguments"),
    ],
)
def test_a_program_that_cannot_batch_says_so_when_it_loads(
    rig: Rig, write: Write, program: str, message: str
) -> None:
    """The start fails as an invalid handler, with the function's name."""
    rig.prepare(write(program))
    channel = rig.fork(batch_size_max=16, concurrency=32)
    channel.expect(frames.BOOTED)
    broken = channel.expect(frames.BROKEN)
    assert broken["cause"] == "handler invalid"
    assert message in broken["message"]


def test_predict_batch_fn_alone_serves_without_batching(rig: Rig, write: Write) -> None:
    """A program needs no predict_fn besides; it gets a list of one."""
    rig.prepare(write("def predict_batch_fn(inputs): return [inputs]"))
    assert rig.fork().ready().answer(1, b'"a"') == ["a"]
