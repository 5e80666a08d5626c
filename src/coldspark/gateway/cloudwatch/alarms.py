"""The operations on alarms."""

import json
from collections.abc import Awaitable, Callable

from coldspark.core.alarms import AlarmState
from coldspark.errors import Conflict, NotFound
from coldspark.gateway.aws.errors import AwsError
from coldspark.gateway.aws.services import Moment
from coldspark.gateway.cloudwatch import tags
from coldspark.gateway.cloudwatch.alarm_documents import read_alarm, shown_alarm
from coldspark.gateway.cloudwatch.calls import (
    Body,
    Call,
    arn,
    bad_combination,
    dimensions_of,
    milliseconds,
    place_of,
    token,
)
from coldspark.gateway.cloudwatch.composites import shown_composite
from coldspark.runtime.metrics.alarm_keeper import Alarm
from coldspark.runtime.metrics.composites import Composite
from coldspark.store.alarms import HistoryQuestion

_PAGE = 50
_HISTORY_PAGE = 100


async def put_metric_alarm(call: Call) -> None:
    """Create or replace an alarm. Tags count at its creation alone, as on AWS."""
    definition = read_alarm(call.body)
    is_new = call.alarms.state(definition.name) is None
    try:
        await call.alarms.define(definition)
    except Conflict as error:
        raise AwsError("ResourceConflict", error.message, status=409) from None
    if is_new:
        resource = arn("alarm", definition.name, call.region)
        await tags.put(call.documents, resource, call.body.get("Tags", []))


async def describe_alarms(call: Call) -> Body:
    """Return alarms of both kinds by name."""
    body = call.body
    rows = [one for one in _asked(call) if _fits(one, body)]
    after = place_of(body)
    if after is not None:
        rows = [alarm for alarm in rows if alarm.name > after]
    shown = rows[: int(body.get("MaxRecords", _PAGE))]
    answered: Body = {
        "CompositeAlarms": [
            shown_composite(one, call.region) for one in shown if isinstance(one, Composite)
        ],
        "MetricAlarms": [shown_alarm(one, call.region) for one in shown if isinstance(one, Alarm)],
    }
    if len(shown) < len(rows):
        answered["NextToken"] = token(body, shown[-1].name)
    return answered


def _asked(call: Call) -> list[Alarm | Composite]:
    """Return the alarms of the types that are asked for: without any, as on AWS, metric alarms."""
    family = [name for name in ("ChildrenOfAlarmName", "ParentsOfAlarmName") if name in call.body]
    everything: list[Alarm | Composite] = [*call.alarms.alarms(), *call.composites.all()]
    everything.sort(key=lambda one: one.name)
    if family:
        if set(call.body) - {*family, "MaxRecords", "NextToken"} or len(family) > 1:
            bad_combination(f"{family[0]} goes with MaxRecords and NextToken only.")
        return _of_family(call, everything)
    types = call.body.get("AlarmTypes", ["MetricAlarm"])
    return [one for one in everything if type_of(one) in types]


def _of_family(call: Call, everything: list[Alarm | Composite]) -> list[Alarm | Composite]:
    parent, child = call.body.get("ChildrenOfAlarmName"), call.body.get("ParentsOfAlarmName")
    if child is not None:
        return [one for one in everything if isinstance(one, Composite) and child in one.rule.names]
    found = call.composites.find(str(parent))
    return [one for one in everything if found is not None and one.name in found.rule.names]


def type_of(one: Alarm | Composite) -> str:
    """Return AWS's word for a kind of alarms."""
    return "CompositeAlarm" if isinstance(one, Composite) else "MetricAlarm"


def _fits(alarm: Alarm | Composite, body: Body) -> bool:
    actions = alarm.definition.actions
    addresses = (*actions.ok, *actions.alarm, *actions.insufficient_data)
    prefix = body.get("ActionPrefix", "")
    return (
        alarm.name in body.get("AlarmNames", [alarm.name])
        and alarm.name.startswith(body.get("AlarmNamePrefix", ""))
        and alarm.stored.state == body.get("StateValue", alarm.stored.state)
        and (not prefix or any(one.startswith(prefix) for one in addresses))
    )


async def describe_alarms_for_metric(call: Call) -> Body:
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
        is_of_it = (metric.namespace, metric.name) == (body["Namespace"], body["MetricName"])
        is_of_them = "Dimensions" not in body or metric.dimensions == dimensions
        if is_of_it and is_of_them and all(body.get(name, has) == has for name, has in asked):
            rows.append(shown_alarm(alarm, call.region))
    return {"MetricAlarms": rows}


async def describe_alarm_history(call: Call) -> Body:
    """Return what happened to alarms, also to those that are gone."""
    body = call.body
    types = body.get("AlarmTypes", ["MetricAlarm", "CompositeAlarm"])
    limit = int(body.get("MaxRecords", _HISTORY_PAGE))
    found = await call.alarms.history(
        HistoryQuestion(
            alarm=body.get("AlarmName"),
            kind=body.get("HistoryItemType"),
            since_ms=_moment(body, "StartDate"),
            until_ms=_moment(body, "EndDate"),
            is_ascending=body.get("ScanBy") == "TimestampAscending",
            after_id=place_of(body),
            limit=limit + 1,
        )
    )
    shown = found[:limit]
    answered: Body = {
        "AlarmHistoryItems": [
            {
                "AlarmName": one.alarm,
                "AlarmType": _type_named(call, one.alarm),
                "Timestamp": Moment(one.at_ms),
                "HistoryItemType": one.kind,
                "HistorySummary": one.summary[:255],
                "HistoryData": one.data[:4_095],
            }
            for one in shown
            if _type_named(call, one.alarm) in types
        ]
    }
    if len(found) > limit:
        answered["NextToken"] = token(body, shown[-1].id)
    return answered


def _type_named(call: Call, name: str) -> str:
    return "MetricAlarm" if call.composites.find(name) is None else "CompositeAlarm"


def _moment(body: Body, member: str) -> int | None:
    return milliseconds(body[member]) if member in body else None


async def delete_alarms(call: Call) -> None:
    """Delete alarms. Names that are not there are passed over, as AWS says it does."""
    names = [name for name in call.body.get("AlarmNames", ()) if call.alarms.state(name)]
    try:
        call.composites.refuse_needed(names)
        composites = [name for name in names if call.composites.find(name) is not None]
        await call.alarms.drop_all([name for name in names if name not in composites])
        await call.composites.drop_all(composites)
    except Conflict as error:
        raise AwsError("ResourceConflict", error.message, status=409) from None
    for name in names:
        await tags.put(call.documents, arn("alarm", name, call.region), [])


async def set_alarm_state(call: Call) -> None:
    """Put an alarm into a state until it is next evaluated."""
    body = call.body
    data = body.get("StateReasonData")
    if data is not None and not _is_json(data):
        raise AwsError("InvalidFormat", "StateReasonData must be JSON.")
    name = str(body["AlarmName"])
    is_metric = call.composites.find(name) is None
    set_state = call.alarms.set_state if is_metric else call.composites.set_state
    try:
        await set_state(name, AlarmState(body["StateValue"]), str(body["StateReason"]), data)
    except NotFound as error:
        raise AwsError("ResourceNotFound", error.message, status=404) from None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def acting(is_acting: bool) -> Callable[[Call], Awaitable[None]]:
    """Return EnableAlarmActions or DisableAlarmActions."""

    async def run(call: Call) -> None:
        names = call.body.get("AlarmNames", ())
        await call.alarms.set_acting(names, is_acting)
        await call.composites.set_acting(names, is_acting)

    return run
