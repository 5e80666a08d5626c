"""Checksums of objects: what clients send along, of a whole body or of its parts."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Protocol

import anycrc

from coldspark.doors.aws.s3.errors import S3Error

_CRCS = {"crc32": ("CRC32", 4), "crc32c": ("CRC32C", 4), "crc64nvme": ("CRC64-NVME", 8)}
ALGORITHMS = (*_CRCS, "sha1", "sha256")
_COMPOSITE_ONLY = ("sha1", "sha256")
_FULL_ONLY = ("crc64nvme",)


class Digest(Protocol):
    """A checksum that is being worked out."""

    def update(self, data: bytes, /) -> object:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """Return its value."""


class _Crc:
    def __init__(self, model: str, size_bytes: int) -> None:
        self._model = anycrc.Model(model)
        self._size_bytes = size_bytes
        self._value: int | None = None

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""
        calc = self._model.calc
        self._value = calc(data) if self._value is None else calc(data, self._value)

    def digest(self) -> bytes:
        """Return its value."""
        value: int = self._model.calc(b"") if self._value is None else self._value
        return value.to_bytes(self._size_bytes, "big")


def digest_of(algorithm: str) -> Digest:
    """Begin a checksum."""
    if algorithm in _CRCS:
        return _Crc(*_CRCS[algorithm])
    return hashlib.new(algorithm, usedforsecurity=False)


def algorithm_named(name: str) -> str:
    """Return the algorithm that a header names. Raises S3Error."""
    algorithm = name.strip().lower()
    if algorithm not in ALGORITHMS:
        raise S3Error(
            "InvalidRequest",
            f"The checksum algorithm {name[:40]!r} is not known here: there are "
            f"{', '.join(one.upper() for one in ALGORITHMS)}.",
        )
    return algorithm


def encoded(digest: bytes) -> str:
    """Return a checksum as headers have it."""
    return base64.b64encode(digest).decode()


def decoded(value: str, size_bytes: int, header: str) -> bytes:
    """Return the bytes of a checksum that a header gives. Raises S3Error."""
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != size_bytes:
        code = "InvalidDigest" if header == "content-md5" else "InvalidRequest"
        raise S3Error(code, f"Value for {header} header is invalid: {value[:80]!r}.")
    return digest


def size_of(algorithm: str) -> int:
    """Return how many bytes a checksum has."""
    return _CRCS[algorithm][1] if algorithm in _CRCS else hashlib.new(algorithm).digest_size


def is_composite(algorithm: str, kind: str | None) -> bool:
    """Return whether an upload's checksum is one of its parts' checksums. Raises S3Error."""
    wanted = (kind or ("FULL_OBJECT" if algorithm in _FULL_ONLY else "COMPOSITE")).upper()
    if wanted not in ("FULL_OBJECT", "COMPOSITE"):
        raise S3Error("InvalidRequest", f"x-amz-checksum-type {kind!r} is not known.")
    impossible = _COMPOSITE_ONLY if wanted == "FULL_OBJECT" else _FULL_ONLY
    if algorithm in impossible:
        raise S3Error(
            "InvalidRequest",
            f"The {wanted} checksum type cannot be used with the {algorithm} checksum algorithm.",
        )
    return wanted == "COMPOSITE"


def of_parts(algorithm: str, parts: Sequence[tuple[str, int]], *, composite: bool) -> str:
    """Return the checksum of an object from those of its parts, each with the part's size."""
    digests = [(base64.b64decode(value), size) for value, size in parts]
    if composite:
        digest = digest_of(algorithm)
        for value, _ in digests:
            digest.update(value)
        return f"{encoded(digest.digest())}-{len(parts)}"
    model = anycrc.Model(_CRCS[algorithm][0])
    whole: int = model.calc(b"")
    for value, size in digests:
        whole = model.combine(whole, int.from_bytes(value, "big"), size)
    return encoded(whole.to_bytes(_CRCS[algorithm][1], "big"))
