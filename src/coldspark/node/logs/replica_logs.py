"""What replicas print: bounded files, a short memory of the living, and followers.

Files lie at ``<directory>/<endpoint>/<variant>/<replica>.log`` with the older half beside it as
``.log.1``. A replica holds at most ``bytes_max`` on disk; of a fleet's ended replicas the newest
``ENDED_KEPT`` are kept. Nothing here waits for anybody: a follower who does not keep up loses
lines and is told how many.
"""

import heapq
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote

from coldspark import clock
from coldspark.node.logs.line_splitter import STREAMS, LineSplitter, decode_record, encode_records
from coldspark.platform.ports import LogLine
from coldspark.spec.types import EndpointName, FleetId, ReplicaId

TAIL_LINES = 200
ENDED_MAX = 20
FOLLOWER_LINES = 1_000
_KNOWN_MAX = 10_000
_BLOCK_BYTES = 64 * 1024
_READ_BYTES_MAX = 8 * 1024 * 1024
_DIRECTORIES_MAX = 4_096
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC


class LogFollower:
    """Lines of one endpoint as they come. ``on_lines`` is called when there are some to take."""

    def __init__(self, on_lines: Callable[[], None]) -> None:
        self._on_lines = on_lines
        self._lines: deque[LogLine] = deque(maxlen=FOLLOWER_LINES)
        self.dropped = 0
        """Lines lost so far because they were not taken in time."""

    def put(self, lines: list[LogLine]) -> None:
        """Queue lines, over the oldest ones if need be."""
        was_empty = not self._lines
        self.dropped += max(0, len(self._lines) + len(lines) - FOLLOWER_LINES)
        self._lines.extend(lines)
        if was_empty and self._lines:
            self._on_lines()

    def take(self) -> list[LogLine]:
        """Return what has come since the last call."""
        lines = list(self._lines)
        self._lines.clear()
        return lines


class ReplicaLog:
    """The log of one living replica."""

    def __init__(
        self,
        replica: ReplicaId,
        path: Path,
        bytes_max: int,
        followers: Callable[[], list[LogFollower]],
    ) -> None:
        self._replica = replica
        self.path = path
        self._half_bytes = max(1, bytes_max // 2)
        self._followers = followers
        self._file: int | None = None
        """None where the disk refuses: the tail in memory and the followers still have it all."""
        self._is_open = True
        self._written_bytes = 0
        self._latest_ms = 0
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        """Records without their newline."""

    def writer(self, stream: str) -> Callable[[bytes], None]:
        """Return where a pipe's bytes go; ``b""`` ends the stream."""
        splitter = LineSplitter()

        def write(data: bytes) -> None:
            lines = splitter.feed(data) if data else splitter.flush()
            if lines:
                self._append(stream, lines)

        assert stream in STREAMS
        return write

    def append(self, text: str) -> None:
        """Add the platform's own words."""
        lines = [line.encode(errors="replace") for line in text.splitlines()]
        if lines:
            self._append("coldspark", lines)

    def tail(self, lines: int) -> tuple[str, ...]:
        """Return the last lines, oldest first."""
        wanted = list(self._tail)[-lines:] if lines > 0 else []
        return tuple(line.text for line in self._decoded(wanted))

    def printed(self, lines: int) -> tuple[str, ...]:
        """Return the last lines that the replica printed itself."""
        decoded = [line for line in self._decoded(list(self._tail)) if line.stream != "coldspark"]
        return tuple(line.text for line in decoded[-lines:])

    def close(self) -> None:
        """Write no more. Idempotent."""
        self._is_open = False
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, stream: str, lines: list[bytes]) -> None:
        if not self._is_open:
            return
        # A clock that is set back must not put lines out of order: who reads bisects.
        self._latest_ms = max(self._latest_ms, clock.wall_ms())
        records = encode_records(self._latest_ms, stream, lines)
        try:
            self._write(records)
        except OSError:
            # A full or read-only disk must not end the replica.
            pass
        latest = records.rsplit(b"\n", TAIL_LINES + 1)[:-1]
        self._tail.extend(latest[-TAIL_LINES:])
        followers = self._followers()
        if followers:
            decoded = list(self._decoded(records.split(b"\n")))
            for follower in followers:
                follower.put(decoded)

    def _write(self, records: bytes) -> None:
        if self._file is not None and self._written_bytes + len(records) > self._half_bytes:
            os.close(self._file)
            self._file = None
            os.replace(self.path, f"{self.path}.1")
        if self._file is None:
            try:
                self._file = os.open(self.path, _NEW_FILE, 0o640)
            except FileNotFoundError:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self.path, _NEW_FILE, 0o640)
            self._written_bytes = 0
        # One read of a pipe may be more than a very small limit: its newest part is kept.
        self._written_bytes += os.write(self._file, records[-self._half_bytes :])

    def _decoded(self, records: list[bytes]) -> Iterator[LogLine]:
        for record in records:
            line = decode_record(record, self._replica)
            if line is not None:
                yield line


class ReplicaLogs:
    """The logs of all replicas of this machine, living and ended."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._living: dict[ReplicaId, ReplicaLog] = {}
        self._paths: OrderedDict[ReplicaId, Path] = OrderedDict()
        self._ended: OrderedDict[str, deque[str]] = OrderedDict()
        """The logs of ended replicas by directory, oldest first."""
        self._followers: dict[EndpointName, list[LogFollower]] = {}

    def open(self, replica: ReplicaId, fleet: FleetId, bytes_max: int) -> ReplicaLog:
        """Begin a replica's log; its file is made with its first line."""
        endpoint, _, variant = fleet.partition("/")
        directory = self._directory / quoted(endpoint) / quoted(variant)
        path = directory / f"{quoted(replica)}.log"
        name = EndpointName(endpoint)
        log = ReplicaLog(replica, path, bytes_max, lambda: self._followers.get(name, []))
        self._living[replica] = log
        self._paths[replica] = path
        while len(self._paths) > _KNOWN_MAX:
            self._paths.popitem(last=False)
        return log

    def close(self, replica: ReplicaId) -> None:
        """End a replica's log, and drop the oldest ended ones of its fleet. Idempotent."""
        log = self._living.pop(replica, None)
        if log is not None:
            log.close()
            self._prune(log.path)

    def tail(self, replica: ReplicaId, lines: int) -> tuple[str, ...]:
        """Return the last lines of a replica, living or recently ended; none for an unknown one."""
        if lines <= TAIL_LINES and (log := self._living.get(replica)) is not None:
            return log.tail(lines)
        path = self._paths.get(replica)
        return () if path is None else tuple(line.text for line in _newest(path, replica, lines))

    def newest(self, endpoint: EndpointName, lines: int) -> list[LogLine]:
        """Return the newest lines of all kept replicas of an endpoint, oldest first."""
        directory = self._directory / quoted(endpoint)
        files = [
            _newest(path, ReplicaId(unquote(path.name.removesuffix(".log"))), lines)
            for path in sorted(directory.glob("*/*.log"))
        ]
        merged = list(heapq.merge(*files, key=lambda line: line.at_ms))
        return merged[-lines:] if lines > 0 else []

    def follow(self, endpoint: EndpointName, on_lines: Callable[[], None]) -> LogFollower:
        """Begin to follow an endpoint; ``unfollow`` ends it."""
        follower = LogFollower(on_lines)
        self._followers.setdefault(endpoint, []).append(follower)
        return follower

    def unfollow(self, endpoint: EndpointName, follower: LogFollower) -> None:
        """End following. Idempotent."""
        followers = [other for other in self._followers.get(endpoint, []) if other is not follower]
        if followers:
            self._followers[endpoint] = followers
        else:
            self._followers.pop(endpoint, None)

    def _prune(self, ended: Path) -> None:
        directory = str(ended.parent)
        files = self._ended.get(directory)
        if files is None:
            # Listed once: a wake that looks at all of them would take longer for each.
            files = self._ended[directory] = self._listed(ended.parent)
        else:
            files.append(str(ended))
        self._ended.move_to_end(directory)
        while len(self._ended) > _DIRECTORIES_MAX:
            self._ended.popitem(last=False)
        while len(files) > ENDED_MAX:
            oldest = files.popleft()
            for name in (oldest, f"{oldest}.1"):
                with suppress(FileNotFoundError):
                    os.unlink(name)

    def _listed(self, directory: Path) -> deque[str]:
        living = {str(log.path) for log in self._living.values()}
        ended = [path for path in directory.glob("*.log") if str(path) not in living]
        ended.sort(key=_modified)
        return deque(map(str, ended))


def quoted(name: str) -> str:
    """Return a file name that stands for any text and climbs nowhere."""
    return quote(name, safe="").replace(".", "%2E") or "%"


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _newest(path: Path, replica: ReplicaId, lines: int) -> list[LogLine]:
    """Return the last lines of a log, reading no more than they need (8 MiB at most)."""
    found: list[LogLine] = []
    for part in (path, path.with_name(f"{path.name}.1")):
        if len(found) < lines:
            records = _last_records(part, lines - len(found))
            decoded = [decode_record(record, replica) for record in records]
            found = [line for line in decoded if line is not None] + found
    return found[-lines:] if lines > 0 else []


def _last_records(path: Path, count: int) -> list[bytes]:
    try:
        with path.open("rb") as file:
            at = file.seek(0, os.SEEK_END)
            data = b""
            while at > 0 and data.count(b"\n") <= count and len(data) < _READ_BYTES_MAX:
                size = min(_BLOCK_BYTES, at)
                at = file.seek(at - size)
                data = file.read(size) + data
    except FileNotFoundError:
        return []
    return data.split(b"\n")[:-1][-count:]
