"""Scheduled actions."""

from coldspark.autoscaling import operations
from coldspark.autoscaling.operations import ScheduledActionChange
from coldspark.autoscaling.scalable_target import ScheduledAction, TargetId
from coldspark.doors.aws.autoscaling.replies import page
from coldspark.doors.aws.autoscaling.request import AutoscalingRequest
from coldspark.doors.aws.autoscaling.target_ids import action_arn, render_target_id
from coldspark.doors.aws.protocol.operations import Timestamp
from coldspark.doors.aws.protocol.request import Body, member, structure, text_list, timestamp_ms


async def put(call: AutoscalingRequest) -> Body:
    """PutScheduledAction: without Schedule another part of one that is there changes."""
    body = call.body
    bounds = structure(body, "ScalableTargetAction")
    change = ScheduledActionChange(
        schedule=member(body, "Schedule", str),
        time_zone=member(body, "Timezone", str),
        start_ms=timestamp_ms(body, "StartTime"),
        end_ms=timestamp_ms(body, "EndTime"),
        bounds=(member(bounds, "MinCapacity", int), member(bounds, "MaxCapacity", int))
        if bounds
        else None,
    )
    await operations.put_action(
        call.scaling, call.target_id, str(body["ScheduledActionName"]), change
    )
    return {}


async def delete(call: AutoscalingRequest) -> Body:
    """DeleteScheduledAction."""
    await operations.delete_action(
        call.scaling, call.target_id, str(call.body["ScheduledActionName"])
    )
    return {}


async def describe(call: AutoscalingRequest) -> Body:
    """DescribeScheduledActions."""
    names = text_list(call.body, "ScheduledActionNames")
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
        call,
    )


def _shown(place: TargetId, action: ScheduledAction, region: str) -> Body:
    body: Body = {
        **render_target_id(place),
        "ScheduledActionName": action.name,
        "ScheduledActionARN": action_arn(place, action, region),
        "Schedule": action.schedule,
        "CreationTime": Timestamp(action.created_ms),
    }
    if action.time_zone is not None:
        body["Timezone"] = action.time_zone
    if action.start_ms is not None:
        body["StartTime"] = Timestamp(action.start_ms)
    if action.end_ms is not None:
        body["EndTime"] = Timestamp(action.end_ms)
    bounds = {"MinCapacity": action.least, "MaxCapacity": action.most}
    body["ScalableTargetAction"] = {
        name: value for name, value in bounds.items() if value is not None
    }
    return body
