"""Replicas' log files as streams of events: read by time, both ways, in blocks.

Nothing here holds a file's content, and nothing is copied: a stream is ``<variant>/<replica>``, its
events are the records of its two files, each known by the time of its first record. A replica's
records never go back in time (``ReplicaLog``), so a moment is found by bisection. The files lie in
one directory whatever process writes them, so reading needs no owner. Everything here blocks: call
it in a thread.
"""

import heapq
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from coldspark.node.logs.line_splitter import LINE_BYTES_MAX, decode_record
from coldspark.node.logs.replica_logs import quoted
from coldspark.spec.types import ReplicaId
from coldspark.telemetry.log_records import LogEvent, LogStream, Position, ReadLimits, TimeRange

_BLOCK_BYTES = 32 * 1024
_NEAR_BYTES = 2 * _BLOCK_BYTES
"""Bisection stops here; the rest is read."""
_HEAD = re.compile(rb"(\d{1,15}) [oec] ")
_OVERHEAD_BYTES = 26
"""What an event counts besides its text, as for a caller's own."""


@dataclass(frozen=True, slots=True)
class _Part:
    """An open file of a replica; the older half comes first."""

    file: BinaryIO
    size_bytes: int
    first_ms: int


@dataclass(frozen=True, slots=True)
class LogSearchResult:
    """What a search found, and where it is to go on; None: it is through."""

    events: list[LogEvent]
    resume: tuple[int, str, Position] | None


class ReplicaLogFiles:
    """The log files of all endpoints."""

    def __init__(self, directory: Path, monotonic_s: Callable[[], float]) -> None:
        self._directory = directory
        self._monotonic_s = monotonic_s

    def endpoints(self) -> list[str]:
        """Return the endpoints that have logs, by name."""
        with suppress(FileNotFoundError), os.scandir(self._directory) as entries:
            names = [unquote(entry.name) for entry in entries if entry.is_dir()]
            return sorted(names)
        return []

    def has(self, endpoint: str) -> bool:
        """Return whether an endpoint has logs."""
        return next(self._paths(endpoint), None) is not None

    def size_bytes(self, endpoint: str) -> int:
        """Return what an endpoint's logs take on the disk."""
        folder = self._directory / quoted(endpoint)
        sizes = [_status(path) for path in folder.glob("*/*.log*")]
        return sum(status.st_size for status in sizes if status is not None)

    def created_ms(self, endpoint: str) -> int | None:
        """Return the time of the first record that is kept; None where there is none."""
        firsts = []
        for path in self._paths(endpoint):
            with _open_parts(path) as parts:
                firsts += [part.first_ms for part in parts[:1]]
        return min(firsts, default=None)

    def streams(self, endpoint: str) -> list[LogStream]:
        """Return an endpoint's streams by name."""
        found = [self._stream(path) for path in self._paths(endpoint)]
        return sorted((one for one in found if one is not None), key=lambda one: one.name)

    def stream(self, endpoint: str, name: str) -> LogStream | None:
        """Return one stream, or None."""
        return self._stream(self._path(endpoint, name))

    def page(
        self,
        endpoint: str,
        stream: str,
        span: TimeRange,
        bounds: ReadLimits,
        *,
        after: Position | None = None,
        before: Position | None = None,
    ) -> list[LogEvent]:
        """Return events of one stream, oldest first: from ``after`` on, else the last ones."""
        with self._opened(endpoint, stream) as parts:
            if after is not None:
                return _bounded(_forwards(parts, span, after, stream), bounds)
            return _bounded(_backwards(parts, span, before, stream), bounds)[::-1]

    def search(
        self,
        endpoint: str,
        streams: list[str],
        span: TimeRange,
        wanted: Callable[[str], bool],
        bounds: ReadLimits,
        *,
        resume: tuple[int, str, Position] | None,
        read_bytes_max: int,
        until_s: float,
    ) -> LogSearchResult:
        """Go through streams by time; stop at a bound, at the end, or when time is up."""
        if resume is not None:
            span = span.after(resume[0])
        found: list[LogEvent] = []
        size_bytes = read_bytes = 0
        with ExitStack() as stack:
            each = [
                _forwards(stack.enter_context(self._opened(endpoint, name)), span, None, name)
                for name in streams
            ]
            for event in heapq.merge(*each, key=_place):
                if resume is not None and _place(event) <= resume:
                    continue
                counts = len(event.message.encode()) + _OVERHEAD_BYTES
                if wanted(event.message):
                    if found and size_bytes + counts > bounds.size_bytes:
                        return LogSearchResult(found, resume)
                    size_bytes += counts
                    found.append(event)
                resume = _place(event)
                read_bytes += counts
                is_over = read_bytes >= read_bytes_max or self._monotonic_s() >= until_s
                if is_over or len(found) == bounds.events:
                    return LogSearchResult(found, resume)
        return LogSearchResult(found, None)

    def remove(self, endpoint: str, stream: str) -> bool:
        """Delete the files of an ended replica; return whether there were any."""
        path = self._path(endpoint, stream)
        is_there = False
        for name in (path, _older(path)):
            with suppress(FileNotFoundError):
                name.unlink()
                is_there = True
        for folder in (path.parent, path.parent.parent):
            # Only an empty one goes.
            with suppress(OSError):
                folder.rmdir()
        return is_there

    def _paths(self, endpoint: str) -> Iterator[Path]:
        return (self._directory / quoted(endpoint)).glob("*/*.log")

    def _path(self, endpoint: str, stream: str) -> Path:
        variant, _, replica = stream.partition("/")
        return self._directory / quoted(endpoint) / quoted(variant) / f"{quoted(replica)}.log"

    def _stream(self, path: Path) -> LogStream | None:
        with _open_parts(path) as parts:
            if not parts:
                return None
            newest = parts[-1]
            last_ms = next(
                (at_ms for _, at_ms, _ in _records_back(newest, newest.size_bytes)), newest.first_ms
            )
            return LogStream(
                name=f"{unquote(path.parent.name)}/{unquote(path.name.removesuffix('.log'))}",
                created_ms=parts[0].first_ms,
                first_ms=parts[0].first_ms,
                last_ms=last_ms,
                ingested_ms=last_ms,
                stored_bytes=sum(part.size_bytes for part in parts),
            )

    @contextmanager
    def _opened(self, endpoint: str, stream: str) -> Iterator[list[_Part]]:
        with _open_parts(self._path(endpoint, stream)) as parts:
            yield parts


def _place(event: LogEvent) -> tuple[int, str, Position]:
    return event.at_ms, event.stream, event.position


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


@contextmanager
def _open_parts(path: Path) -> Iterator[list[_Part]]:
    with ExitStack() as stack:
        parts: list[_Part] = []
        inodes: set[int] = set()
        # The newer first: where the log turns over between the two, one file is met twice, none
        # is missed.
        for name in (path, _older(path)):
            with suppress(FileNotFoundError):
                file = stack.enter_context(name.open("rb"))
                status = os.fstat(file.fileno())
                first_ms = _first_ms(file)
                if status.st_ino not in inodes and first_ms is not None:
                    parts.insert(0, _Part(file, status.st_size, first_ms))
                    inodes.add(status.st_ino)
        yield parts


def _first_ms(file: BinaryIO) -> int | None:
    for record in file.read(_BLOCK_BYTES).split(b"\n")[:-1]:
        at_ms = _time_of(record)
        if at_ms is not None:
            return at_ms
    return None


def _time_of(record: bytes) -> int | None:
    found = _HEAD.match(record)
    return None if found is None else int(found[1])


def _forwards(
    parts: list[_Part], span: TimeRange, after: Position | None, stream: str
) -> Iterator[LogEvent]:
    start_ms = span.start_ms if after is None else max(span.start_ms, after[0])
    for part in parts:
        for offset, at_ms, record in _records(part, _seek(part, start_ms)):
            position = (at_ms, part.first_ms, offset)
            if at_ms < start_ms or (after is not None and position <= after):
                continue
            if span.end_ms is not None and at_ms >= span.end_ms:
                return
            yield from _event(record, position, stream)


def _backwards(
    parts: list[_Part], span: TimeRange, before: Position | None, stream: str
) -> Iterator[LogEvent]:
    end_ms = span.end_ms
    if before is not None:
        end_ms = before[0] + 1 if end_ms is None else min(end_ms, before[0] + 1)
    for part in reversed(parts):
        end = part.size_bytes if end_ms is None else _end(part, end_ms)
        for offset, at_ms, record in _records_back(part, end):
            position = (at_ms, part.first_ms, offset)
            if end_ms is not None and at_ms >= end_ms:
                continue
            if before is not None and position >= before:
                continue
            if at_ms < span.start_ms:
                return
            yield from _event(record, position, stream)


def _event(record: bytes, position: Position, stream: str) -> Iterator[LogEvent]:
    """Yield the event of a record: none for an empty line."""
    line = decode_record(record, ReplicaId(""))
    if line is None or not line.text:
        return
    text = f"[coldspark] {line.text}" if line.stream == "coldspark" else line.text
    yield LogEvent(line.at_ms, line.at_ms, text, position, stream)


def _bounded(events: Iterator[LogEvent], bounds: ReadLimits) -> list[LogEvent]:
    found: list[LogEvent] = []
    size_bytes = 0
    for event in events:
        size_bytes += len(event.message.encode()) + _OVERHEAD_BYTES
        if found and size_bytes > bounds.size_bytes:
            break
        found.append(event)
        if len(found) == bounds.events:
            break
    return found


def _records(part: _Part, offset: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield whole records from an offset on: offset, time, content."""
    rest = b""
    while offset + len(rest) < part.size_bytes:
        part.file.seek(offset + len(rest))
        block = part.file.read(min(_BLOCK_BYTES, part.size_bytes - offset - len(rest)))
        if not block:
            return
        *records, rest = (rest + block).split(b"\n")
        for record in records:
            at_ms = _time_of(record)
            if at_ms is not None:
                yield offset, at_ms, record
            offset += len(record) + 1


def _records_back(part: _Part, end: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield the whole records before ``end``, which is the start of one, the last one first."""
    rest, at, is_last = b"", end, True
    while at > 0:
        start = max(0, at - _BLOCK_BYTES)
        part.file.seek(start)
        data = part.file.read(at - start) + rest
        records = data.split(b"\n")
        rest, at, offset = records[0], start, start + len(data)
        for record in reversed(records[1:]):
            offset -= len(record)
            at_ms = None if is_last else _time_of(record)
            # What follows the last newline is a record on its way, or nothing.
            is_last = False
            if at_ms is not None:
                yield offset, at_ms, record
            offset -= 1
    at_ms = None if is_last else _time_of(rest)
    if at_ms is not None:
        yield 0, at_ms, rest


def _seek(part: _Part, at_ms: int) -> int:
    """Return the start of a record before the first one at or after a moment, and near to it."""
    low, high = 0, part.size_bytes
    while at_ms > part.first_ms and high - low > _NEAR_BYTES:
        middle = (low + high) // 2
        found = next(_whole_records(part, middle), None)
        if found is None or found[1] >= at_ms:
            high = middle
        else:
            low = found[0]
    return low


def _end(part: _Part, at_ms: int) -> int:
    """Return the start of a record after the last one before a moment, and near to it."""
    for offset, record_ms, _ in _records(part, _seek(part, at_ms)):
        if record_ms >= at_ms:
            return offset
    return part.size_bytes


def _whole_records(part: _Part, offset: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield the records after the first newline from an offset on."""
    part.file.seek(offset)
    skipped = part.file.read(2 * LINE_BYTES_MAX).find(b"\n")
    if skipped >= 0:
        yield from _records(part, offset + skipped + 1)
