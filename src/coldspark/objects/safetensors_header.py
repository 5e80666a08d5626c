"""The header of a safetensors file, read without its tensors.

The format (huggingface/safetensors): eight bytes with the header's length N, little-endian; N
bytes of JSON, ``{"name": {"dtype", "shape", "data_offsets"}, "__metadata__": {…}}``; then the
tensors' bytes without holes. Whoever made the file is a stranger: sizes are checked before
anything of that size is read.
"""

import math
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

HEADER_BYTES_MAX = 16 * 1024**2
"""The reference reads up to 100 MB; 100,000 tensors need a tenth of that."""
FILES_MAX = 10_000
_LENGTH_BYTES = 8
_BITS = {
    **dict.fromkeys(("F4", "F4_E2M1"), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
_COMPLEX_PART = {"C64": 4}


class HeaderRefused(Exception):
    """The header of a safetensors file is refused."""


# Bounded, or a product of a million long numbers would take hours.
_Length = Annotated[int, msgspec.Meta(ge=0, le=2**48)]
_Shape = Annotated[list[_Length], msgspec.Meta(max_length=64)]


class _Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: _Shape
    data_offsets: tuple[_Length, _Length]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorFile:
    """One file's tensors."""

    path: Path
    tensors: int
    bytes_by_dtype: Mapping[str, int]
    unaligned: int
    """Tensors that do not begin at a multiple of their element's size: they must be copied."""

    @property
    def is_mappable(self) -> bool:
        """Return whether every tensor can be used where it lies in the mapped file."""
        return not self.unaligned


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorReport:
    """The safetensors files of a model directory."""

    files: tuple[TensorFile, ...]

    @property
    def tensors(self) -> int:
        """Return how many tensors there are."""
        return sum(file.tensors for file in self.files)

    @property
    def bytes_by_dtype(self) -> dict[str, int]:
        """Return the tensors' bytes, largest dtype first."""
        total: Counter[str] = Counter()
        for file in self.files:
            total.update(file.bytes_by_dtype)
        return dict(total.most_common())

    @property
    def size_bytes(self) -> int:
        """Return the tensors' bytes in all."""
        return sum(self.bytes_by_dtype.values())

    @property
    def is_mappable(self) -> bool:
        """Return whether a replica can use all weights in place, with no copy of its own."""
        return all(file.is_mappable for file in self.files)


def inspect(directory: Path) -> TensorReport:
    """Read the headers under a model directory; no link in it is followed to a directory.

    Raises HeaderRefused.
    """
    paths = []
    for path in _named(directory):
        paths.append(path)
        if len(paths) > FILES_MAX:
            raise HeaderRefused(f"{directory.name} holds more than {FILES_MAX} safetensors files")
    return TensorReport(files=tuple(read_header(path) for path in sorted(paths)))


def read_header(path: Path) -> TensorFile:
    """Return a file's header, checked against the file's size. Raises HeaderRefused."""
    length, header, size = _read(path)
    tensors = _decoded(path, header)
    _check_cover(path, tensors, size - _LENGTH_BYTES - length)
    sizes: Counter[str] = Counter()
    for tensor in tensors.values():
        sizes[tensor.dtype] += tensor.data_offsets[1] - tensor.data_offsets[0]
    start = _LENGTH_BYTES + length
    return TensorFile(
        path=path,
        tensors=len(tensors),
        bytes_by_dtype=dict(sizes),
        unaligned=sum(_is_unaligned(tensor, start) for tensor in tensors.values()),
    )


def _read(path: Path) -> tuple[int, bytes, int]:
    try:
        # Not even opened to read if it is a pipe or a device that would hang.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode):
                raise _refused(path, "is no regular file")
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if length > min(HEADER_BYTES_MAX, state.st_size - _LENGTH_BYTES):
                raise _refused(
                    path, f"has a header of {length} bytes: too long, or it is cut short"
                )
            return length, file.read(length), state.st_size
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from error


def _decoded(path: Path, header: bytes) -> dict[str, _Tensor]:
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        if "__metadata__" in entries:
            msgspec.json.decode(entries.pop("__metadata__"), type=dict[str, str])
        return {name: msgspec.json.decode(entry, type=_Tensor) for name, entry in entries.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refused(path, f"has a header that is none: {str(error)[:200]}") from error


def _check_cover(path: Path, tensors: Mapping[str, _Tensor], data_bytes: int) -> None:
    """Check that the tensors lie side by side, and fill the file."""
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        begin, end = tensor.data_offsets
        if begin != at or end - begin != _size(path, name, tensor):
            raise _refused(path, f"has its tensor {name[:100]!r} at {begin}..{end}, which is wrong")
        at = end
    if at != data_bytes:
        raise _refused(path, f"has tensors of {at} bytes in all, and room for {data_bytes}")


def _size(path: Path, name: str, tensor: _Tensor) -> int:
    bits = _BITS.get(tensor.dtype)
    if bits is None:
        raise _refused(path, f"has the dtype {tensor.dtype[:40]!r} in {name[:100]!r}, unknown here")
    return math.prod(tensor.shape) * bits // 8


def _is_unaligned(tensor: _Tensor, start: int) -> bool:
    element_bytes = _COMPLEX_PART.get(tensor.dtype, max(1, _BITS[tensor.dtype] // 8))
    begin, end = tensor.data_offsets
    return begin != end and (start + begin) % element_bytes != 0


def _named(directory: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(directory):
        yield from (Path(folder, name) for name in names if name.endswith(".safetensors"))


def _refused(path: Path, reason: str) -> HeaderRefused:
    return HeaderRefused(f"{path.name!r} {reason}")
