"""CloudWatch Logs as a service: ``X-Amz-Target: Logs_20140328.<Op>``, JSON 1.1.

What concerns an endpoint's group needs the scope ``deploy`` for that endpoint, as the native logs
do; callers' own groups and lists need ``deploy`` without a name.
"""

from collections.abc import Awaitable, Callable

from coldspark.gateway.aws.errors import DEFAULT_TYPES
from coldspark.gateway.aws.services import Asked, Body, Service, operations
from coldspark.gateway.aws.validation import Structure
from coldspark.gateway.cloudwatch_logs import (
    events,
    groups,
    metric_filters,
    queries,
    searches,
    shapes,
    streams,
)
from coldspark.gateway.cloudwatch_logs.calls import Call, group_named
from coldspark.gateway.cloudwatch_logs.insights.running import Queries
from coldspark.gateway.cloudwatch_logs.names import endpoints, refuse
from coldspark.runtime.log_store import LogStore
from coldspark.runtime.metric_filters import MetricFilters
from coldspark.runtime.ports import Platform

Run = Callable[[Call], Awaitable[Body | None]]

TYPES = {
    **DEFAULT_TYPES,
    "InvalidRequest": "InvalidParameterException",
    "BodyTooLarge": "InvalidParameterException",
    "NotFound": "ResourceNotFoundException",
    "AlreadyExists": "ResourceAlreadyExistsException",
    "Conflict": "OperationAbortedException",
}
BODY_BYTES_MAX = 8 * 1024 * 1024
"""A batch of 1 MiB, written as JSON."""


def _refused(why: str) -> Run:
    async def run(call: Call) -> Body | None:
        refuse(why)

    return run


async def _no_subscriptions(call: Call) -> Body:
    await group_named(call)
    return {"subscriptionFilters": []}


_NO_TAIL = (
    "Live tails are not supported: poll FilterLogEvents with a startTime, or follow with "
    "`coldspark logs NAME --follow` (GET /v1/endpoints/NAME/logs?follow=true)."
)
_NO_SUBSCRIPTION = (
    "Subscription filters are not supported: read with FilterLogEvents, or follow with "
    "GET /v1/endpoints/NAME/logs?follow=true."
)

_READS: dict[str, tuple[Run, Structure]] = {
    "DescribeLogGroups": (groups.describe, shapes.DESCRIBE_GROUPS),
    "DescribeLogStreams": (streams.describe, shapes.DESCRIBE_STREAMS),
    "GetLogEvents": (events.get, shapes.GET_EVENTS),
    "FilterLogEvents": (searches.search, shapes.FILTER_EVENTS),
    "TestMetricFilter": (searches.try_filter, shapes.TEST_FILTER),
    "ListTagsLogGroup": (groups.list_tags, shapes.GROUP_NAMED),
    "ListTagsForResource": (groups.list_tags, shapes.RESOURCE_NAMED),
    "DescribeSubscriptionFilters": (_no_subscriptions, shapes.DESCRIBE_FILTERS),
    "DescribeMetricFilters": (metric_filters.describe, shapes.DESCRIBE_FILTERS),
    "StartQuery": (queries.start, shapes.START_QUERY),
    "GetQueryResults": (queries.results, shapes.GET_QUERY_RESULTS),
    "StopQuery": (queries.stop, shapes.QUERY_NAMED),
    "DescribeQueries": (queries.describe, shapes.DESCRIBE_QUERIES),
    "StartLiveTail": (_refused(_NO_TAIL), shapes.START_LIVE_TAIL),
    "PutSubscriptionFilter": (_refused(_NO_SUBSCRIPTION), shapes.PUT_SUBSCRIPTION_FILTER),
}
_CHANGES: dict[str, tuple[Run, Structure]] = {
    "CreateLogGroup": (groups.create, shapes.CREATE_GROUP),
    "DeleteLogGroup": (groups.delete, shapes.GROUP_NAMED),
    "CreateLogStream": (streams.create, shapes.STREAM_NAMED),
    "DeleteLogStream": (streams.delete, shapes.STREAM_NAMED),
    "PutLogEvents": (events.put, shapes.PUT_EVENTS),
    "PutRetentionPolicy": (groups.put_retention, shapes.PUT_RETENTION),
    "DeleteRetentionPolicy": (groups.delete_retention, shapes.GROUP_NAMED),
    "PutMetricFilter": (metric_filters.put, shapes.PUT_METRIC_FILTER),
    "DeleteMetricFilter": (metric_filters.delete, shapes.DELETE_METRIC_FILTER),
    "TagLogGroup": (groups.tag, shapes.TAG_GROUP),
    "UntagLogGroup": (groups.untag, shapes.UNTAG_GROUP),
    "TagResource": (groups.tag, shapes.TAG_RESOURCE),
    "UntagResource": (groups.untag, shapes.UNTAG_RESOURCE),
}


def cloudwatch_logs(
    platform: Platform, logs: LogStore, filters: MetricFilters, log_queries: Queries
) -> Service:
    """Return the service over its neighbours."""

    def call_of(asked: Asked) -> Call:
        return Call(
            platform=platform,
            logs=logs,
            filters=filters,
            queries=log_queries,
            region=asked.region,
            body=asked.body,
        )

    return Service(
        signing_name="logs",
        target="Logs_20140328.",
        operations=operations(_READS, _CHANGES, call_of, endpoints),
        types=TYPES,
        invalid_type="InvalidParameterException",
        body_bytes_max=BODY_BYTES_MAX,
    )
