"""Metric filters: measurements out of log events, from the moment a filter is made.

What callers put is measured as it comes in. What replicas print is read from their files, from
where the last look ended; that place is written down after what was measured until there, so that
``kill -9`` loses nothing, and at worst measures the last look's lines twice.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from coldspark.errors import ColdsparkError, InvalidRequest
from coldspark.runtime.log_files import LogFiles
from coldspark.runtime.log_store import endpoint_of
from coldspark.runtime.metric_ports import Dimensions, Metric
from coldspark.runtime.metrics.keeper import MetricKeeper
from coldspark.runtime.ports import Documents
from coldspark.runtime.tasks import Tasks
from coldspark.store.log_records import BEFORE_ALL, Bounds, Position, Span

_log = logging.getLogger(__name__)
_DOOR, _KIND, _PLACES = "logs", "metric-filter", "metric-filter-places"
PER_GROUP_MAX = 100
_DIMENSIONS_MAX = 1_000
"""Different values of one filter's dimensions, until the server starts anew."""
_MINUTES_MAX = 2_000
_MINUTE_MS = 60_000
_CHUNK = Bounds(events=2_000, size_bytes=1_048_576)
_CHUNKS_MAX = 8
"""Of one stream at one look."""
_CLOSE_WITHIN_S = 5.0


class MetricFilter(Struct, frozen=True, kw_only=True):
    """What is measured of a group's events."""

    group: str
    name: str
    pattern: str
    metric: str
    namespace: str
    value: str
    """A number, or where it stands in the event: ``$.ms`` or ``$bytes``."""
    default: float | None = None
    """Of a minute with events of which none is measured."""
    dimensions: dict[str, str] = {}
    """Where each one's value stands in the event."""
    unit: str | None = None
    created_ms: int

    @property
    def key(self) -> str:
        """Return what it is kept under; neither name can have a colon."""
        return f"{self.group}:{self.name}"


Reading = tuple[float, Dimensions]
Measure = Callable[[str], Reading | None]
"""Return what an event measures, or None."""
Compile = Callable[[MetricFilter], Measure]
"""Raises InvalidRequest for what is not understood."""
Event = tuple[int, str]
"""When, and what."""


@dataclass(slots=True)
class _Watching:
    """A filter at work."""

    filter: MetricFilter
    measure: Measure
    minutes: dict[int, None] = field(default_factory=dict)
    """Those that have a measurement."""
    seen: set[Dimensions] = field(default_factory=set)
    is_full: bool = False


class MetricFilters:
    """The filters of one server. All calls are made on the event loop's thread."""

    def __init__(
        self,
        documents: Documents,
        files: LogFiles,
        metrics: MetricKeeper,
        compile: Compile,
        *,
        period_s: float = 5.0,
    ) -> None:
        """Take the neighbours; replicas' files are looked at every ``period_s``."""
        self._documents = documents
        self._files = files
        self._metrics = metrics
        self._compile = compile
        self._period_s = period_s
        self._watching: dict[str, dict[str, _Watching]] = {}
        """By group and name."""
        self._places: dict[str, dict[str, Position]] = {}
        """By group and stream: up to where it is measured."""
        self._tasks = Tasks()
        self._turn = asyncio.Lock()

    async def open(self, *, is_timed: bool = True) -> None:
        """Take up the filters there are, and look at files from now on."""
        for document in await self._documents.find(_DOOR, _KIND):
            filter = msgspec.convert(document.body, MetricFilter)
            try:
                self._watch(filter, self._compile(filter))
            except InvalidRequest as error:
                _log.error("metric filter %s is not applied: %s", filter.key, error.message)
        for document in await self._documents.find(_DOOR, _PLACES):
            self._places[document.name] = msgspec.convert(
                document.body["streams"], dict[str, Position]
            )
        if is_timed:
            self._tasks.spawn(self._look_for_ever())

    async def close(self) -> None:
        """Look no more. Idempotent."""
        await self._tasks.close(_CLOSE_WITHIN_S)

    async def put(self, filter: MetricFilter) -> None:
        """Make or replace a filter, durable on return. Raises InvalidRequest."""
        measure = self._compile(filter)
        async with self._turn:
            there = self._watching.get(filter.group, {})
            if filter.name in there:
                filter = replace(filter, created_ms=there[filter.name].filter.created_ms)
            if filter.name not in there and len(there) >= PER_GROUP_MAX:
                raise InvalidRequest(
                    f"The log group has {PER_GROUP_MAX} metric filters already: delete some."
                )
            await self._documents.put(_DOOR, _KIND, filter.key, msgspec.to_builtins(filter))
            self._watch(filter, measure)

    async def drop(self, group: str, name: str) -> bool:
        """Delete a filter; return whether there was one."""
        async with self._turn:
            return await self._drop(group, [name])

    async def drop_group(self, group: str) -> None:
        """Delete all filters of a group."""
        async with self._turn:
            await self._drop(group, list(self._watching.get(group, ())))

    async def _drop(self, group: str, names: Sequence[str]) -> bool:
        is_there = False
        for name in names:
            is_there |= await self._documents.delete(_DOOR, _KIND, f"{group}:{name}")
            self._watching.get(group, {}).pop(name, None)
        if not self._watching.get(group):
            self._watching.pop(group, None)
            self._places.pop(group, None)
            await self._documents.delete(_DOOR, _PLACES, group)
        return is_there

    def filters(self, group: str | None = None) -> list[MetricFilter]:
        """Return the filters of a group, or all, by name."""
        groups = self._watching.values() if group is None else [self._watching.get(group, {})]
        found = [one.filter for names in groups for one in names.values()]
        return sorted(found, key=lambda one: (one.name, one.group))

    async def take(self, group: str, events: Sequence[Event], *, is_late: bool = False) -> None:
        """Measure events. What cannot be kept is told in the log.

        ``is_late``: they happened when they came in, and are looked at later: a filter that was
        made meanwhile does not hear of them.
        """
        watching = list(self._watching.get(group, {}).values())
        if not watching or not events:
            return
        try:
            await self._metrics.refuse_if_full()
        except InvalidRequest as error:
            _log.warning("metric filters of %s measure nothing: %s", group, error.message)
            return
        for one in watching:
            since_ms = one.filter.created_ms if is_late else 0
            heard = [event for event in events if event[0] >= since_ms]
            readings = await asyncio.to_thread(_readings, one.measure, heard)
            self._add(one, heard, readings)

    async def look(self) -> None:
        """Measure what replicas printed since the last look."""
        for group in list(self._watching):
            endpoint = endpoint_of(group)
            if endpoint is None:
                continue
            try:
                async with self._turn:
                    await self._look_at(group, endpoint)
            except (ColdsparkError, OSError) as error:
                _log.warning("metric filters of %s could not be applied: %s", group, error)

    async def _look_at(self, group: str, endpoint: str) -> None:
        filters = self.filters(group)
        if not filters:
            return
        span = Span(start_ms=min(one.created_ms for one in filters))
        streams = await asyncio.to_thread(self._files.streams, endpoint)
        before = self._places.get(group, {})
        places = {stream.name: before[stream.name] for stream in streams if stream.name in before}
        for stream in streams:
            place = places.get(stream.name, BEFORE_ALL)
            if (stream.last_ms or 0) >= max(place[0], span.start_ms):
                places[stream.name] = await self._follow(group, endpoint, stream.name, span, place)
        if places != before:
            # First the measurements, then up to where they were taken.
            await self._metrics.flush()
            self._places[group] = places
            await self._documents.put(_DOOR, _PLACES, group, {"streams": places})

    async def _follow(
        self, group: str, endpoint: str, stream: str, span: Span, place: Position
    ) -> Position:
        """Measure a stream from a place on; return how far that went."""
        for _ in range(_CHUNKS_MAX):
            events = await asyncio.to_thread(
                self._files.page, endpoint, stream, span, _CHUNK, after=place
            )
            if not events:
                break
            await self.take(group, [(event.at_ms, event.message) for event in events], is_late=True)
            place = events[-1].position
        return place

    def _watch(self, filter: MetricFilter, measure: Measure) -> None:
        self._watching.setdefault(filter.group, {})[filter.name] = _Watching(filter, measure)

    def _add(
        self, one: _Watching, events: Sequence[Event], readings: Sequence[Reading | None]
    ) -> None:
        silent: dict[int, None] = {}
        for (at_ms, _), reading in zip(events, readings, strict=True):
            minute_ms = at_ms // _MINUTE_MS * _MINUTE_MS
            if reading is None:
                silent[minute_ms] = None
            elif self._has_room(one, reading[1]):
                one.minutes[minute_ms] = None
                self._measure(one.filter, reading, at_ms)
        if one.filter.default is not None:
            for minute_ms in silent:
                if minute_ms not in one.minutes:
                    one.minutes[minute_ms] = None
                    self._measure(one.filter, (one.filter.default, ()), minute_ms)
        for minute_ms in sorted(one.minutes)[:-_MINUTES_MAX]:
            del one.minutes[minute_ms]

    def _has_room(self, one: _Watching, dimensions: Dimensions) -> bool:
        if dimensions in one.seen:
            return True
        if len(one.seen) < _DIMENSIONS_MAX:
            one.seen.add(dimensions)
            return True
        if not one.is_full:
            one.is_full = True
            _log.warning(
                "metric filter %s found over %d different dimensions: no new ones are measured",
                one.filter.key,
                _DIMENSIONS_MAX,
            )
        return False

    def _measure(self, filter: MetricFilter, reading: Reading, at_ms: int) -> None:
        value, dimensions = reading
        metric = Metric(namespace=filter.namespace, name=filter.metric, dimensions=dimensions)
        self._metrics.add(metric, value, at_ms, unit=filter.unit or "None")

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._period_s)
            try:
                await self.look()
            except Exception:  # noqa: BLE001
                # The task's edge: the next look tries again.
                _log.exception("metric filters could not be applied")


def _readings(measure: Measure, events: Sequence[Event]) -> list[Reading | None]:
    return [measure(message) for _, message in events]
