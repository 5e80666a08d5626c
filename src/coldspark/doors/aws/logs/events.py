"""Events: put into a caller's own stream, and read from any."""

import asyncio

from coldspark import clock
from coldspark.doors.aws.logs.errors import refuse
from coldspark.doors.aws.logs.identifiers import event_token, read_event_token
from coldspark.doors.aws.logs.request import (
    Group,
    LogsRequest,
    group_named,
    own_group,
    stream_named,
)
from coldspark.doors.aws.logs.shapes import EVENTS_MAX
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.request import Body
from coldspark.telemetry.log_records import (
    BEFORE_ALL,
    LogEvent,
    LogStream,
    Position,
    ReadLimits,
    TimeRange,
)
from coldspark.telemetry.log_store import DAY_MS
from coldspark.telemetry.logs_table import size_of

BATCH_BYTES_MAX = 1_048_576
ANSWER_BYTES_MAX = 1_048_576
STORED_BYTES_MAX = 10 * 1024**3
"""What callers' own events may hold in all."""
_OLD_MS = 14 * DAY_MS
_NEW_MS = 2 * 3_600_000
_SEQUENCE_DIGITS = 56


async def put(call: LogsRequest) -> Body:
    """PutLogEvents: one batch, durable on return. A sequence token is taken and passed over."""
    group = await own_group(call)
    await stream_named(call, group, str(call.body["logStreamName"]))
    events = _events(call.body)
    times = [at_ms for at_ms, _ in events]
    if times != sorted(times):
        refuse("Log events in a single PutLogEvents request must be in chronological order.")
    size_bytes = sum(size_of(message) for _, message in events)
    if size_bytes > BATCH_BYTES_MAX:
        refuse(f"Upload too large: {size_bytes} bytes exceeds limit of {BATCH_BYTES_MAX}")
    now_ms = clock.wall_ms()
    taken, rejected = _sifted(times, now_ms, group.record.retention_days)
    kept = events[taken]
    if kept and kept[-1][0] - kept[0][0] > DAY_MS:
        refuse(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 "
            "hours."
        )
    if kept:
        await _store(call, group, kept, size_bytes)
    answer: Body = {"nextSequenceToken": f"49{now_ms:0{_SEQUENCE_DIGITS - 2}d}"}
    return answer | ({"rejectedLogEventsInfo": rejected} if rejected else {})


async def _store(
    call: LogsRequest, group: Group, events: list[tuple[int, str]], size_bytes: int
) -> None:
    if await call.logs.events.stored_bytes() + size_bytes > STORED_BYTES_MAX:
        raise AwsError(
            "LimitExceededException",
            f"Log events that callers put here hold at most {STORED_BYTES_MAX} bytes in all: "
            "delete a log group, or give one a shorter retention.",
        )
    await call.logs.events.put(group.record, str(call.body["logStreamName"]), events)


def _events(body: Body) -> list[tuple[int, str]]:
    events = body["logEvents"]
    assert isinstance(events, list)
    return [(event["timestamp"], event["message"]) for event in events]


def _sifted(times: list[int], now_ms: int, days: int | None) -> tuple[slice, dict[str, int]]:
    """Return which events of rising times are taken, and what is told of the others."""
    old = sum(at_ms < now_ms - _OLD_MS for at_ms in times)
    expired = 0 if days is None else sum(at_ms < now_ms - days * DAY_MS for at_ms in times)
    new = sum(at_ms > now_ms + _NEW_MS for at_ms in times)
    rejected = {}
    if new:
        rejected["tooNewLogEventStartIndex"] = len(times) - new
    if old:
        rejected["tooOldLogEventEndIndex"] = old
    if expired > old:
        rejected["expiredLogEventEndIndex"] = expired
    return slice(max(old, expired), len(times) - new), rejected


async def get(call: LogsRequest) -> Body:
    """GetLogEvents: from a token on, from the head, or the last ones.

    The token that comes back is the one that was sent where there is nothing more that way.
    """
    group = await group_named(call)
    stream = await stream_named(call, group, str(call.body["logStreamName"]))
    token = call.text("nextToken")
    way: str
    place: Position | None
    if token is not None:
        way, place = read_event_token(token)
    else:
        way, place = ("f", BEFORE_ALL) if call.body.get("startFromHead") else ("b", None)
    events = await _page(call, group, stream, way, place)
    if events:
        first, last = events[0].position, events[-1].position
    else:
        first, last = _around(way, place)
    return {
        "events": [
            {"timestamp": one.at_ms, "message": one.message, "ingestionTime": one.ingested_ms}
            for one in events
        ],
        "nextForwardToken": event_token("f", last),
        "nextBackwardToken": event_token("b", first),
    }


async def _page(
    call: LogsRequest, group: Group, stream: LogStream, way: str, place: Position | None
) -> list[LogEvent]:
    end_ms = call.body.get("endTime")
    assert end_ms is None or isinstance(end_ms, int)
    span = group.within_retention(TimeRange(start_ms=call.integer("startTime", 0), end_ms=end_ms))
    bounds = ReadLimits(events=call.integer("limit", EVENTS_MAX), size_bytes=ANSWER_BYTES_MAX)
    after, before = (place, None) if way == "f" else (None, place)
    if group.endpoint is None:
        return await call.logs.events.page(stream, span, bounds, after=after, before=before)
    return await asyncio.to_thread(
        call.logs.files.page,
        group.endpoint,
        stream.name,
        span,
        bounds,
        after=after,
        before=before,
    )


def _around(way: str, place: Position | None) -> tuple[Position, Position]:
    """Return the places before and after which there is more, where a page has no event.

    The one that was asked from stays as it is; the other takes in what was the last event.
    """
    if place is None:
        return BEFORE_ALL, BEFORE_ALL
    at_ms, part, offset = place
    if way == "f":
        return (at_ms, part, offset + 1), place
    return place, (at_ms, part, max(-1, offset - 1))
