"""One call of an operation with its neighbours, and the group that it is about."""

import asyncio
from dataclasses import dataclass

from coldspark import clock
from coldspark.doors.aws.logs.errors import no_group, no_stream, refuse
from coldspark.doors.aws.logs.identifiers import group_name
from coldspark.doors.aws.protocol.names import from_group, to_group
from coldspark.doors.aws.protocol.request import AwsRequest
from coldspark.platform.ports import Platform
from coldspark.telemetry.log_records import LogGroup, LogStream, TimeRange
from coldspark.telemetry.log_store import DAY_MS, LogStore, endpoint_of, living_streams


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsRequest(AwsRequest):
    """One call of CloudWatch Logs."""

    platform: Platform
    logs: LogStore

    def live_streams(self, endpoint: str) -> frozenset[str]:
        """Return the streams that an endpoint's replicas still write."""
        return living_streams(self.platform, endpoint)


@dataclass(frozen=True, slots=True)
class Group:
    """A group that exists."""

    record: LogGroup
    endpoint: str | None
    """Whose replicas' files its streams are; None: they are in the database."""

    @property
    def name(self) -> str:
        """Return its name as clients know it."""
        return to_group(self.record.name)

    def within_retention(self, span: TimeRange) -> TimeRange:
        """Return what of a span is within the group's retention."""
        if self.record.retention_days is None:
            return span
        return span.after(clock.wall_ms() - self.record.retention_days * DAY_MS)


async def group_named(call: LogsRequest, name: str | None = None) -> Group:
    """Return the group that a call is about; raises AWS's words where there is none."""
    name = from_group(group_name(call.body) if name is None else name)
    kept, endpoint = await call.logs.events.group(name), endpoint_of(name)
    if endpoint is not None:
        created_ms = await asyncio.to_thread(call.logs.files.created_ms, endpoint)
        if kept is None and created_ms is not None:
            kept = LogGroup(name=name, created_ms=created_ms)
    if kept is None:
        no_group()
    return Group(kept, endpoint)


async def own_group(call: LogsRequest) -> Group:
    """Return a group that callers may write to."""
    group = await group_named(call)
    if group.endpoint is not None:
        refuse(
            f"Log group {group.name} holds what the replicas of endpoint {group.endpoint} "
            "print, and nothing else: put other events into a group of your own."
        )
    return group


async def streams_of(call: LogsRequest, group: Group) -> list[LogStream]:
    """Return a group's streams by name."""
    if group.endpoint is None:
        return await call.logs.events.streams(group.record)
    return await asyncio.to_thread(call.logs.files.streams, group.endpoint)


async def stream_named(call: LogsRequest, group: Group, name: str) -> LogStream:
    """Return a stream; raises AWS's words where there is none."""
    if group.endpoint is None:
        stream = await call.logs.events.stream(group.record, name)
    else:
        stream = await asyncio.to_thread(call.logs.files.stream, group.endpoint, name)
    return no_stream() if stream is None else stream
