"""Weights on a real device: the file's bytes, in every dtype, whatever their alignment."""

from pathlib import Path
from typing import Any

import pytest
import safetensors_file

from coldspark.node.worker import device_weights

pytestmark = pytest.mark.gpu

TENSORS = {
    "big": ("BF16", [3000, 12_000]),
    "flags": ("BOOL", [7]),
    "unaligned": ("F32", [1000, 3]),
    "half": ("F16", [513, 2]),
    "ids": ("I64", [11]),
    "bytes": ("U8", [70_000_003]),
    "scalar": ("F32", []),
    "empty": ("F32", [0, 4]),
}
"""Over 128 MiB: every buffer is used more than once. After ``flags`` nothing is aligned."""


def test_a_state_dict_on_the_device_is_the_file(tmp_path: Path, torch: Any) -> None:
    """Names, shapes, dtypes and bytes."""
    file = tmp_path / "model.safetensors"
    contents = safetensors_file.write(file, TENSORS)
    loaded = device_weights.load(str(file))
    assert list(loaded.tensors) == list(TENSORS)
    for name, tensor in loaded.tensors.items():
        assert tensor.device.type == "cuda"
        assert list(tensor.shape) == TENSORS[name][1]
        raw = tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        assert raw == contents[name], name
    assert loaded.size_bytes == sum(map(len, contents.values()))
    assert loaded.gb_per_s > 0


def test_work_that_is_queued_on_the_device_does_not_disturb_it(tmp_path: Path, torch: Any) -> None:
    """The allocator may hand out memory that the program's own stream is not done with."""
    file = tmp_path / "model.safetensors"
    contents = safetensors_file.write(file, {"a": ("F32", [4_000_000])})
    for _ in range(5):
        busy = torch.ones(4_000_000, device="cuda")
        for _ in range(50):
            busy.mul_(1.0001)
        del busy
        tensor = device_weights.load(str(file)).tensors["a"]
        assert tensor.cpu().view(torch.uint8).numpy().tobytes() == contents["a"]
