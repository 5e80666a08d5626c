"""Queries at work: one at a time, a piece at a time, so that requests find the machine free.

Queries and their results are in memory: the newest are kept, and a restart forgets them.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from coldspark.errors import InvalidRequest
from coldspark.gateway.cloudwatch_logs.insights.collecting import Collected, Shown, TooMuch
from coldspark.gateway.cloudwatch_logs.insights.language import Insight
from coldspark.gateway.cloudwatch_logs.insights.values import EventRow, Value
from coldspark.gateway.cloudwatch_logs.names import event_id
from coldspark.runtime import clock
from coldspark.runtime.log_store import LogStore
from coldspark.runtime.tasks import Tasks
from coldspark.store.log_events import size_of
from coldspark.store.log_records import BEFORE_ALL, Bounds, LogEvent, LogGroup, Position, Span

_log = logging.getLogger(__name__)
KEPT_MAX = 100
WAITING_MAX = 30
TIME_MAX_S = 60.0
STREAMS_MAX = 200
_PIECE = Bounds(events=5_000, size_bytes=1_048_576)
_PIECE_S = 0.5
_PIECE_BYTES = 4 * 1024 * 1024
_CLOSE_WITHIN_S = 5.0
_OVER = ("Complete", "Failed", "Cancelled", "Timeout")


@dataclass(frozen=True, slots=True)
class Source:
    """A group that is read: its events from ``span``."""

    group: LogGroup
    endpoint: str | None
    streams: Sequence[tuple[int, str]]
    """Their ids and names."""
    span: Span


@dataclass(slots=True)
class Running:
    """One query, from its start on."""

    id: str
    text: str
    query: Insight
    sources: Sequence[Source]
    collected: Collected
    created_ms: int
    is_stopped: bool = False
    status: str = "Scheduled"
    scanned: int = 0
    scanned_bytes: int = 0
    duration_ms: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)
    rows: list[Shown] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Return whether it came to its end."""
        return self.status in _OVER

    def end(self, status: str) -> None:
        """Let it be over."""
        self.status = status
        self.duration_ms = max(0, clock.wall_ms() - self.created_ms)
        self.done.set()


class Queries:
    """The queries of one server. All calls are made on the event loop's thread."""

    def __init__(self, logs: LogStore, *, time_max_s: float = TIME_MAX_S) -> None:
        """Take the logs that are read."""
        self._logs = logs
        self._time_max_s = time_max_s
        self._queries: dict[str, Running] = {}
        self._turn = asyncio.Lock()
        self._tasks = Tasks()

    async def close(self) -> None:
        """End all. Idempotent."""
        await self._tasks.close(_CLOSE_WITHIN_S)

    def start(self, text: str, query: Insight, sources: Sequence[Source], limit: int) -> Running:
        """Let a query run. Raises InvalidRequest where too many wait."""
        waiting = sum(not one.is_over for one in self._queries.values())
        if waiting >= WAITING_MAX:
            raise InvalidRequest(f"{waiting} queries run or wait already: try again later.")
        running = Running(
            id=str(uuid.uuid4()),
            text=text,
            query=query,
            sources=sources,
            collected=Collected(query, limit),
            created_ms=clock.wall_ms(),
        )
        self._queries[running.id] = running
        over = [one.id for one in self._queries.values() if one.is_over]
        for id in over[: max(0, len(self._queries) - KEPT_MAX)]:
            del self._queries[id]
        self._tasks.spawn(self._run(running))
        return running

    def find(self, id: str) -> Running | None:
        """Return a query that is known still."""
        return self._queries.get(id)

    def all(self) -> list[Running]:
        """Return all, the newest first."""
        return list(reversed(self._queries.values()))

    async def _run(self, running: Running) -> None:
        async with self._turn:
            running.status = "Running"
            try:
                status = await self._read(running)
                running.rows = await asyncio.to_thread(running.collected.rows)
                running.end(status)
            except TooMuch as error:
                _log.warning("query %s of logs failed: %s", running.id, error)
                running.end("Failed")
            except Exception:  # noqa: BLE001
                # The task's edge: whoever asks for the result is told, and the log says why.
                _log.exception("query %s of logs failed", running.id)
                running.end("Failed")

    async def _read(self, running: Running) -> str:
        """Go through the events; return how that ended. Between two pieces it can be stopped."""
        until_s = clock.monotonic_s() + self._time_max_s
        for source in running.sources:
            async for events in self._pieces(source):
                if running.is_stopped:
                    break
                if clock.monotonic_s() > until_s:
                    return "Timeout"
                await asyncio.to_thread(_take, running, source, events)
        return "Cancelled" if running.is_stopped else "Complete"

    async def _pieces(self, source: Source) -> AsyncIterator[list[LogEvent]]:
        pieces = self._stored if source.endpoint is None else self._printed
        async for events in pieces(source):
            yield events

    async def _stored(self, source: Source) -> AsyncIterator[list[LogEvent]]:
        names, after = dict(source.streams), BEFORE_ALL
        while rows := await self._logs.events.scan(source.group, source.span, _PIECE, after):
            after = rows[-1][1].position
            yield [_of_stream(event, names[id]) for id, event in rows if id in names]

    async def _printed(self, source: Source) -> AsyncIterator[list[LogEvent]]:
        assert source.endpoint is not None
        resume: tuple[int, str, Position] | None = None
        while True:
            found = await asyncio.to_thread(
                self._logs.files.search,
                source.endpoint,
                [name for _, name in source.streams],
                source.span,
                _all,
                _PIECE,
                resume=resume,
                read_bytes_max=_PIECE_BYTES,
                until_s=clock.monotonic_s() + _PIECE_S,
            )
            yield found.events
            if found.resume is None:
                return
            resume = found.resume


_all: Callable[[str], bool] = lambda message: True  # noqa: E731


def _of_stream(event: LogEvent, stream: str) -> LogEvent:
    return LogEvent(event.at_ms, event.ingested_ms, event.message, event.position, stream)


def _take(running: Running, source: Source, events: Sequence[LogEvent]) -> None:
    for event in events:
        system: dict[str, Value] = {
            "@logStream": event.stream,
            "@log": source.group.name,
            "@ptr": event_id(crc32(event.stream.encode()), event.position),
            "@at_ms": event.at_ms,
        }
        running.collected.take(EventRow(event, system))
        running.scanned += 1
        running.scanned_bytes += size_of(event.message)
