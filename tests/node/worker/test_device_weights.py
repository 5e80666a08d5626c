"""Weights on their way to a device: the ring and the header here, the device in ``tests/gpu``."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import safetensors_file
from worker_rig import INTERPRETER

from coldspark.node import worker
from coldspark.node.worker.device_weights import (
    RingBuffer,
    WeightsRefused,
    load,
    read_header,
    stream,
)

_FIND = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"


class PlainSlot(RingBuffer):
    """A buffer that leaves when it is waited for: what overwrites it too early is seen."""

    def __init__(self, size: int, target: bytearray) -> None:
        self._memory = bytearray(size)
        self.view = memoryview(self._memory)
        self._target = target
        self._sent: tuple[int, int] | None = None

    def wait(self) -> None:
        if self._sent is not None:
            offset, length = self._sent
            self._target[offset : offset + length] = self._memory[:length]
            self._sent = None

    def send(self, offset: int, length: int) -> None:
        assert self._sent is None
        self._sent = (offset, length)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[bytes], int]]:
    """Write a file and open it."""
    descriptors = []

    def opening(content: bytes) -> int:
        file = tmp_path / f"{len(descriptors)}.safetensors"
        file.write_bytes(content)
        descriptors.append(os.open(file, os.O_RDONLY))
        return descriptors[-1]

    yield opening
    for descriptor in descriptors:
        os.close(descriptor)


def headed(header: object, data: bytes = b"") -> bytes:
    """Return a file of this header."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 20_000, 65_536, 100_001])
@pytest.mark.parametrize("readers", [1, 3, 4])
def test_every_byte_arrives_once(opened: Callable[[bytes], int], size: int, readers: int) -> None:
    """Whatever the ring's size divides: nothing is overwritten before it has left."""
    content = os.urandom(100 + size)
    target = bytearray(size)
    ring = [PlainSlot(16_384, target) for _ in range(2)]
    stream(opened(content), 100, size, ring, readers)
    assert bytes(target) == content[100:]
    assert [t.name for t in threading.enumerate() if t.name.startswith("coldspark-weights")] == []


def test_a_file_that_becomes_shorter_is_refused(opened: Callable[[bytes], int]) -> None:
    """Never a device full of whatever was in the buffer."""
    with pytest.raises(WeightsRefused, match="became shorter"):
        stream(opened(b"x" * 50), 0, 100, [PlainSlot(4096, bytearray(100))], 2)


def test_a_header_says_where_everything_lies(tmp_path: Path) -> None:
    """The metadata is no tensor."""
    file = tmp_path / "m.safetensors"
    contents = safetensors_file.write(file, {"a": ("F32", [2, 3]), "b": ("U8", [5])})
    with file.open("rb") as source:
        entries, start, size = read_header(source.fileno())
    assert {name: (e.dtype, e.shape) for name, e in entries.items()} == {
        "a": ("F32", [2, 3]),
        "b": ("U8", [5]),
    }
    data = file.read_bytes()[start:]
    assert len(data) == size == 29
    assert {name: data[e.begin : e.end] for name, e in entries.items()} == contents


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no safetensors file"),
        (b"\xff" * 8 + b"{}", "no safetensors file"),
        (headed([1]), "cannot be read"),
        (headed({"a": {"dtype": "F32"}}), "cannot be read"),
        (headed({"a": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}, b"x"), "outside"),
        (headed({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 0]}}, b"x"), "outside"),
    ],
)
def test_what_is_no_such_file_is_refused(
    opened: Callable[[bytes], int], content: bytes, words: str
) -> None:
    """Before anything is allocated."""
    with pytest.raises(WeightsRefused, match=words):
        read_header(opened(content))


def test_without_torch_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the user's environment that must have it."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(WeightsRefused, match="needs torch"):
        load(str(tmp_path / "none.safetensors"))


@pytest.mark.process
def test_a_torch_without_a_device_says_so(tmp_path: Path) -> None:
    """A CPU build is told from a machine without a device."""
    if subprocess.run([INTERPRETER, "-c", _FIND]).returncode != 0:
        pytest.skip("the templates' interpreter has no torch")
    folder = str(Path(worker.__file__).parent)
    code = (
        f"import sys; sys.path.insert(0, {folder!r}); import torch; import device_weights as d\n"
        "if torch.cuda.is_available(): print('has a device'); sys.exit()\n"
        "try: d.load('none')\nexcept d.WeightsRefused as refusal: print(refusal)"
    )
    run = subprocess.run([INTERPRETER, "-c", code], capture_output=True, text=True, timeout=100)
    if "has a device" in run.stdout:
        pytest.skip("there is a device here")
    assert "there is no CUDA device to load onto: " in run.stdout, run.stderr
