"""CloudWatch Logs as a service: ``X-Amz-Target: Logs_20140328.<Op>``, JSON 1.1.

What concerns an endpoint's group needs the scope ``deploy`` for that endpoint, as the native logs
do; callers' own groups and lists need ``deploy`` without a name.
"""

from collections.abc import Awaitable, Callable

from coldspark.doors.aws.logs import events, filter_events, groups, shapes, streams
from coldspark.doors.aws.logs.errors import TYPES
from coldspark.doors.aws.logs.identifiers import endpoints
from coldspark.doors.aws.logs.request import LogsRequest
from coldspark.doors.aws.protocol.operations import OperationRequest, Service, operations
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.protocol.shapes import Structure
from coldspark.doors.door import DoorDependencies
from coldspark.platform.ports import Platform
from coldspark.telemetry.log_store import LogStore

Run = Callable[[LogsRequest], Awaitable[Body | None]]

BODY_BYTES_MAX = 8 * 1024 * 1024
"""A batch of 1 MiB, written as JSON."""


_READS: dict[str, tuple[Run, Structure]] = {
    "DescribeLogGroups": (groups.describe, shapes.DESCRIBE_GROUPS),
    "DescribeLogStreams": (streams.describe, shapes.DESCRIBE_STREAMS),
    "GetLogEvents": (events.get, shapes.GET_EVENTS),
    "FilterLogEvents": (filter_events.filter_events, shapes.FILTER_EVENTS),
    "ListTagsLogGroup": (groups.list_tags, shapes.GROUP_NAMED),
    "ListTagsForResource": (groups.list_tags, shapes.RESOURCE_NAMED),
}
_CHANGES: dict[str, tuple[Run, Structure]] = {
    "CreateLogGroup": (groups.create, shapes.CREATE_GROUP),
    "DeleteLogGroup": (groups.delete, shapes.GROUP_NAMED),
    "CreateLogStream": (streams.create, shapes.STREAM_NAMED),
    "DeleteLogStream": (streams.delete, shapes.STREAM_NAMED),
    "PutLogEvents": (events.put, shapes.PUT_EVENTS),
    "PutRetentionPolicy": (groups.put_retention, shapes.PUT_RETENTION),
    "DeleteRetentionPolicy": (groups.delete_retention, shapes.GROUP_NAMED),
    "TagLogGroup": (groups.tag, shapes.TAG_GROUP),
    "UntagLogGroup": (groups.untag, shapes.UNTAG_GROUP),
    "TagResource": (groups.tag, shapes.TAG_RESOURCE),
    "UntagResource": (groups.untag, shapes.UNTAG_RESOURCE),
}
_FILTER = "FilterLogEvents"
_FOLLOW = "FilterLogEvents with a startTime, or GET /v1/endpoints/NAME/logs?follow=true"
_MEASURE = "PutMetricData of CloudWatch, from where the event is written"
_INSTEAD = {
    **dict.fromkeys(("StartQuery", "GetQueryResults", "StopQuery", "DescribeQueries"), _FILTER),
    **dict.fromkeys(("PutMetricFilter", "DeleteMetricFilter", "DescribeMetricFilters"), _MEASURE),
    "TestMetricFilter": _FILTER,
    "StartLiveTail": _FOLLOW,
    **dict.fromkeys(
        ("PutSubscriptionFilter", "DeleteSubscriptionFilter", "DescribeSubscriptionFilters"),
        _FOLLOW,
    ),
}


def cloudwatch_logs(platform: Platform, logs: LogStore) -> Service:
    """Return the service over its neighbours."""

    def call_of(asked: OperationRequest) -> LogsRequest:
        return LogsRequest(platform=platform, logs=logs, region=asked.region, body=asked.body)

    return Service(
        signing_name="logs",
        target="Logs_20140328.",
        operations=operations(_READS, _CHANGES, call_of, endpoints),
        instead=_INSTEAD,
        types=TYPES,
        invalid_type="InvalidParameterException",
        body_bytes_max=BODY_BYTES_MAX,
    )


def open_logs(dependencies: DoorDependencies) -> Service | None:
    """Return the service of a server; None: its logs are another process's."""
    if dependencies.logs is None:
        return None
    return cloudwatch_logs(dependencies.platform, dependencies.logs)
