"""Lines of a replica's output: whole, bounded, and the same on disk and back."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from coldspark.node.logs.line_splitter import (
    GOES_ON,
    LINE_BYTES_MAX,
    LineSplitter,
    decode_record,
    encode_records,
)
from coldspark.spec.types import ReplicaId

R = ReplicaId("r")


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_lines_do_not_depend_on_how_the_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    """Any cutting of the stream gives the same lines."""
    splitter, lines = LineSplitter(), []
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    for low, high in itertools.pairwise(edges):
        lines += splitter.feed(data[low:high])
    lines += splitter.flush()

    assert b"\n".join(lines) == data.removesuffix(b"\n")


@given(st.integers(0, 4 * LINE_BYTES_MAX), st.integers(1, 3 * LINE_BYTES_MAX))
def test_a_long_line_comes_in_marked_pieces(length: int, cut: int) -> None:
    """No record holds more than the limit and the mark; nothing is lost."""
    data = b"x" * length + b"\n"
    splitter = LineSplitter()

    lines = splitter.feed(data[:cut]) + splitter.feed(data[cut:]) + splitter.flush()

    assert all(len(line) <= LINE_BYTES_MAX + len(GOES_ON) for line in lines)
    assert all(line.endswith(GOES_ON) for line in lines[:-1])
    assert b"".join(line.removesuffix(GOES_ON) for line in lines) == data[:-1]


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8")), min_size=1))
def test_records_come_back_as_they_were(texts: list[str]) -> None:
    """What is written is what is read."""
    records = encode_records(123, "stderr", [text.encode() for text in texts])

    read = [decode_record(record, R) for record in records.split(b"\n")[:-1]]

    assert [(line.at_ms, line.stream, line.text) for line in read if line is not None] == [
        (123, "stderr", text) for text in texts
    ]


def test_what_is_no_record_is_left_out() -> None:
    """A crash may cut a record anywhere."""
    for broken in (b"", b"12", b"12 o", b"x o text", b"12 q text", b"o text"):
        assert decode_record(broken, R) is None
