"""CloudWatch as a service: ``GraniteServiceVersion20100801`` in JSON, and query."""

from collections.abc import Awaitable, Callable

from coldspark import clock
from coldspark.doors.aws.cloudwatch import alarms, get_metrics, put_metrics, tags
from coldspark.doors.aws.cloudwatch.alarm_actions import publish_alarm_actions
from coldspark.doors.aws.cloudwatch.errors import TYPES
from coldspark.doors.aws.cloudwatch.request import Body, CloudWatchRequest
from coldspark.doors.aws.cloudwatch.shapes import OVERLAY
from coldspark.doors.aws.protocol.operations import OperationRequest, Service, operations
from coldspark.doors.aws.protocol.topics import Topics
from coldspark.doors.door import DoorDependencies
from coldspark.platform.ports import DocumentStore
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.metric_service import MetricService

Run = Callable[[CloudWatchRequest], Awaitable[Body | None]]

_READS: dict[str, Run] = {
    "GetMetricData": get_metrics.get_metric_data,
    "GetMetricStatistics": get_metrics.get_metric_statistics,
    "ListMetrics": get_metrics.list_metrics,
    "PutMetricData": put_metrics.put_metric_data,
    "DescribeAlarms": alarms.describe_alarms,
    "DescribeAlarmsForMetric": alarms.describe_alarms_for_metric,
    "DescribeAlarmHistory": alarms.describe_alarm_history,
    "ListTagsForResource": tags.list_tags,
}
"""Also PutMetricData: measurements add up in any order, so they need not wait for each other."""
_CHANGES: dict[str, Run] = {
    "PutMetricAlarm": alarms.put_metric_alarm,
    "DeleteAlarms": alarms.delete_alarms,
    "SetAlarmState": alarms.set_alarm_state,
    "EnableAlarmActions": alarms.set_alarm_actions(True),
    "DisableAlarmActions": alarms.set_alarm_actions(False),
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
}
_DRAW = "a program that draws GetMetricData, or GET /metrics, and keeps its own dashboards"
_INSTEAD = {
    "PutCompositeAlarm": "PutMetricAlarm with Metrics whose expression joins several with AND, OR",
    **dict.fromkeys(("PutDashboard", "GetDashboard", "ListDashboards", "DeleteDashboards"), _DRAW),
}


def cloudwatch(
    metrics: MetricService,
    alarms: AlarmService,
    documents: DocumentStore,
    wall_ms: Callable[[], int] = clock.wall_ms,
) -> Service:
    """Return the service over its neighbours."""

    def call_of(asked: OperationRequest) -> CloudWatchRequest:
        return CloudWatchRequest(
            metrics=metrics,
            alarms=alarms,
            documents=documents,
            now_ms=wall_ms(),
            region=asked.region,
            body=asked.body,
        )

    return Service(
        signing_name="monitoring",
        target="GraniteServiceVersion20100801.",
        json_version="1.0",
        query_version="2010-08-01",
        namespace="http://monitoring.amazonaws.com/doc/2010-08-01/",
        operations=operations(_READS, _CHANGES, OVERLAY.shapes, call_of),
        instead=_INSTEAD,
        types=TYPES,
        invalid_type="ValidationError",
    )


def open_cloudwatch(dependencies: DoorDependencies) -> Service | None:
    """Return the service of a server; None: it keeps no metrics here."""
    metrics, alarms = dependencies.metrics, dependencies.alarms
    if metrics is None or alarms is None:
        return None
    topics = Topics.of(dependencies)
    if topics is not None:
        publish_alarm_actions(alarms, topics)
    return cloudwatch(metrics, alarms, dependencies.documents)
