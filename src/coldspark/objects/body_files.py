"""The files that hold objects' bytes: named at random, written once, never changed.

A body is written in ``incoming/``, synced, and renamed into ``bodies/``; only then does a row of
the database refer to it. Orphans are removed when the store is opened. Files are read-only, so that
other folders may hold hard links to them.
"""

import asyncio
import errno
import hashlib
import os
import secrets
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from coldspark.database.data_directory import sync_directory
from coldspark.errors import BodyTooLarge, StorageFull
from coldspark.objects.records import Piece

BLOCK_BYTES = 1024**2
RESERVE_BYTES = 256 * 1024**2
"""Of the disk, that objects leave to the ledger: without it no request is answered."""
_COPY_BYTES = 64 * 1024**2
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_REFLINK = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_NO_LINK = (errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP)


class Hasher(Protocol):
    """Receives every byte that is written, such as a hash."""

    def update(self, data: bytes, /) -> object:
        """Take the next bytes."""


class Draft:
    """A body that is being written. Its methods block: call them in a thread, one at a time."""

    def __init__(
        self, path: Path, hashers: Sequence[Hasher] = (), *, reserve_bytes: int = RESERVE_BYTES
    ) -> None:
        self.path = path
        self._reserve_bytes = reserve_bytes
        self.size_bytes = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._hashers = (self._md5, *hashers)
        self._file = path.open("xb", buffering=0)
        # A caller who is cancelled discards it while a thread still writes.
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        """Return the name that the file will have."""
        return self.path.name

    @property
    def md5(self) -> bytes:
        """Return the MD5 of what was written."""
        return self._md5.digest()

    def write(self, block: bytes) -> None:
        """Append. Raises StorageFull."""
        left = memoryview(block)
        with self._lock, _storage_full_errors():
            self._check_space(len(block))
            while left:
                left = left[self._file.write(left) :]
        for hasher in self._hashers:
            hasher.update(block)
        self.size_bytes += len(block)

    def append(self, source: Path, start: int, size_bytes: int) -> None:
        """Append a range of another file, shared with it where the file system can; unhashed."""
        with self._lock, source.open("rb") as file, _storage_full_errors():
            self._check_space(0)
            _copy(file.fileno(), start, self._file.fileno(), size_bytes)
        self.size_bytes += size_bytes

    def _check_space(self, size_bytes: int) -> None:
        disk = os.fstatvfs(self._file.fileno())
        if disk.f_bavail * disk.f_frsize < self._reserve_bytes + size_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def seal(self) -> None:
        """Make it durable."""
        with _storage_full_errors():
            os.fsync(self._file.fileno())
        os.fchmod(self._file.fileno(), 0o444)
        self._file.close()

    def discard(self) -> None:
        """Discard it, unless it was published."""
        with self._lock:
            self._file.close()
        self.path.unlink(missing_ok=True)


class BodyFiles:
    """The directory of bodies. One server at a time opens it; others may read."""

    def __init__(self, root: Path, reserve_bytes: int = RESERVE_BYTES) -> None:
        self._reserve_bytes = reserve_bytes
        self._incoming = root / "incoming"
        self._bodies = root / "bodies"

    def open(self, known_files: Callable[[str], set[str]]) -> int:
        """Remove unfinished files and orphans; return how many orphans there were.

        ``known`` returns the files of rows whose names begin with a prefix.
        """
        shutil.rmtree(self._incoming, ignore_errors=True)
        for folder in (self._incoming, self._bodies):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        removed = 0
        for shard in sorted(self._bodies.iterdir()):
            orphans = {path.name for path in shard.iterdir()} - known_files(shard.name)
            self.remove(orphans)
            removed += len(orphans)
        return removed

    def draft(self, hashers: Sequence[Hasher] = ()) -> Draft:
        """Begin a body."""
        with _storage_full_errors():
            path = self._incoming / secrets.token_hex(16)
            return Draft(path, hashers, reserve_bytes=self._reserve_bytes)

    def commit(self, draft: Draft) -> Piece:
        """Give a sealed body its name, durably."""
        path = self.path(draft.id)
        with _storage_full_errors():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            draft.path.rename(path)
            sync_directory(path.parent)
            sync_directory(self._bodies)
        return Piece(draft.id, draft.size_bytes)

    def duplicate(self, piece: Piece) -> Piece:
        """Link a file's bytes to another name; copy them where there can be no further link."""
        draft = self._incoming / secrets.token_hex(16)
        try:
            os.link(self.path(piece.file), draft)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return self.joined([piece])
        path = self.path(draft.name)
        with _storage_full_errors():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            draft.rename(path)
            sync_directory(path.parent)
        return Piece(draft.name, piece.size_bytes)

    def joined(self, pieces: Iterable[Piece]) -> Piece:
        """Return one file with the bytes of several."""
        draft = self.draft()
        try:
            for piece in pieces:
                draft.append(self.path(piece.file), 0, piece.size_bytes)
            draft.seal()
            return self.commit(draft)
        finally:
            draft.discard()

    def link_to(self, pieces: Sequence[Piece], path: Path) -> None:
        """Make a new file of an object's bytes: a link to its file where there can be one."""
        if len(pieces) == 1:
            try:
                os.link(self.path(pieces[0].file), path)
                return
            except OSError as error:
                if error.errno not in (*_NO_LINK, errno.EXDEV):
                    raise
        draft = Draft(path)
        try:
            for piece in pieces:
                draft.append(self.path(piece.file), 0, piece.size_bytes)
        finally:
            draft.seal()

    def path(self, file: str) -> Path:
        """Return where a file is."""
        return self._bodies / file[:2] / file

    def remove(self, files: Iterable[str]) -> None:
        """Remove files that no row refers to any more."""
        for file in files:
            self.path(file).unlink(missing_ok=True)


async def fill(draft: Draft, chunks: AsyncIterator[bytes], bytes_max: int) -> None:
    """Write a body as it comes, in blocks. Raises BodyTooLarge and StorageFull."""
    waiting: list[bytes] = []
    held = 0
    async for chunk in chunks:
        waiting.append(chunk)
        held += len(chunk)
        if draft.size_bytes + held > bytes_max:
            raise BodyTooLarge(f"the object is over the limit of {bytes_max} bytes")
        if held >= BLOCK_BYTES:
            await asyncio.to_thread(draft.write, b"".join(waiting))
            waiting, held = [], 0
    if waiting:
        await asyncio.to_thread(draft.write, b"".join(waiting))


def piece_ranges(pieces: Iterable[Piece], start: int, end: int) -> Iterator[tuple[Piece, int, int]]:
    """Yield the pieces that hold bytes ``start`` to ``end``, each with its own range."""
    at = 0
    for piece in pieces:
        low, high = max(start - at, 0), min(end - at, piece.size_bytes)
        if low < high:
            yield piece, low, high
        at += piece.size_bytes


@contextmanager
def _storage_full_errors() -> Iterator[None]:
    """Turn a full disk into StorageFull."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise StorageFull(
            f"the object could not be stored ({error.strerror}): free disk space in the data"
            " directory"
        ) from error


def _copy(source: int, start: int, target: int, size_bytes: int) -> None:
    left = size_bytes
    while left:
        try:
            done = os.copy_file_range(source, target, min(left, _COPY_BYTES), offset_src=start)
        except OSError as error:
            if error.errno not in _NO_REFLINK:
                raise
            done = os.write(target, os.pread(source, min(left, BLOCK_BYTES), start))
        if not done:
            raise OSError(errno.EIO, "a file of the object is shorter than it was")
        start, left = start + done, left - done
