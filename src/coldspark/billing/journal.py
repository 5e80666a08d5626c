"""An append-only journal: a line handed to ``append`` survives kill -9 once the call returns.

Segments are files named ``<boot>-<segment>.journal``. A line is

    <crc32 of the rest, 8 hex digits> <kind, 1 letter> <payload: no newline in it>\\n

and its position (boot, segment, offset) is unique for ever. A line goes out in one ``write``. What
the kernel took survives the process; a power cut may take what the disk had not, unless the journal
syncs each line (``fsync=True``, one disk round trip per line).

A write that the disk cut short is undone, so only the last line of a segment whose writer died can
lack its end: its write was never acknowledged. Reading drops it, skips lines whose checksum is
wrong (the disk's fault), and says how many there were of each.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from coldspark.database.data_directory import sync_directory
from coldspark.errors import ColdsparkError

_NAME = re.compile(r"(\d{8,})-(\d{8,})\.journal")
_READ_BYTES = 256 * 1024
_HEAD_BYTES = 11
"""crc32, space, kind, space."""
_BEGUN = {b"%c" % letter: crc32(b"%c " % letter) for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
"""The checksum of "kind, space", to go on from: joining them with a payload would copy it."""


@dataclass(frozen=True, slots=True, order=True)
class JournalPosition:
    """Where a line begins, or a segment ends."""

    boot: int
    segment: int
    offset: int


class JournalLine(NamedTuple):
    """One line as it was appended. A tuple: thousands are read a second."""

    offset: int
    """Where it begins in its segment."""
    kind: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class JournalChunk:
    """The next lines of a segment."""

    lines: tuple[JournalLine, ...]
    end: int
    """Offset to read on from."""
    damaged: int
    """Lines skipped because their checksum is wrong: they had been written."""
    torn: int = 0
    """1 when the segment ends within a line."""


class Journal:
    """Write this boot's lines. All calls come from one thread."""

    def __init__(
        self, directory: Path, boot: int, *, segment_bytes: int = 4 * 1024**2, fsync: bool = False
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._boot = boot
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._segment = 0
        self._fd = -1
        self._offset = 0
        self._roll()

    @property
    def end(self) -> JournalPosition:
        """Return where the next line will begin: everything before it is whole."""
        return JournalPosition(self._boot, self._segment, self._offset)

    def append(self, texts: Sequence[bytes]) -> None:
        """Write texts that ``line`` made with one write.

        Raises ColdsparkError when the disk refuses; then none of them is in the journal.
        """
        block = b"".join(texts)
        try:
            written = os.write(self._fd, block)
            if self._fsync:
                os.fdatasync(self._fd)
        except OSError as error:
            raise self._undo_write(error.strerror or "the disk refused") from error
        if written != len(block):
            raise self._undo_write("no space left on device")
        self._offset += written
        if self._offset >= self._segment_bytes:
            # The lines are in: a disk without space for a new file must not fail the call.
            with suppress(OSError):
                self._roll()

    def close(self) -> None:
        """Close the segment; its file stays until its lines are ingested."""
        os.close(self._fd)

    def _undo_write(self, reason: str) -> ColdsparkError:
        os.ftruncate(self._fd, self._offset)
        return ColdsparkError(
            f"the ledger's journal {self._directory} cannot be written: {reason}."
            " Free disk space: nothing runs unbilled."
        )

    def _roll(self) -> None:
        path = self._directory / segment_name(self._boot, self._segment + 1)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        fd = os.open(path, flags, 0o600)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._segment, self._offset = fd, self._segment + 1, 0
        if self._fsync:
            sync_directory(self._directory)


def segment_name(boot: int, segment: int) -> str:
    """Name a segment's file; names sort as (boot, segment) do."""
    return f"{boot:08d}-{segment:08d}.journal"


def segments(directory: Path) -> list[tuple[int, int]]:
    """Return (boot, segment) of all segment files, oldest first."""
    names = (_NAME.fullmatch(name) for name in os.listdir(directory))
    return sorted((int(name[1]), int(name[2])) for name in names if name)


def size_bytes(directory: Path, position: JournalPosition) -> int:
    """Return how long a segment is."""
    return (directory / segment_name(position.boot, position.segment)).stat().st_size


def read(directory: Path, start: JournalPosition, end: int | None) -> Iterator[JournalChunk]:
    """Read a segment from ``start`` on, up to ``end`` or its last byte, piece by piece."""
    path = directory / segment_name(start.boot, start.segment)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        end, offset = size if end is None else end, start.offset
        while offset < end:
            file.seek(offset)
            chunk = _chunk(file.read(min(_READ_BYTES, end - offset)), offset, end)
            yield chunk
            offset = chunk.end


def line(kind: bytes, payload: bytes) -> bytes:
    """Return the text of a line."""
    assert len(payload) < _READ_BYTES - 2 * _HEAD_BYTES, "a line must fit into one read"
    return b"%08x %b %b\n" % (crc32(payload, _BEGUN[kind]), kind, payload)


def _chunk(block: bytes, offset: int, end: int) -> JournalChunk:
    lines: list[JournalLine] = []
    damaged = torn = at = 0
    *texts, rest = block.split(b"\n")
    for text in texts:
        if _is_whole(text):
            lines.append(JournalLine(offset + at, text[9:10], text[_HEAD_BYTES:]))
        else:
            damaged += 1
        at += len(text) + 1
    if rest and offset + len(block) >= end:
        at, torn = len(block), 1
    elif at == 0:
        # No line is so long.
        at, damaged = len(block), 1
    return JournalChunk(tuple(lines), offset + at, damaged, torn)


def _is_whole(text: bytes) -> bool:
    return len(text) >= _HEAD_BYTES and text[:9] == b"%08x " % crc32(text[9:])
