"""Safetensors headers: what stands in them is reported, and what a stranger forged is refused."""

import json
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.objects.safetensors_header import (
    HEADER_BYTES_MAX,
    HeaderRefused,
    inspect,
    read_header,
)


def tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    """Return an entry of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def written(path: Path, header: object, body: int, pad: int = 0) -> Path:
    """Write a file as the format has it; the header padded to eight bytes, and ``pad`` more."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + pad)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(body))
    return path


def test_a_directory_is_reported_by_dtype_count_and_bytes(tmp_path: Path) -> None:
    """Two files, one of them with metadata; what is no safetensors file is not looked at."""
    first = {"__metadata__": {"format": "pt"}, "a": tensor("BF16", [2, 3], 0, 12)}
    written(tmp_path / "model-1.safetensors", {**first, "b": tensor("F32", [], 12, 16)}, 16)
    (tmp_path / "deep").mkdir()
    written(tmp_path / "deep/model-2.safetensors", {"c": tensor("BF16", [5], 0, 10)}, 10)
    (tmp_path / "config.json").write_text("{}")
    report = inspect(tmp_path)
    assert report.tensors == 3
    assert report.bytes_by_dtype == {"BF16": 22, "F32": 4}
    assert report.size_bytes == 26
    assert report.is_mappable
    assert inspect(tmp_path / "deep").tensors == 1


def test_a_tensor_that_begins_between_two_elements_is_not_mappable(tmp_path: Path) -> None:
    """An odd header shifts all; one byte before a float shifts that one."""
    odd = written(tmp_path / "odd.safetensors", {"a": tensor("F32", [1], 0, 4)}, 4, pad=1)
    assert not read_header(odd).is_mappable
    entries = {"a": tensor("U8", [1], 0, 1), "b": tensor("F32", [1], 1, 5)}
    assert read_header(written(tmp_path / "x.safetensors", entries, 5)).unaligned == 1
    assert not inspect(tmp_path).is_mappable


@pytest.mark.parametrize(
    ("header", "body", "reason"),
    [
        ({"a": tensor("F32", [2], 0, 4)}, 4, "which is wrong"),
        ({"a": tensor("F32", [1], 4, 8)}, 8, "which is wrong"),
        ({"a": tensor("F32", [1], 0, 4), "b": tensor("F32", [1], 0, 4)}, 4, "which is wrong"),
        ({"a": tensor("F32", [1], 0, 4)}, 8, "room for 8"),
        ({"a": tensor("F32", [1], 0, 4)}, 0, "room for 0"),
        ({"a": tensor("F31", [1], 0, 4)}, 4, "F31"),
        ({"a": tensor("F32", [-1], 0, -4)}, 0, "is none"),
        ({"a": tensor("F32", [2**62, 4], 0, 0)}, 0, "is none"),
        ({"a": tensor("F32", [1] * 65, 0, 4)}, 4, "is none"),
        ({"a": {"dtype": "F32"}}, 0, "is none"),
        ({"__metadata__": {"a": 1}}, 0, "is none"),
        ([], 0, "is none"),
        (b"[" * 100_000, 0, "is none"),
        (b'{"a":' * 100_000, 0, "is none"),
        (b"\xff\xfe", 0, "is none"),
    ],
)
def test_a_forged_header_is_refused(tmp_path: Path, header: object, body: int, reason: str) -> None:
    """By name and reason."""
    path = written(tmp_path / "bad.safetensors", header, body)
    with pytest.raises(HeaderRefused, match=rf"(?s)bad\.safetensors.*{reason}"):
        inspect(path.parent)


@pytest.mark.parametrize("length", [HEADER_BYTES_MAX + 1, 2**63, 2**64 - 1, 100])
def test_a_length_that_is_not_there_is_not_read(tmp_path: Path, length: int) -> None:
    """A sparse file may be as large as it likes."""
    path = tmp_path / "long.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    if length == HEADER_BYTES_MAX + 1:
        os.truncate(path, 2 * length)
    with pytest.raises(HeaderRefused, match="too long, or it is cut short"):
        read_header(path)


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """A pipe without a writer would hang; a link may lead nowhere."""
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(HeaderRefused, match="no regular file"):
        inspect(tmp_path)
    (tmp_path / "pipe.safetensors").unlink()
    (tmp_path / "gone.safetensors").symlink_to("nowhere")
    with pytest.raises(HeaderRefused, match="No such file"):
        inspect(tmp_path)


numbers = st.integers(-1, 9) | st.integers()
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "F4", "F31"]) | st.text(),
        "shape": st.lists(numbers, max_size=3),
        "data_offsets": st.lists(numbers, min_size=1, max_size=3),
    }
)


@given(
    st.dictionaries(st.text(max_size=3), entries | st.none(), max_size=3).map(
        lambda header: json.dumps(header).encode()
    )
    | st.binary(max_size=200),
    st.integers(0, 20),
)
def test_any_header_is_reported_within_the_file_or_refused(text: bytes, body: int) -> None:
    """Nothing else comes of it, and no report speaks of bytes that are not there."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "any.safetensors", text, body)
        try:
            report = read_header(path)
        except HeaderRefused:
            return
        assert sum(report.bytes_by_dtype.values()) == body
