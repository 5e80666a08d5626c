"""An object on its way: a preallocated file, and beside it the journal of its finished ranges.

A killed server leaves both, and the next download fetches only what is missing. The journal's
first line says which object it is about (ETag, size) and in which boot of the machine it was
written: nothing here is synced, so after a power cut no range is believed.
"""

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from coldspark.objects.remote_buckets import RemoteObject

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_HASH_BYTES = 1024**2
_JOURNAL_BYTES_MAX = 16 * 1024**2


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``start`` up to ``end``."""

    number: int
    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Return how many they are."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fds:
    content: int
    journal: int

    def close(self) -> None:
        os.close(self.content)
        os.close(self.journal)


class PartialDownload:
    """One object's file and journal. One at a time opens them."""

    def __init__(self, path: Path, remote: RemoteObject, range_bytes: int) -> None:
        """Open what an earlier download of the same object left, or begin anew."""
        self.path = path
        self.ranges = _ranges(remote.size_bytes, range_bytes)
        self.stated_sha256: str | None = None
        self._journal = path.with_name(path.name + ".ranges")
        self._finished: set[int] = set()
        stamp = _stamp(remote, range_bytes)
        if stamp is None or not self._resume(stamp, remote.size_bytes):
            self._begin(stamp or b"", remote.size_bytes)
        self._fds = _Fds(
            content=os.open(path, os.O_RDWR),
            journal=os.open(self._journal, os.O_WRONLY | os.O_APPEND),
        )
        self._lock = threading.Lock()
        self._users = 0
        self._is_closed = False

    @property
    def missing(self) -> list[ByteRange]:
        """Return the ranges that are not here yet, in order."""
        return [one for one in self.ranges if one.number not in self._finished]

    def write(self, start: int, block: memoryview) -> None:
        """Write a block at its offset."""
        with self._open() as fds:
            while block:
                written = os.pwrite(fds.content, block, start)
                start, block = start + written, block[written:]

    def finish(self, done: ByteRange) -> None:
        """Record that a range is whole, after its last ``write``."""
        self._finished.add(done.number)
        self._append(f"range {done.number}")

    def record_stated_sha256(self, sha256: str | None) -> None:
        """Record the hash that the object's owner states."""
        if sha256 is not None and self.stated_sha256 is None:
            self.stated_sha256 = sha256
            self._append(f"sha256 {sha256}")

    def feed(self, done: ByteRange, digest: "hashlib._Hash") -> None:
        """Hash a range that is here; it was just written, so it comes from the page cache."""
        at = done.start
        with self._open() as fds:
            while at < done.end:
                block = os.pread(fds.content, min(_HASH_BYTES, done.end - at), at)
                if not block:
                    raise OSError(f"{self.path.name} was cut at byte {at}")
                digest.update(block)
                at += len(block)

    def close(self) -> None:
        """Close both files, and keep them."""
        with self._lock:
            self._is_closed = True
            if not self._users:
                self._fds.close()

    @contextmanager
    def _open(self) -> Iterator["_Fds"]:
        """Keep the files open while the block runs.

        A cancelled task leaves its thread behind, in the middle of a write: were the descriptor
        closed under it, the rest would go into whatever file has its number next.
        """
        with self._lock:
            if self._is_closed:
                raise OSError(f"{self.path.name} is closed")
            self._users += 1
        try:
            yield self._fds
        finally:
            with self._lock:
                self._users -= 1
                if self._is_closed and not self._users:
                    self._fds.close()

    def discard(self) -> None:
        """Remove both files; links to the object's file stay."""
        self._journal.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _resume(self, stamp: bytes, size_bytes: int) -> bool:
        try:
            with self._journal.open("rb") as file:
                lines = file.read(_JOURNAL_BYTES_MAX).split(b"\n")[:-1]
            if lines[:1] != [stamp] or self.path.stat().st_size != size_bytes:
                return False
        except FileNotFoundError:
            return False
        # A line that the kill cut short has no newline, and is not among them.
        for kind, _, value in (
            line.decode("ascii", "replace").partition(" ") for line in lines[1:]
        ):
            if kind == "range" and value.isdecimal():
                self._finished.add(int(value))
            elif kind == "sha256":
                self.stated_sha256 = value
        return True

    def _begin(self, stamp: bytes, size_bytes: int) -> None:
        # In this order: a journal must never speak of a file that is older than itself.
        self.discard()
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # A full disk shows now, not after an hour.
            if size_bytes:
                os.posix_fallocate(fd, 0, size_bytes)
        except OSError:
            self.path.unlink()
            raise
        finally:
            os.close(fd)
        self._journal.write_bytes(stamp + b"\n")

    def _append(self, line: str) -> None:
        with self._open() as fds:
            os.write(fds.journal, f"{line}\n".encode("ascii"))


def _ranges(size_bytes: int, range_bytes: int) -> list[ByteRange]:
    starts = range(0, size_bytes, range_bytes)
    return [ByteRange(n, at, min(at + range_bytes, size_bytes)) for n, at in enumerate(starts)]


def _stamp(remote: RemoteObject, range_bytes: int) -> bytes | None:
    """Return the journal's first line; None where the machine does not number its boots."""
    try:
        boot = _BOOT.read_text().strip()
    except OSError:
        return None
    return msgspec.json.encode([remote.etag, remote.size_bytes, range_bytes, boot])
