"""Metric filters: made, listed, deleted. ``runtime/metric_filters`` applies them."""

from typing import Any

from coldspark.gateway.aws.errors import AwsError
from coldspark.gateway.aws.services import Body
from coldspark.gateway.cloudwatch_logs.calls import Call, group_named
from coldspark.gateway.cloudwatch_logs.names import page_token, read_page_token, refuse
from coldspark.gateway.cloudwatch_logs.shapes import PAGE_MAX
from coldspark.runtime import clock
from coldspark.runtime.metric_filters import MetricFilter
from coldspark.runtime.metrics.sampling import MACHINE_NAMESPACE

_OWN = ("AWS/", MACHINE_NAMESPACE)


async def put(call: Call) -> Body | None:
    """PutMetricFilter: events from now on are measured."""
    group = await group_named(call)
    told = _transformation(call.body)
    namespace, dimensions = str(told["metricNamespace"]), told.get("dimensions", {})
    if namespace.startswith(_OWN):
        refuse(
            f"Invalid metricNamespace {namespace}: what begins with AWS/, and {MACHINE_NAMESPACE},"
            " is measured by the platform itself."
        )
    if dimensions and "defaultValue" in told:
        refuse("A metric filter with dimensions cannot have a defaultValue.")
    default = told.get("defaultValue")
    await call.filters.put(
        MetricFilter(
            group=group.kept.name,
            name=str(call.body["filterName"]),
            pattern=str(call.body["filterPattern"]),
            metric=str(told["metricName"]),
            namespace=namespace,
            value=str(told["metricValue"]),
            default=None if default is None else float(default),
            dimensions=dict(dimensions),
            unit=told.get("unit"),
            created_ms=clock.wall_ms(),
        )
    )
    return None


def _transformation(body: Body) -> dict[str, Any]:
    sent = body["metricTransformations"]
    assert isinstance(sent, list)
    assert isinstance(sent[0], dict)
    return sent[0]


async def delete(call: Call) -> Body | None:
    """DeleteMetricFilter."""
    group = await group_named(call)
    if not await call.filters.drop(group.kept.name, str(call.body["filterName"])):
        raise AwsError("ResourceNotFoundException", "The specified metric filter does not exist.")
    return None


async def describe(call: Call) -> Body:
    """DescribeMetricFilters: by name; of a group, of a metric, or all."""
    body, prefix = call.body, call.text("filterNamePrefix") or ""
    if ("metricName" in body) != ("metricNamespace" in body):
        refuse("metricName and metricNamespace must be given together.")
    found = [
        one
        for one in call.filters.filters(call.text("logGroupName"))
        if one.name.startswith(prefix)
        and one.metric == body.get("metricName", one.metric)
        and one.namespace == body.get("metricNamespace", one.namespace)
    ]
    token = call.text("nextToken")
    if token is not None:
        after = read_page_token(token, tuple[str, str])
        found = [one for one in found if (one.name, one.group) > after]
    limit = call.whole("limit", PAGE_MAX)
    answer: Body = {"metricFilters": [_shown(one) for one in found[:limit]]}
    if len(found) > limit:
        answer["nextToken"] = page_token(found[limit - 1].name, found[limit - 1].group)
    return answer


def _shown(one: MetricFilter) -> Body:
    told: dict[str, Any] = {
        "metricName": one.metric,
        "metricNamespace": one.namespace,
        "metricValue": one.value,
    }
    given = {"defaultValue": one.default, "unit": one.unit, "dimensions": one.dimensions or None}
    told |= {name: value for name, value in given.items() if value is not None}
    return {
        "filterName": one.name,
        "filterPattern": one.pattern,
        "metricTransformations": [told],
        "creationTime": one.created_ms,
        "logGroupName": one.group,
        "applyOnTransformedLogs": False,
    }
