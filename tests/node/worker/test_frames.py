"""Frames: whatever way a stream is cut, the same frames come out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.node.worker import frames

KINDS = st.sampled_from([frames.CALL, frames.BODY, frames.CREDIT, frames.REPLY, frames.CHUNK])
FRAMES = st.lists(st.tuples(KINDS, st.integers(0, 2**32 - 1), st.binary(max_size=300)), max_size=8)


@given(FRAMES, st.lists(st.integers(1, 64), min_size=1))
def test_any_split_decodes_to_the_same_frames(
    sent: list[tuple[int, int, bytes]], sizes: list[int]
) -> None:
    """A frame may come in one piece, in many, or with others."""
    stream = b"".join(frames.encode(*frame) for frame in sent)
    decoder, got, turn = frames.Decoder(), [], 0
    while stream:
        size = sizes[turn % len(sizes)]
        got += decoder.feed(stream[:size])
        stream, turn = stream[size:], turn + 1
    assert got == sent


@given(st.dictionaries(st.text(), st.text()), st.binary(max_size=300))
def test_headed_payload_gives_back_head_and_body(head: dict[str, str], body: bytes) -> None:
    """encode_headed and split_headed are inverse."""
    frame = frames.encode_headed(frames.CALL, 7, json.dumps(head).encode(), body)
    [(kind, call, payload)] = frames.Decoder().feed(frame)
    got_head, got_body = frames.split_headed(payload)
    assert (kind, call, json.loads(got_head), got_body) == (frames.CALL, 7, head, body)


@pytest.mark.parametrize("length", [0, 4, frames.FRAME_MAX_BYTES + 1, 2**32 - 1])
def test_frame_of_impossible_length_is_refused(length: int) -> None:
    """Neither too short to be one nor longer than the bound."""
    with pytest.raises(frames.FrameError, match=str(length)):
        frames.Decoder().feed(length.to_bytes(4, "big") + bytes(5))


def test_largest_body_part_fits_a_frame() -> None:
    """A part with a megabyte of head beside it stays under the bound."""
    frame = frames.encode_headed(frames.REPLY, 1, b"{}", bytes(frames.PART_BYTES))
    assert len(frames.Decoder().feed(frame)) == 1


@pytest.mark.parametrize("payload", [b"", b"abc", b"\0\0\0\5abcd"])
def test_headed_payload_that_lies_is_refused(payload: bytes) -> None:
    """The head must lie inside the payload."""
    with pytest.raises(frames.FrameError):
        frames.split_headed(payload)


def test_credit_is_four_bytes() -> None:
    """read_credit is the inverse of encode_credit, and takes nothing else."""
    [(kind, call, payload)] = frames.Decoder().feed(frames.encode_credit(3, 1234))
    assert (kind, call, frames.read_credit(payload)) == (frames.CREDIT, 3, 1234)
    with pytest.raises(frames.FrameError):
        frames.read_credit(b"12345")
