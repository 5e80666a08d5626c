"""Log streams: made, listed, deleted."""

import asyncio

from coldspark.doors.aws.logs.errors import bad_token, refuse
from coldspark.doors.aws.logs.identifiers import group_arn
from coldspark.doors.aws.logs.request import (
    LogsRequest,
    group_named,
    own_group,
    stream_named,
    streams_of,
)
from coldspark.doors.aws.logs.shapes import PAGE_MAX
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.pages import page
from coldspark.doors.aws.protocol.request import Body
from coldspark.errors import AlreadyExists
from coldspark.telemetry.log_records import LogStream

STREAMS_MAX = 10_000
"""In one of callers' own groups."""
_Place = tuple[int, str]


async def create(call: LogsRequest) -> Body | None:
    """CreateLogStream."""
    group = await own_group(call)
    if len(await call.logs.events.streams(group.record)) >= STREAMS_MAX:
        raise AwsError(
            "LimitExceededException", f"A log group has at most {STREAMS_MAX} log streams."
        )
    try:
        await call.logs.events.create_stream(group.record, str(call.body["logStreamName"]))
    except AlreadyExists:
        raise AwsError(
            "ResourceAlreadyExistsException", "The specified log stream already exists"
        ) from None
    return None


async def delete(call: LogsRequest) -> Body | None:
    """DeleteLogStream: of a replica's stream the files go, unless it still writes."""
    group, name = await group_named(call), str(call.body["logStreamName"])
    await stream_named(call, group, name)
    if group.endpoint is None:
        await call.logs.events.drop_stream(group.record, name)
        call.logs.on_dropped()
        return None
    if name in call.live_streams(group.endpoint):
        raise AwsError(
            "OperationAbortedException",
            f"The replica of log stream {name} still writes to it: delete it when it has ended.",
        )
    await asyncio.to_thread(call.logs.files.remove, group.endpoint, name)
    return None


async def describe(call: LogsRequest) -> Body:
    """DescribeLogStreams: by name, or by the time of the last event."""
    prefix = call.text("logStreamNamePrefix")
    order = call.text("orderBy") or "LogStreamName"
    if order == "LastEventTime" and prefix is not None:
        refuse("Cannot order by LastEventTime with a logStreamNamePrefix.")
    group = await group_named(call)
    streams = [
        stream for stream in await streams_of(call, group) if stream.name.startswith(prefix or "")
    ]
    is_descending = bool(call.body.get("descending"))

    def place(stream: LogStream) -> _Place:
        return (stream.last_ms or 0 if order == "LastEventTime" else 0), stream.name

    shown, token = page(
        streams,
        place,
        _Place,
        of=f"streams {order} {is_descending}",
        token=call.text("nextToken"),
        count=call.integer("limit", PAGE_MAX),
        refuse=bad_token,
        is_descending=is_descending,
    )
    arn = group_arn(call.region, group.name)
    answer: Body = {"logStreams": [_shown(stream, arn) for stream in shown]}
    return answer | ({} if token is None else {"nextToken": token})


def _shown(stream: LogStream, arn: str) -> Body:
    answer: Body = {
        "logStreamName": stream.name,
        "creationTime": stream.created_ms,
        "arn": f"{arn}:log-stream:{stream.name}",
        "storedBytes": stream.stored_bytes,
    }
    times = {
        "firstEventTimestamp": stream.first_ms,
        "lastEventTimestamp": stream.last_ms,
        "lastIngestionTime": stream.ingested_ms,
    }
    return answer | {name: at_ms for name, at_ms in times.items() if at_ms is not None}
