"""Calls over a real channel: bodies, streams, failures, cancellation, concurrency."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from worker_rig import Channel, Rig

from coldspark.node.worker import frames

pytestmark = pytest.mark.process

Write = Callable[[str], Path]

PROGRAM = """
import json, os, sys, threading, time

gate = threading.Barrier(2)

class Teapot(Exception):
    status_code = 418

def echo(value): return value
def sleep(value): time.sleep(value)
def spin(value):
    while True: pass
def swallow(value):
    try: time.sleep(value)
    except BaseException: return "swallowed"
def fail(value): raise ValueError(value)
def memory(value): raise MemoryError
def leave(value): sys.exit(value)
def teapot(value): raise Teapot(value)
def big(value): return "x" * value
def meet(value):
    gate.wait(10)
    return value
def count(value):
    def numbers():
        try:
            for number in range(value): yield f"{number}\\n"
        finally: print("closed")
    return numbers()
def flood(value):
    for _ in range(value): yield b"x" * 1_000_000
def late(value):
    yield b"first"
    raise RuntimeError("late")
def early(value):
    raise RuntimeError("early")
    yield b"never"
def stall(value):
    yield b"first"
    time.sleep(value)
def forked(value):
    child = os.fork()
    return child and os.waitpid(child, 0)[1]

def predict_fn(data, model):
    return globals()[data[0]](data[1])

def input_fn(body, content_type):
    return json.loads(body)
"""


@pytest.fixture
def channel(rig: Rig, write: Write) -> Channel:
    """A replica of the program with one lane."""
    rig.prepare(write(PROGRAM))
    return rig.fork().ready()


def do(name: str, value: object = None) -> bytes:
    """Return the body that asks for a function of the program."""
    return json.dumps([name, value]).encode()


def still_serves(channel: Channel) -> bool:
    """Say whether the next call works."""
    return bool(channel.answer(9999, do("echo", "alive")) == "alive")


def test_reply_carries_status_content_type_and_time(channel: Channel) -> None:
    """The head of a whole reply is complete."""
    channel.call(1, do("sleep", 0.02))
    head, body = channel.reply(1)
    assert (head["status"], body) == (200, b"null")
    assert head["headers"] == [["content-type", "application/json"]]
    assert 20_000 <= head["handler_us"] < 10_000_000


def test_body_in_parts_is_joined(channel: Channel) -> None:
    """CALL with more, BODY, BODY, an empty BODY: one request."""
    body = do("echo", "y" * 100)
    channel.call(1, body[:10], more=True)
    for part in (body[10:50], body[50:], b""):
        channel.send(frames.encode(frames.BODY, 1, part))
    assert json.loads(channel.reply(1)[1]) == "y" * 100


def test_large_reply_streams_in_parts(channel: Channel) -> None:
    """A body over PART_BYTES comes as HEAD, CHUNK…, END."""
    channel.call(1, do("big", 3 * frames.PART_BYTES))
    assert channel.expect(frames.HEAD, 1)["status"] == 200
    size_bytes = 0
    while size_bytes < 3 * frames.PART_BYTES + 2:
        kind, _, payload = channel.frame()
        assert kind == frames.CHUNK
        assert len(payload) <= frames.PART_BYTES
        size_bytes += len(payload)
    assert channel.expect(frames.END, 1)["handler_us"] > 0


def test_generator_streams_as_it_yields(channel: Channel) -> None:
    """Each piece is a chunk of its own."""
    channel.call(1, do("count", 3))
    channel.expect(frames.HEAD, 1)
    assert [channel.frame()[2] for _ in range(3)] == [b"0\n", b"1\n", b"2\n"]
    channel.expect(frames.END, 1)


def drain(channel: Channel, call: int) -> int:
    """Read chunks until the credit must be spent; return their bytes."""
    size_bytes = 0
    while size_bytes < frames.CREDIT_BYTES:
        kind, number, payload = channel.frame()
        assert (kind, number) == (frames.CHUNK, call)
        size_bytes += len(payload)
    return size_bytes


def test_stream_stops_at_its_credit_and_goes_on_with_more(channel: Channel) -> None:
    """No byte over the credit is sent; CREDIT releases exactly as many."""
    channel.call(1, do("flood", 6))
    channel.expect(frames.HEAD, 1)
    assert drain(channel, 1) == frames.CREDIT_BYTES
    channel.send(frames.encode_credit(1, 10))
    kind, _, payload = channel.frame()
    assert (kind, len(payload)) == (frames.CHUNK, 10)
    channel.send(frames.encode_credit(1, 10_000_000))
    left = 6_000_000 - frames.CREDIT_BYTES - 10
    while left:
        left -= len(channel.frame()[2])
    channel.expect(frames.END, 1)


def test_stream_that_waits_for_credit_can_be_cancelled(channel: Channel) -> None:
    """Back-pressure does not hold a slot that nobody wants."""
    channel.call(1, do("flood", 100))
    channel.expect(frames.HEAD, 1)
    drain(channel, 1)
    channel.send(frames.encode(frames.CANCEL, 1))
    assert channel.expect(frames.FAILED, 1)["kind"] == "Cancelled"
    assert still_serves(channel)


def test_cancelled_generator_is_closed(rig: Rig, channel: Channel) -> None:
    """Its finally blocks run, so what it holds is released."""
    channel.call(1, do("count", 10_000_000))
    channel.expect(frames.HEAD, 1)
    channel.send(frames.encode(frames.CANCEL, 1))
    while True:
        kind, _, payload = channel.frame()
        if kind == frames.FAILED:
            break
    assert json.loads(payload)["kind"] == "Cancelled"
    assert still_serves(channel)
    channel.sock.close()
    rig.event("exited")
    assert channel.printed(channel.stdout) == "closed\n"


def test_failure_before_the_first_piece_is_a_plain_failure(channel: Channel) -> None:
    """No HEAD is sent for a stream that never began."""
    channel.call(1, do("early"))
    assert channel.expect(frames.FAILED, 1)["message"] == "RuntimeError: early"


def test_failure_in_mid_stream_ends_it(channel: Channel) -> None:
    """FAILED may follow HEAD and CHUNK."""
    channel.call(1, do("late"))
    channel.expect(frames.HEAD, 1)
    assert channel.frame()[2] == b"first"
    assert channel.expect(frames.FAILED, 1)["message"] == "RuntimeError: late"
    assert still_serves(channel)


def test_exception_is_told_with_the_users_frames(channel: Channel) -> None:
    """The message names type and text; the traceback shows no frame of ours."""
    channel.call(1, do("fail", "no good"))
    failed = channel.expect(frames.FAILED, 1)
    assert (failed["kind"], failed["message"]) == ("HandlerFailed", "ValueError: no good")
    assert "inference.py" in failed["traceback"]
    assert "node/worker" not in failed["traceback"]
    assert still_serves(channel)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("memory", "MemoryError"),
        ("leave", "SystemExit: the program called sys.exit(3)"),
    ],
)
def test_memory_error_and_sys_exit_fail_only_their_call(
    channel: Channel, name: str, message: str
) -> None:
    """The replica goes on."""
    channel.call(1, do(name, 3))
    assert channel.expect(frames.FAILED, 1)["message"] == message
    assert still_serves(channel)


def test_exception_with_a_status_code_is_the_reply(channel: Channel) -> None:
    """A handler may refuse in HTTP's words."""
    channel.call(1, do("teapot", "short and stout"))
    head, body = channel.reply(1)
    assert head["status"] == 418
    assert json.loads(body) == {"error": "Teapot: short and stout"}


def test_child_that_the_handler_forks_cannot_answer(channel: Channel) -> None:
    """A fork that returns from the handler ends there; the call has one reply, its parent's."""
    channel.call(1, do("forked"))
    assert json.loads(channel.reply(1)[1]) == 0
    assert still_serves(channel)


@pytest.mark.parametrize("name", ["sleep", "spin", "stall", "swallow"])
def test_cancel_interrupts_whatever_runs(channel: Channel, name: str) -> None:
    """Even a blocking system call ends within a moment, in one FAILED, and the lane goes on."""
    channel.call(1, do(name, 100))
    if name == "stall":
        channel.expect(frames.HEAD, 1)
        channel.frame()
    started_s = time.monotonic()
    channel.send(frames.encode(frames.CANCEL, 1))
    channel.send(frames.encode(frames.CANCEL, 1))
    assert channel.expect(frames.FAILED, 1)["kind"] == "Cancelled"
    assert time.monotonic() - started_s < 5
    assert still_serves(channel)


def test_cancel_of_a_waiting_call_ends_it_at_once(channel: Channel) -> None:
    """A call that has not begun, or whose body is under way, ends before the running one."""
    channel.call(1, do("sleep", 100))
    channel.call(2, do("echo", 2))
    channel.call(3, b"[", more=True)
    for number in (2, 3):
        channel.send(frames.encode(frames.CANCEL, number))
        assert channel.expect(frames.FAILED, number)["kind"] == "Cancelled"
    channel.send(frames.encode(frames.BODY, 3, b"late part"))
    channel.send(frames.encode(frames.CANCEL, 1))
    assert channel.expect(frames.FAILED, 1)["kind"] == "Cancelled"
    assert still_serves(channel)


def settled(channel: Channel, number: int) -> str:
    """Cancel a call that may be over already, and return how it ended."""
    channel.send(frames.encode(frames.CANCEL, number))
    kind, call, payload = channel.frame()
    assert call == number
    return "Reply" if kind == frames.REPLY else json.loads(payload)["kind"]


@pytest.mark.parametrize("concurrency", [1, 2])
def test_cancel_racing_the_end_leaves_exactly_one_end(
    rig: Rig, write: Write, concurrency: int
) -> None:
    """Whenever the cancel comes, each call ends once and the next one is not hit by it."""
    rig.prepare(write(PROGRAM))
    channel = rig.fork(concurrency=concurrency).ready()
    ends = set()
    for number in range(1, 800):
        channel.call(number, do("echo", "x" * (number * 37 % 4000)))
        ends.add(settled(channel, number))
    assert ends <= {"Reply", "Cancelled"}
    assert still_serves(channel)


def test_two_calls_run_at_once(rig: Rig, write: Write) -> None:
    """Both must be inside the handler before either may leave."""
    rig.prepare(write(PROGRAM))
    channel = rig.fork(concurrency=2).ready()
    channel.call(1, do("meet", "a"))
    channel.call(2, do("meet", "b"))
    numbers = set()
    for _ in range(2):
        kind, number, _ = channel.frame()
        assert kind == frames.REPLY
        numbers.add(number)
    assert numbers == {1, 2}


def test_lanes_are_started_when_calls_need_them(rig: Rig, write: Write) -> None:
    """A high concurrency costs nothing until it is used; one lane serves one caller for ever."""
    rig.prepare(write(PROGRAM))
    channel = rig.fork(concurrency=500).ready()
    tasks = Path(f"/proc/{channel.pid}/task")
    before = len(list(tasks.iterdir()))
    for number in range(1, 6):
        channel.call(number, do("echo", "x"))
        channel.reply(number)
    assert len(list(tasks.iterdir())) <= before + 2
    channel.call(7, do("meet", "a"))
    channel.call(8, do("meet", "b"))
    assert {channel.frame()[1], channel.frame()[1]} == {7, 8}


def test_cancel_stops_one_thread_and_not_the_other(rig: Rig, write: Write) -> None:
    """With several lanes the exception is raised in the right one."""
    rig.prepare(write(PROGRAM))
    channel = rig.fork(concurrency=2).ready()
    channel.call(1, do("spin"))
    channel.call(2, do("spin"))
    for number in (2, 1):
        channel.send(frames.encode(frames.CANCEL, number))
        assert channel.expect(frames.FAILED, number)["kind"] == "Cancelled"
    assert still_serves(channel)


def test_end_of_the_channel_ends_the_replica_in_mid_call(rig: Rig, channel: Channel) -> None:
    """Nobody wants the work of a router that is gone."""
    channel.call(1, do("spin"))
    channel.sock.close()
    assert rig.event("exited")["status"] == 0


def test_nonsense_on_the_channel_ends_the_replica(rig: Rig, channel: Channel) -> None:
    """A broken peer is not answered."""
    channel.send(b"GET / HTTP/1.1\r\n\r\n")
    assert rig.event("exited")["status"] == 70
    channel.end()
    assert "the channel broke" in channel.printed(channel.stderr)
