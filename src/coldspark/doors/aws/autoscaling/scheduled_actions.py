"""Scheduled actions, and the activities that came of everything."""

from coldspark.autoscaling import operations
from coldspark.autoscaling.operations import ActionChange
from coldspark.autoscaling.scalable_target import Action, Activity, Place
from coldspark.doors.aws.autoscaling.pages import page
from coldspark.doors.aws.autoscaling.request import Call, member, moment_ms, structure, texts
from coldspark.doors.aws.autoscaling.target_ids import action_arn, described
from coldspark.doors.aws.protocol.operations import Body, Moment

_MESSAGE_CHARS_MAX = 2_048


async def put(call: Call) -> Body:
    """PutScheduledAction: without Schedule another part of one that is there changes."""
    body = call.body
    bounds = structure(body, "ScalableTargetAction")
    change = ActionChange(
        schedule=member(body, "Schedule", str),
        time_zone=member(body, "Timezone", str),
        start_ms=moment_ms(body, "StartTime"),
        end_ms=moment_ms(body, "EndTime"),
        bounds=(member(bounds, "MinCapacity", int), member(bounds, "MaxCapacity", int))
        if bounds
        else None,
    )
    await operations.put_action(call.scaling, call.place, str(body["ScheduledActionName"]), change)
    return {}


async def delete(call: Call) -> Body:
    """DeleteScheduledAction."""
    await operations.delete_action(call.scaling, call.place, str(call.body["ScheduledActionName"]))
    return {}


async def describe(call: Call) -> Body:
    """DescribeScheduledActions."""
    names = texts(call.body, "ScheduledActionNames")
    rows = [
        (target.place, action)
        for target in await call.targets()
        for action in target.actions
        if not names or action.name in names
    ]
    return page(
        "ScheduledActions",
        rows,
        lambda row: (0, f"{row[0].key}/{row[1].name}"),
        lambda row: _shown(row[0], row[1], call.region),
        call.body,
    )


async def activities(call: Call) -> Body:
    """DescribeScalingActivities: the newest first."""
    rows = [
        (target.place, number, activity)
        for target in await call.targets()
        for number, activity in enumerate(target.activities)
    ]
    return page(
        "ScalingActivities",
        rows,
        lambda row: (-row[2].start_ms, f"{row[0].key}/{999 - row[1]:03}"),
        lambda row: _activity(row[0], row[2]),
        call.body,
    )


def _shown(place: Place, action: Action, region: str) -> Body:
    body: Body = {
        **described(place),
        "ScheduledActionName": action.name,
        "ScheduledActionARN": action_arn(place, action, region),
        "Schedule": action.schedule,
        "CreationTime": Moment(action.created_ms),
    }
    if action.time_zone is not None:
        body["Timezone"] = action.time_zone
    if action.start_ms is not None:
        body["StartTime"] = Moment(action.start_ms)
    if action.end_ms is not None:
        body["EndTime"] = Moment(action.end_ms)
    bounds = {"MinCapacity": action.least, "MaxCapacity": action.most}
    body["ScalableTargetAction"] = {
        name: value for name, value in bounds.items() if value is not None
    }
    return body


def _activity(place: Place, activity: Activity) -> Body:
    body: Body = {
        **described(place),
        "ActivityId": activity.id,
        "Description": activity.description,
        "Cause": activity.cause,
        "StartTime": Moment(activity.start_ms),
        "StatusCode": activity.status,
    }
    if activity.end_ms is not None:
        body["EndTime"] = Moment(activity.end_ms)
    if activity.message is not None:
        body["StatusMessage"] = activity.message[:_MESSAGE_CHARS_MAX]
    return body
