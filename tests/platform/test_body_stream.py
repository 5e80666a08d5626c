"""A long body between its feeder and its taker: nothing is lost, little is held, proofs are due."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coldspark.platform.body_stream import HELD_BYTES_MAX, BodyStream, whole

SIZES = st.sampled_from([0, 1, 1000, HELD_BYTES_MAX - 1, HELD_BYTES_MAX, 3 * HELD_BYTES_MAX])


class Streaming(RuleBasedStateMachine):
    """A feeder that obeys ``is_full``, and a taker that takes when it likes."""

    is_proof_due = False

    def __init__(self) -> None:
        super().__init__()
        self.told = 0
        self.may_feed = True
        self.sent = self.taken = b""
        self.stream = BodyStream(None, 2**40, self.on_room, is_proof_due=self.is_proof_due)
        self.stream.attach(self.on_more)

    def on_room(self) -> None:
        assert not self.may_feed or self.stream.is_ended, "it speaks only to one who waits"
        self.may_feed = True

    def on_more(self) -> None:
        self.told += 1

    @precondition(lambda self: self.may_feed and not self.stream.is_ended)
    @rule(size=SIZES)
    def feed(self, size: int) -> None:
        told = self.told
        piece = bytes([len(self.sent) % 251]) * size
        self.sent += piece
        self.stream.feed(piece)
        assert self.told > told or not piece
        self.may_feed = not self.stream.is_full

    @rule(size=st.integers(1, 2 * HELD_BYTES_MAX))
    def take(self, size: int) -> None:
        piece = self.stream.take(size)
        assert len(piece) <= size
        self.taken += piece

    @precondition(lambda self: not self.stream.is_ended)
    @rule()
    def end(self) -> None:
        told = self.told
        self.stream.end()
        assert self.told > told

    @invariant()
    def holds(self) -> None:
        assert self.sent.startswith(self.taken)
        assert self.stream.fed_bytes == len(self.sent)
        # One piece more than what made it full, and one that is kept for its proof.
        assert len(self.sent) - len(self.taken) <= HELD_BYTES_MAX + 2 * 3 * HELD_BYTES_MAX
        if self.is_proof_due and self.sent and not self.stream.is_ended:
            assert self.taken != self.sent, "a body that is not proved was given away whole"

    def teardown(self) -> None:
        if not self.stream.is_ended:
            self.stream.end()
        while piece := self.stream.take(1000):
            self.taken += piece
        assert self.taken == self.sent
        assert self.stream.is_over


class StreamingWithProofDue(Streaming):
    """The same, of a body whose hash was signed."""

    is_proof_due = True


TestStreaming = Streaming.TestCase
TestStreamingWithProofDue = StreamingWithProofDue.TestCase


def test_a_feeder_that_waits_can_go_on_although_a_piece_is_kept_for_its_proof() -> None:
    """What is kept back does not count as held: else both sides would wait for each other."""
    stream = BodyStream(None, 2**40, lambda: None, is_proof_due=True)
    stream.feed(b"x" * HELD_BYTES_MAX)
    assert not stream.is_full
    assert stream.take(10) == b""


def test_a_gathered_body_is_cut_into_parts() -> None:
    """It is over once its last part was taken."""
    stream = whole(bytes(range(256)) * 10)
    parts = []
    while not stream.is_over:
        parts.append(stream.take(1000))
    assert [len(part) for part in parts] == [1000, 1000, 560]
    assert b"".join(parts) == bytes(range(256)) * 10
