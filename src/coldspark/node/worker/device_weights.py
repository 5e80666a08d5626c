"""Load a safetensors file onto a CUDA device, at the speed of the link where the disk keeps up.

    from coldspark_worker.device_weights import load

    def model_fn(model_dir):
        with torch.device("meta"):
            model = Model()
        model.load_state_dict(load(f"{model_dir}/model.safetensors").tensors, assign=True)

Reading a file into memory that the device cannot reach by itself makes the driver copy it once
more. Pinning all of it costs more than the transfer. So the bytes pass through a ring of two pinned
buffers: while one is copied on a stream of its own, threads read the file into the other.

The tensors are views of one allocation, in the file's order: it is freed with the last of them.
Format (huggingface/safetensors): 8 bytes with the header's length N, little-endian; N bytes of
JSON, ``{"name": {"dtype", "shape", "data_offsets"}, …}``; then the tensors' bytes.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

BUFFER_BYTES = 64 * 1024**2
BUFFERS = 2
READERS = 4
HEADER_BYTES_MAX = 100 * 1024**2
"""What the reference implementation reads."""
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


class WeightsRefused(RuntimeError):
    """These weights cannot be loaded so; the message says why."""


class LoadedWeights:
    """A state dict on its device, and what it took."""

    def __init__(self, tensors: dict[str, Any], size_bytes: int, elapsed_s: float) -> None:
        self.tensors = tensors
        self.size_bytes = size_bytes
        self.elapsed_s = elapsed_s

    @property
    def gb_per_s(self) -> float:
        """Return the rate from the file to the device, in 1e9 bytes a second."""
        return self.size_bytes / self.elapsed_s / 1e9


class TensorEntry:
    """Where one tensor lies among the file's bytes."""

    def __init__(self, dtype: str, shape: list[int], begin: int, end: int) -> None:
        self.dtype = dtype
        self.shape = shape
        self.begin = begin
        self.end = end


def load(path: str, device: str = "cuda", *, readers: int = READERS) -> LoadedWeights:
    """Return the file's tensors on a device. Raises WeightsRefused, and OSError."""
    torch = _torch_with_cuda()
    begun_s = time.monotonic()
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        entries, start, size = read_header(descriptor)
        with torch.cuda.device(torch.device(device)):
            flat = _to_device(torch, descriptor, start, size, readers)
            tensors = {name: _view(torch, flat, name, entry) for name, entry in entries.items()}
            torch.cuda.synchronize()
    finally:
        os.close(descriptor)
    return LoadedWeights(tensors, size, time.monotonic() - begun_s)


def read_header(descriptor: int) -> tuple[dict[str, TensorEntry], int, int]:
    """Return the tensors, where their bytes begin, and how many there are.

    Raises WeightsRefused for a header that does not fit its file.
    """
    size = os.fstat(descriptor).st_size
    length = int.from_bytes(os.pread(descriptor, 8, 0), "little")
    if not 2 <= length <= min(HEADER_BYTES_MAX, size - 8):
        raise WeightsRefused(f"no safetensors file: a header of {length} bytes in {size}")
    try:
        header = json.loads(os.pread(descriptor, length, 8))
        entries = {name: _entry(row) for name, row in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsRefused(f"its safetensors header cannot be read: {error!r}") from None
    data_bytes = size - 8 - length
    for name, entry in entries.items():
        if not 0 <= entry.begin <= entry.end <= data_bytes:
            raise WeightsRefused(f"tensor {name!r} lies outside of its file")
    return entries, 8 + length, data_bytes


def _entry(row: dict[str, Any]) -> TensorEntry:
    begin, end = row["data_offsets"]
    return TensorEntry(str(row["dtype"]), [int(n) for n in row["shape"]], int(begin), int(end))


class RingBuffer:
    """A buffer of the ring. Tests have one of plain memory."""

    view: memoryview

    def wait(self) -> None:
        """Wait until what was sent from it has left."""
        raise NotImplementedError

    def send(self, offset: int, length: int) -> None:
        """Begin to copy its first bytes to the device, ``offset`` bytes from the beginning."""
        raise NotImplementedError


def stream(
    descriptor: int, start: int, size: int, ring: Sequence[RingBuffer], readers: int
) -> None:
    """Send ``size`` bytes of a file, from ``start`` on, through the ring. Raises WeightsRefused."""
    step = len(ring[0].view)
    with ThreadPoolExecutor(readers, "coldspark-weights") as pool:
        for number, offset in enumerate(range(0, size, step)):
            slot = ring[number % len(ring)]
            length = min(step, size - offset)
            slot.wait()
            parts = _parts(slot.view[:length], start + offset, readers)
            for read in [pool.submit(_fill, descriptor, part, at) for part, at in parts]:
                read.result()
            slot.send(offset, length)
    for slot in ring:
        slot.wait()


def _parts(view: memoryview, at: int, count: int) -> Iterator[tuple[memoryview, int]]:
    """Cut a piece for the readers, at whole pages."""
    step = max(4096, math.ceil(len(view) / count / 4096) * 4096)
    for begin in range(0, len(view), step):
        yield view[begin : begin + step], at + begin


def _fill(descriptor: int, view: memoryview, at: int) -> None:
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], at + done)
        if count == 0:
            raise WeightsRefused("the file became shorter while it was read")
        done += count


class _PinnedSlot(RingBuffer):
    """Pinned host memory; its copies run on one stream beside the program's own."""

    def __init__(self, torch: Any, flat: Any, side: Any) -> None:
        self._torch = torch
        self._flat = flat
        self._side = side
        self._memory = torch.empty(BUFFER_BYTES, dtype=torch.uint8, pin_memory=True)
        address = self._memory.data_ptr()
        self.view = memoryview((ctypes.c_char * BUFFER_BYTES).from_address(address)).cast("B")
        self._left: Any = None

    def wait(self) -> None:
        """Wait for the copy's event."""
        if self._left is not None:
            self._left.synchronize()

    def send(self, offset: int, length: int) -> None:
        """Copy on the side stream."""
        with self._torch.cuda.stream(self._side):
            target = self._flat[offset : offset + length]
            target.copy_(self._memory[:length], non_blocking=True)
            self._left = self._torch.cuda.Event()
            self._left.record(self._side)


def _to_device(torch: Any, descriptor: int, start: int, size: int, readers: int) -> Any:
    """Return all of the file's tensor bytes as one tensor on the current device."""
    flat = torch.empty(size, dtype=torch.uint8, device="cuda")
    side = torch.cuda.Stream()
    # The allocator may hand out memory that work on the program's stream still uses.
    side.wait_stream(torch.cuda.current_stream())
    flat.record_stream(side)
    ring = [_PinnedSlot(torch, flat, side) for _ in range(BUFFERS)]
    stream(descriptor, start, size, ring, readers)
    torch.cuda.current_stream().wait_stream(side)
    return flat


def _view(torch: Any, flat: Any, name: str, entry: TensorEntry) -> Any:
    dtype = getattr(torch, _DTYPES.get(entry.dtype, ""), None)
    if dtype is None:
        raise WeightsRefused(f"tensor {name!r}: this torch has no dtype for {entry.dtype}")
    if math.prod(entry.shape) * dtype.itemsize != entry.end - entry.begin:
        raise WeightsRefused(f"tensor {name!r}: its shape does not fit its bytes")
    piece = flat[entry.begin : entry.end]
    if entry.begin % dtype.itemsize:
        # A view must begin at a multiple of its element's size.
        piece = piece.clone()
    return piece.view(dtype).view(entry.shape)


def _torch_with_cuda() -> Any:
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise WeightsRefused("loading onto a device needs torch, which is not installed") from None
    if not torch.cuda.is_available():
        build = torch.version.cuda
        why = "this torch is built for CPU" if build is None else f"CUDA {build} finds no device"
        raise WeightsRefused(f"there is no CUDA device to load onto: {why}")
    return torch
