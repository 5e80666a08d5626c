"""CloudWatch Logs as a service: ``X-Amz-Target: Logs_20140328.<Op>``, JSON 1.1.

What concerns an endpoint's group needs the scope ``deploy`` for that endpoint, as the native logs
do; callers' own groups and lists need ``deploy`` without a name.
"""

from collections.abc import Awaitable, Callable

from coldspark.doors.aws.logs import events, filter_events, groups, streams
from coldspark.doors.aws.logs.errors import TYPES
from coldspark.doors.aws.logs.identifiers import endpoints
from coldspark.doors.aws.logs.request import LogsRequest
from coldspark.doors.aws.logs.shapes import OVERLAY
from coldspark.doors.aws.protocol.operations import OperationRequest, Service, operations
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.door import DoorDependencies
from coldspark.platform.ports import Platform
from coldspark.telemetry.log_store import LogStore

Run = Callable[[LogsRequest], Awaitable[Body | None]]

BODY_BYTES_MAX = 8 * 1024 * 1024
"""A batch of 1 MiB, written as JSON."""


_READS: dict[str, Run] = {
    "DescribeLogGroups": groups.describe,
    "DescribeLogStreams": streams.describe,
    "GetLogEvents": events.get,
    "FilterLogEvents": filter_events.filter_events,
    "ListTagsLogGroup": groups.list_tags,
    "ListTagsForResource": groups.list_tags,
}
_CHANGES: dict[str, Run] = {
    "CreateLogGroup": groups.create,
    "DeleteLogGroup": groups.delete,
    "CreateLogStream": streams.create,
    "DeleteLogStream": streams.delete,
    "PutLogEvents": events.put,
    "PutRetentionPolicy": groups.put_retention,
    "DeleteRetentionPolicy": groups.delete_retention,
    "TagLogGroup": groups.tag,
    "UntagLogGroup": groups.untag,
    "TagResource": groups.tag,
    "UntagResource": groups.untag,
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
        operations=operations(_READS, _CHANGES, OVERLAY.shapes, call_of, endpoints),
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
