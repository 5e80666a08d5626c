"""FilterLogEvents: the events of a group by time, those that a pattern wants.

A call reads so much and takes so long at most; then it gives a token to go on with, also where it
found nothing, as on AWS.
"""

import asyncio
from dataclasses import replace
from zlib import crc32

from coldspark import clock
from coldspark.doors.aws.logs.errors import bad_token, no_stream, refuse
from coldspark.doors.aws.logs.events import ANSWER_BYTES_MAX
from coldspark.doors.aws.logs.filter_patterns.conditions import Wanted
from coldspark.doors.aws.logs.filter_patterns.patterns import compile_pattern
from coldspark.doors.aws.logs.identifiers import event_id
from coldspark.doors.aws.logs.request import Group, LogsRequest, group_named, streams_of
from coldspark.doors.aws.logs.shapes import EVENTS_MAX
from coldspark.doors.aws.protocol.pages import read_place, write_token
from coldspark.doors.aws.protocol.request import Body
from coldspark.telemetry.expressions import ExpressionError
from coldspark.telemetry.log_records import (
    BEFORE_ALL,
    LogEvent,
    LogStream,
    Position,
    ReadLimits,
    TimeRange,
)
from coldspark.telemetry.logs_table import size_of
from coldspark.telemetry.replica_log_files import LogSearchResult

READ_BYTES_MAX = 8 * 1024 * 1024
TIME_MAX_S = 1.0
STREAMS_SEARCHED_MAX = 200
"""Of replicas, whose files are open meanwhile."""
_CHUNK = ReadLimits(events=2_000, size_bytes=1_048_576)
_STREAMS_TOLD_MAX = 100
_LAST_MS = 2**63 - 2
"""The database has 64 bits."""
_Place = tuple[int, str, Position]


async def filter_events(call: LogsRequest) -> Body:
    """FilterLogEvents."""
    pattern = pattern_of(call.text("filterPattern") or "")
    group = await group_named(call)
    streams = _chosen(call, await streams_of(call, group))
    token = call.text("nextToken")
    resume = None if token is None else read_place(token, "events", _Place, bad_token)
    if group.endpoint is None:
        found = await _search_stored(call, group, streams, pattern, resume)
    else:
        found = await _search_files(call, group, streams, pattern, resume)
    answer: Body = {"events": [_shown(event) for event in found.events]}
    if len(streams) <= _STREAMS_TOLD_MAX:
        answer["searchedLogStreams"] = [
            {"logStreamName": stream.name, "searchedCompletely": found.resume is None}
            for stream in streams
        ]
    if found.resume is not None:
        answer["nextToken"] = write_token(("events", found.resume))
    return answer


def pattern_of(text: str) -> Wanted:
    """Return a compiled pattern; refuses one that is not understood."""
    try:
        return compile_pattern(text)
    except ExpressionError as error:
        refuse(f"Invalid filter pattern: {error}")


def _chosen(call: LogsRequest, streams: list[LogStream]) -> list[LogStream]:
    names, prefix = call.body.get("logStreamNames"), call.text("logStreamNamePrefix")
    if names is None:
        return [stream for stream in streams if stream.name.startswith(prefix or "")]
    if prefix is not None:
        refuse("logStreamNamePrefix and logStreamNames cannot be given together.")
    assert isinstance(names, list)
    chosen = [stream for stream in streams if stream.name in names]
    if len(chosen) < len(set(names)):
        no_stream()
    return chosen


def _span(call: LogsRequest, group: Group) -> TimeRange:
    end_ms = call.body.get("endTime")
    assert end_ms is None or isinstance(end_ms, int)
    # Unlike GetLogEvents', this end is within the span.
    end = None if end_ms is None else min(end_ms, _LAST_MS) + 1
    return group.within_retention(TimeRange(start_ms=call.integer("startTime", 0), end_ms=end))


def _bounds(call: LogsRequest) -> ReadLimits:
    return ReadLimits(events=call.integer("limit", EVENTS_MAX), size_bytes=ANSWER_BYTES_MAX)


async def _search_files(
    call: LogsRequest,
    group: Group,
    streams: list[LogStream],
    pattern: Wanted,
    resume: _Place | None,
) -> LogSearchResult:
    span = _span(call, group)
    in_time = [stream.name for stream in streams if (stream.last_ms or 0) >= span.start_ms]
    if len(in_time) > STREAMS_SEARCHED_MAX:
        refuse(
            f"{len(in_time)} log streams would be searched, {STREAMS_SEARCHED_MAX} at most can be: "
            "give a logStreamNamePrefix, logStreamNames or a later startTime."
        )
    assert group.endpoint is not None
    return await asyncio.to_thread(
        call.logs.files.search,
        group.endpoint,
        in_time,
        span,
        pattern,
        _bounds(call),
        resume=resume,
        read_bytes_max=READ_BYTES_MAX,
        until_s=clock.monotonic_s() + TIME_MAX_S,
    )


async def _search_stored(
    call: LogsRequest,
    group: Group,
    streams: list[LogStream],
    pattern: Wanted,
    resume: _Place | None,
) -> LogSearchResult:
    names = {stream.id: stream.name for stream in streams}
    span, bounds = _span(call, group), _bounds(call)
    until_s, read_bytes = clock.monotonic_s() + TIME_MAX_S, 0
    after = BEFORE_ALL if resume is None else resume[2]
    found: list[LogEvent] = []
    while rows := await call.logs.events.scan(group.record, span, _CHUNK, after):
        last = rows[-1][1].position
        after = await asyncio.to_thread(_sift, rows, names, pattern, bounds, found, after)
        read_bytes += sum(size_of(event.message) for _, event in rows)
        is_full = after != last or len(found) >= bounds.events
        if is_full or read_bytes >= READ_BYTES_MAX or clock.monotonic_s() >= until_s:
            return LogSearchResult(found, (after[0], "", after))
    return LogSearchResult(found, None)


def _sift(
    rows: list[tuple[int, LogEvent]],
    names: dict[int, str],
    pattern: Wanted,
    bounds: ReadLimits,
    found: list[LogEvent],
    after: Position,
) -> Position:
    """Add the events that are wanted, as far as there is room; return where that ended."""
    size_bytes = sum(size_of(event.message) for event in found)
    for stream, event in rows:
        if stream in names and pattern(event.message):
            size_bytes += size_of(event.message)
            if len(found) >= bounds.events or (found and size_bytes > bounds.size_bytes):
                break
            found.append(replace(event, stream=names[stream]))
        after = event.position
    return after


def _shown(event: LogEvent) -> Body:
    return {
        "logStreamName": event.stream,
        "timestamp": event.at_ms,
        "message": event.message,
        "ingestionTime": event.ingested_ms,
        "eventId": event_id(crc32(event.stream.encode()), event.position),
    }
