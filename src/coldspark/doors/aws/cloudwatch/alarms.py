"""The operations on alarms."""

import json
from collections.abc import Awaitable, Callable

from coldspark.doors.aws.cloudwatch.alarm_members import read_alarm, render_alarm
from coldspark.doors.aws.cloudwatch.alarm_reasons import KINDS, history_data, history_summary
from coldspark.doors.aws.cloudwatch.request import (
    DOOR,
    Body,
    CloudWatchRequest,
    dimensions_of,
    milliseconds,
    page_of,
    page_position,
    page_token,
)
from coldspark.doors.aws.protocol.arns import alarm_arn
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.names import to_namespace
from coldspark.doors.aws.protocol.operations import Timestamp
from coldspark.doors.aws.protocol.tags import read_tags, store_tags
from coldspark.errors import Conflict, NotFound
from coldspark.spec.types import AlarmState
from coldspark.telemetry.alarm_changes import Alarm
from coldspark.telemetry.alarm_events import kind_of
from coldspark.telemetry.alarms_table import AlarmHistoryQuery

_PAGE = 50
_HISTORY_PAGE = 100
_KIND = "MetricAlarm"
"""The one of AWS's types of alarms that there is here."""
_KIND_OF = {name: kind for kind, name in KINDS.items()}


async def put_metric_alarm(call: CloudWatchRequest) -> None:
    """Create or replace an alarm. Tags count at its creation alone, as on AWS."""
    definition = read_alarm(call.body)
    is_new = call.alarms.state(definition.name) is None
    try:
        await call.alarms.define(definition)
    except Conflict as error:
        raise AwsError("ResourceConflict", error.message, status=409) from None
    if is_new:
        resource = alarm_arn(definition.name, call.region)
        await store_tags(call.documents, DOOR, resource, read_tags(call.body.get("Tags", [])))


async def describe_alarms(call: CloudWatchRequest) -> Body:
    """Return alarms by name."""
    body = call.body
    rows = [one for one in call.alarms.alarms() if _fits(one, body)]
    count = int(body.get("MaxRecords", _PAGE))
    shown, more = page_of(rows, lambda alarm: alarm.name, str, body, count)
    return {
        # Clients index it without asking whether it is there.
        "CompositeAlarms": [],
        "MetricAlarms": [render_alarm(one, call.region) for one in shown],
        **more,
    }


def _fits(alarm: Alarm, body: Body) -> bool:
    actions = alarm.definition.actions
    addresses = (*actions.ok, *actions.alarm, *actions.insufficient_data)
    prefix = body.get("ActionPrefix", "")
    return (
        _KIND in body.get("AlarmTypes", [_KIND])
        and alarm.name in body.get("AlarmNames", [alarm.name])
        and alarm.name.startswith(body.get("AlarmNamePrefix", ""))
        and alarm.stored.state == body.get("StateValue", alarm.stored.state)
        and (not prefix or any(one.startswith(prefix) for one in addresses))
    )


async def describe_alarms_for_metric(call: CloudWatchRequest) -> Body:
    """Return the alarms over one metric."""
    body, dimensions = call.body, dimensions_of(call.body)
    rows = []
    for alarm in call.alarms.alarms():
        stat = alarm.definition.watched.stat
        if stat is None or alarm.definition.is_expression:
            continue
        metric = stat.metric
        asked: tuple[tuple[str, object], ...] = (
            ("Statistic", stat.statistic),
            ("ExtendedStatistic", stat.statistic),
            ("Period", stat.period_s),
            ("Unit", stat.unit),
        )
        is_of_it = (to_namespace(metric.namespace), metric.name) == (
            body["Namespace"],
            body["MetricName"],
        )
        is_of_them = "Dimensions" not in body or metric.dimensions == dimensions
        if is_of_it and is_of_them and all(body.get(name, has) == has for name, has in asked):
            rows.append(render_alarm(alarm, call.region))
    return {"MetricAlarms": rows}


async def describe_alarm_history(call: CloudWatchRequest) -> Body:
    """Return what happened to alarms, also to those that are gone."""
    body = call.body
    limit = int(body.get("MaxRecords", _HISTORY_PAGE))
    found = await call.alarms.history(
        AlarmHistoryQuery(
            alarm=body.get("AlarmName"),
            kind=_KIND_OF.get(str(body.get("HistoryItemType"))),
            since_ms=_moment(body, "StartDate"),
            until_ms=_moment(body, "EndDate"),
            is_ascending=body.get("ScanBy") == "TimestampAscending",
            after_id=page_position(body, int),
            limit=limit + 1,
        )
    )
    shown = found[:limit]
    answered: Body = {
        "AlarmHistoryItems": [
            {
                "AlarmName": one.alarm,
                "AlarmType": _KIND,
                "Timestamp": Timestamp(one.at_ms),
                "HistoryItemType": KINDS[kind_of(one.event)],
                "HistorySummary": history_summary(one)[:255],
                "HistoryData": history_data(one.event)[:4_095],
            }
            for one in shown
            if _KIND in body.get("AlarmTypes", [_KIND])
        ]
    }
    if len(found) > limit:
        answered["NextToken"] = page_token(body, shown[-1].id)
    return answered


def _moment(body: Body, member: str) -> int | None:
    return milliseconds(body[member]) if member in body else None


async def delete_alarms(call: CloudWatchRequest) -> None:
    """Delete alarms. Names that are not there are passed over, as AWS says it does."""
    names = [name for name in call.body.get("AlarmNames", ()) if call.alarms.state(name)]
    try:
        await call.alarms.drop_all(names)
    except Conflict as error:
        raise AwsError("ResourceConflict", error.message, status=409) from None
    for name in names:
        await store_tags(call.documents, DOOR, alarm_arn(name, call.region), {})


async def set_alarm_state(call: CloudWatchRequest) -> None:
    """Put an alarm into a state until it is next evaluated."""
    body = call.body
    data = body.get("StateReasonData")
    if data is not None and not _is_json(data):
        raise AwsError("InvalidFormat", "StateReasonData must be JSON.")
    state, reason = AlarmState(body["StateValue"]), str(body["StateReason"])
    try:
        await call.alarms.set_state(str(body["AlarmName"]), state, reason, data)
    except NotFound as error:
        raise AwsError("ResourceNotFound", error.message, status=404) from None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def set_alarm_actions(is_acting: bool) -> Callable[[CloudWatchRequest], Awaitable[None]]:
    """Return EnableAlarmActions or DisableAlarmActions."""

    async def run(call: CloudWatchRequest) -> None:
        await call.alarms.set_actions_enabled(call.body.get("AlarmNames", ()), is_acting)

    return run
