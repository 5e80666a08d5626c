"""The router's end of the channel: every call hears one end, in order, or is void."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import cast

from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from coldspark.node.transport.channel import Channel
from coldspark.node.worker import frames
from coldspark.platform.body_stream import HELD_BYTES_MAX, BodyStream
from coldspark.platform.ports import Invocation
from coldspark.spec.types import EndpointName, Failure, FailureKind, RequestId, RootCause


class Wire:
    """A transport that keeps what is written, as frames."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, bytes]] = []
        self.writes = 0
        self.is_aborted = False
        self._decoder = frames.Decoder()

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.frames += self._decoder.feed(data)

    def abort(self) -> None:
        self.is_aborted = True


class Listener:
    """Keeps what the channel says of its replica."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def on_booted(self) -> None:
        self.heard.append(("booted",))

    def on_loaded(self, load_us: int | None) -> None:
        self.heard.append(("loaded", load_us))

    def on_learned(self, modules: Sequence[str]) -> None:
        self.heard.append(("learned", modules))

    def on_broken(self, cause: RootCause, message: str, traceback: str) -> None:
        self.heard.append(("broken", cause, message, traceback))

    def on_channel_lost(self, violation: str | None) -> None:
        self.heard.append(("lost", violation))


class Answers:
    """A ReplySink that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.body = b""
        self.failure: Failure | None = None
        self.head: tuple[int, list[tuple[str, str]]] | None = None
        self.handler_us: int | None = None
        self.waited_us = 0

    def on_waited(self, waited_us: int) -> None:
        self.waited_us = waited_us

    def on_reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, handler_us: int | None
    ) -> None:
        self.heard.append("reply")
        self.head, self.body, self.handler_us = (status, list(headers)), body, handler_us

    def on_head(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        self.heard.append("head")
        self.head = (status, list(headers))

    def on_chunk(self, chunk: bytes) -> None:
        self.heard.append("chunk")
        self.body += chunk

    def on_end(self, handler_us: int | None) -> None:
        self.heard.append("end")
        self.handler_us = handler_us

    def on_failure(self, failure: Failure) -> None:
        self.heard.append("failure")
        self.failure = failure


def attached() -> tuple[Channel, Wire, Listener]:
    """Return a channel whose peer is the test."""
    listener, wire = Listener(), Wire()
    channel = Channel(listener, lambda flush: flush())
    channel.connection_made(cast(asyncio.BaseTransport, wire))
    return channel, wire, listener


def invocation(request: str = "q", body: bytes = b"") -> Invocation:
    """Return a request with everything in it."""
    return Invocation(
        endpoint=EndpointName("e"),
        request=RequestId(request),
        body=body,
        content_type="text/plain",
        accept="*/*",
        headers=(("x-a", "b"),),
        started_s=0.0,
    )


HEAD = frames.encode_json(frames.HEAD, 1, {"status": 200, "headers": [["a", "b"]]})
END = frames.encode_json(frames.END, 1, {"handler_us": 9})


def reply(number: int, body: bytes = b"") -> bytes:
    """Return a REPLY frame."""
    head = json.dumps({"status": 200, "headers": [["a", "b"]], "handler_us": 7}).encode()
    return frames.encode_headed(frames.REPLY, number, head, body)


def failed(number: int, kind: str) -> bytes:
    """Return a FAILED frame."""
    word = {"kind": kind, "message": "m", "traceback": "a\nb", "handler_us": 1}
    return frames.encode_json(frames.FAILED, number, word)


def test_the_calls_of_one_turn_go_out_in_one_write() -> None:
    """However many callers come at once, the socket is written to once."""
    turn: list[Callable[[], None]] = []
    wire = Wire()
    channel = Channel(Listener(), turn.append)
    channel.connection_made(cast(asyncio.BaseTransport, wire))

    for name in "abc":
        channel.call(invocation(name, body=b"data"), Answers())
    assert wire.writes == 0
    for flush in turn:
        flush()

    assert (wire.writes, [number for _, number, _ in wire.frames]) == (1, [1, 2, 3])


def test_a_call_is_one_write_and_its_reply_one_word() -> None:
    """The warm path: everything of the invocation goes out at once, everything comes back."""
    channel, wire, _ = attached()
    sink = Answers()

    channel.call(invocation(body=b"data"), sink)
    channel.data_received(reply(1, b"answer"))

    assert wire.writes == 1
    kind, number, payload = wire.frames[0]
    head, body = frames.split_headed(payload)
    assert (kind, number, body) == (frames.CALL, 1, b"data")
    assert json.loads(head) == {
        "path": None,
        "method": "POST",
        "content_type": "text/plain",
        "accept": "*/*",
        "headers": [["x-a", "b"]],
        "request": "q",
        "more": 0,
    }
    assert sink.heard == ["reply"]
    assert (sink.head, sink.body, sink.handler_us) == ((200, [("a", "b")]), b"answer", 7)
    assert channel.open_calls == 0


def test_a_large_body_travels_in_parts_as_the_socket_drains() -> None:
    """Nothing more is written while the socket is full, and an empty part ends the body."""
    channel, wire, _ = attached()
    body = bytes(range(256)) * 4096 * 3 + b"tail"
    channel.pause_writing()

    channel.call(invocation(body=body), Answers())
    assert len(wire.frames) == 1
    channel.resume_writing()

    assert [frame[0] for frame in wire.frames] == [frames.CALL] + [frames.BODY] * 4
    first = frames.split_headed(wire.frames[0][2])[1]
    assert first + b"".join(frame[2] for frame in wire.frames[1:]) == body
    assert wire.frames[-1][2] == b""


def test_an_aborted_upload_sends_no_more() -> None:
    """CANCEL is the last word about a call."""
    channel, wire, _ = attached()
    channel.pause_writing()
    channel.call(invocation(body=b"x" * 3 * frames.PART_BYTES), Answers())

    channel.abort(RequestId("q"))
    channel.resume_writing()

    assert [frame[0] for frame in wire.frames] == [frames.CALL, frames.CANCEL]


def streamed(request: str, body: BodyStream) -> Invocation:
    """Return a request whose body is still coming."""
    return structs.replace(invocation(request), stream=body)


def test_a_streamed_body_goes_out_as_it_comes() -> None:
    """Its call says how much may follow; a part for every piece; an empty one at its end."""
    channel, wire, _ = attached()
    body = BodyStream(7, 100, lambda: None)
    body.feed(b"ab")
    channel.call(streamed("q", body), Answers())
    head, first = frames.split_headed(wire.frames[0][2])
    assert (json.loads(head)["more"], first) == (5, b"ab")

    body.feed(b"cde")
    body.feed(b"fg")
    assert wire.frames[1:] == [(frames.BODY, 1, b"cde"), (frames.BODY, 1, b"fg")]
    body.end()
    assert wire.frames[3:] == [(frames.BODY, 1, b"")]


def test_a_streamed_body_waits_while_the_socket_is_full() -> None:
    """Its feeder is told to wait, and to go on once the socket has drained."""
    channel, wire, _ = attached()
    told: list[str] = []
    body = BodyStream(None, 2**40, lambda: told.append("room"))
    channel.call(streamed("q", body), Answers())
    channel.pause_writing()
    body.feed(b"x" * HELD_BYTES_MAX)
    assert (body.is_full, told, len(wire.frames)) == (True, [], 1)

    channel.resume_writing()
    assert (body.is_full, told, len(wire.frames)) == (False, ["room"], 2)


@given(st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=20)) | st.booleans(), max_size=40))
def test_streamed_bodies_interleave_and_block_no_other_call(
    steps: list[tuple[int, bytes] | bool],
) -> None:
    """Three bodies at once, a socket that fills and drains: each arrives whole and in order."""
    channel, wire, _ = attached()
    bodies = [BodyStream(None, 2**40, lambda: None) for _ in range(3)]
    for number, body in enumerate(bodies):
        channel.call(streamed(f"q{number}", body), Answers())
    sent = [b"", b"", b""]
    for step in steps:
        if isinstance(step, bool):
            (channel.pause_writing if step else channel.resume_writing)()
        else:
            sent[step[0]] += step[1]
            bodies[step[0]].feed(step[1])
    channel.call(invocation("short", body=b"now"), Answers())
    assert wire.frames[-1][:2] == (frames.CALL, 4)

    channel.resume_writing()
    for body in bodies:
        body.end()
    got = dict.fromkeys((1, 2, 3), b"")
    for kind, number, payload in wire.frames:
        if kind == frames.BODY:
            got[number] += payload
    assert list(got.values()) == sent
    assert [frame[1:] for frame in wire.frames[-3:]] == [(1, b""), (2, b""), (3, b"")]
    channel.check()


def test_an_aborted_streamed_body_is_taken_no_more() -> None:
    """CANCEL is the last word about it too, and what still comes of it is not sent."""
    channel, wire, _ = attached()
    body = BodyStream(None, 2**40, lambda: None)
    channel.call(streamed("q", body), Answers())
    channel.abort(RequestId("q"))
    body.feed(b"late")
    body.end()
    assert [frame[0] for frame in wire.frames] == [frames.CALL, frames.CANCEL]


def test_credit_is_granted_as_chunks_are_taken_and_not_while_paused() -> None:
    """A slow caller stops the credit; resuming grants what was consumed meanwhile."""
    channel, wire, _ = attached()
    sink = Answers()
    call = channel.call(invocation(), sink)
    chunk = frames.encode(frames.CHUNK, 1, b"x" * 1024 * 1024)
    channel.data_received(HEAD + chunk)
    assert [frame[0] for frame in wire.frames] == [frames.CALL, frames.CREDIT]

    call.pause()
    channel.data_received(chunk + chunk)
    assert len(wire.frames) == 2
    call.resume()
    call.resume()
    channel.data_received(END)
    call.resume()

    grants = [frames.read_credit(f[2]) for f in wire.frames if f[0] == frames.CREDIT]
    assert grants == [1024 * 1024, 2 * 1024 * 1024]
    assert sink.heard == ["head", "chunk", "chunk", "chunk", "end"]


def test_a_failure_keeps_its_kind_and_traceback() -> None:
    """FAILED speaks in the core's words; an unknown kind is the handler's failure."""
    channel, _, _ = attached()
    known, unknown = Answers(), Answers()
    channel.call(invocation("a"), known)
    channel.call(invocation("b"), unknown)

    channel.data_received(failed(1, "UnsupportedMedia") + failed(2, "Nonsense"))

    assert known.failure is not None
    assert known.failure.kind is FailureKind.UNSUPPORTED_MEDIA
    assert known.failure.log_tail == ("a", "b")
    assert unknown.failure is not None
    assert unknown.failure.kind is FailureKind.HANDLER_FAILED


def test_the_wait_for_a_batch_is_told_before_the_end() -> None:
    """Of a whole reply and of a streamed one; a call without a batch has none."""
    head = json.dumps({"status": 200, "headers": [["a", "b"]], "handler_us": 7, "waited_us": 5})
    end = frames.encode_json(frames.END, 1, {"handler_us": 9, "waited_us": 5})
    for data, expected_us in (
        (frames.encode_headed(frames.REPLY, 1, head.encode(), b""), 5),
        (HEAD + end, 5),
        (reply(1), 0),
        (HEAD + END, 0),
    ):
        channel, _, _ = attached()
        sink = Answers()
        channel.call(invocation(), sink)
        channel.data_received(data)
        assert sink.waited_us == expected_us


def test_an_aborted_call_ends_as_cancelled_however_the_replica_ends_it() -> None:
    """REPLY, END and FAILED after an abort are all one word: cancelled; chunks are dropped."""
    for end in (reply(1), HEAD + frames.encode(frames.CHUNK, 1, b"x") + END, failed(1, "TimedOut")):
        channel, wire, _ = attached()
        sink = Answers()
        channel.call(invocation(), sink)
        channel.abort(RequestId("q"))
        channel.abort(RequestId("q"))
        channel.data_received(end)

        assert sink.heard == ["failure"]
        assert sink.failure is not None
        assert sink.failure.kind is FailureKind.CANCELLED
        assert [frame[0] for frame in wire.frames] == [frames.CALL, frames.CANCEL]


def test_a_lost_replica_voids_its_calls() -> None:
    """The engine speaks for them all at once; no sink hears anything."""
    channel, _, listener = attached()
    sink = Answers()
    channel.call(invocation(), sink)

    channel.connection_lost(None)
    channel.abort(RequestId("q"))

    assert sink.heard == []
    assert listener.heard == [("lost", None)]
    assert channel.open_calls == 0


def test_garbage_ends_the_channel_and_is_named() -> None:
    """A peer that breaks the rules is hung up on, and nobody hears half a reply."""
    broken = (
        b"\xff" * 20,
        frames.encode(frames.REPLY, 1, b"\x00\x00\x00\x02{]"),
        frames.encode(99, 0, b""),
        END,
        frames.encode(frames.CHUNK, 1, b"x"),
        HEAD + HEAD,
        HEAD + reply(1),
    )
    for data in broken:
        channel, wire, listener = attached()
        sink = Answers()
        channel.call(invocation(), sink)
        channel.data_received(data)
        assert wire.is_aborted, data
        channel.connection_lost(None)
        assert listener.heard[0][0] == "lost"
        assert "no frame" in str(listener.heard[0][1])
        assert sink.heard in ([], ["head"])


def test_the_replicas_own_words_reach_the_listener() -> None:
    """BOOTED, READY and BROKEN, also cut into single bytes."""
    channel, _, listener = attached()
    words = frames.encode_json(frames.BOOTED, 0, {})
    words += frames.encode_json(frames.READY, 0, {"load_us": 5})
    broken = {"cause": "import error", "message": "m", "traceback": "t"}
    words += frames.encode_json(frames.BROKEN, 0, broken)
    for byte in words:
        channel.data_received(bytes([byte]))

    assert listener.heard == [
        ("booted",),
        ("loaded", 5),
        ("broken", RootCause.IMPORT_ERROR, "m", "t"),
    ]


class AnyHistory(RuleBasedStateMachine):
    """Play calls, replies, streams, aborts and pauses in any order against the channel."""

    def __init__(self) -> None:
        super().__init__()
        self.channel, self.wire, self.listener = attached()
        self.count = 0
        self.open: dict[int, Answers] = {}
        self.closed: list[Answers] = []
        self.streaming: set[int] = set()
        self.flows: dict[int, object] = {}

    @rule(size=st.sampled_from([0, 10, frames.PART_BYTES + 1]))
    def call(self, size: int) -> None:
        self.count += 1
        sink = Answers()
        self.channel.call(invocation(str(self.count), b"x" * size), sink)
        self.open[self.count] = sink

    def _pick(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.open)))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        number = self._pick(data)
        if number in self.streaming:
            end = frames.encode_json(frames.END, number, {"handler_us": 1})
        else:
            end = data.draw(st.sampled_from([reply(number), failed(number, "HandlerFailed")]))
        self.channel.data_received(end)
        self.closed.append(self.open.pop(number))
        self.streaming.discard(number)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def stream(self, data: st.DataObject) -> None:
        number = self._pick(data)
        if number not in self.streaming:
            self.streaming.add(number)
            head = {"status": 200, "headers": []}
            self.channel.data_received(frames.encode_json(frames.HEAD, number, head))
        self.channel.data_received(frames.encode(frames.CHUNK, number, b"x" * 300_000))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        self.channel.abort(RequestId(str(self._pick(data))))

    @rule(is_full=st.booleans())
    def fill(self, is_full: bool) -> None:
        (self.channel.pause_writing if is_full else self.channel.resume_writing)()

    @invariant()
    def agrees(self) -> None:
        self.channel.check()
        assert self.channel.open_calls == len(self.open)
        for sink in self.open.values():
            assert not {"reply", "end", "failure"} & set(sink.heard)
        for sink in self.closed:
            assert sum(word in ("reply", "end", "failure") for word in sink.heard) == 1
            assert sink.heard[-1] in ("reply", "end", "failure")


AnyHistory.TestCase.settings = settings(
    max_examples=examples(40), stateful_step_count=30, deadline=None
)
TestAnyHistory = AnyHistory.TestCase
