"""What was done to targets and why, in Application Auto Scaling's sentences."""

from typing import assert_never

from coldspark.autoscaling.causes import (
    ActionTriggered,
    BoundReached,
    BoundsSet,
    CapacitySet,
    EndpointUpdated,
    PolicyTriggered,
    Registered,
    ScalingCause,
)
from coldspark.autoscaling.scalable_target import (
    ActivityStatus,
    ScalableDimension,
    ScalableTarget,
    ScalingActivity,
    TargetId,
)
from coldspark.doors.aws.autoscaling.replies import page
from coldspark.doors.aws.autoscaling.request import AutoscalingRequest
from coldspark.doors.aws.autoscaling.target_ids import render_target_id
from coldspark.doors.aws.protocol.operations import Timestamp
from coldspark.doors.aws.protocol.request import Body

_MESSAGE_CHARS_MAX = 2_048
_UNITS = {
    ScalableDimension.REPLICAS: "instance count",
    ScalableDimension.COPIES: "copy count",
    ScalableDimension.CONCURRENCY: "provisioned concurrency",
}


async def describe(call: AutoscalingRequest) -> Body:
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
        call,
    )


def explain(target: ScalableTarget) -> str:
    """Return why the platform's bounds are what a target's capacity makes them."""
    cause = explain_cause(target.place, target.cause)
    return f"Application Auto Scaling: {target.capacity}, as {cause}"


def explain_cause(place: TargetId, cause: ScalingCause) -> str:
    """Return Cause."""
    match cause:
        case Registered():
            return "it was when the target was registered"
        case PolicyTriggered(policy, None):
            return f"a request at capacity 0 triggered policy {policy}"
        case PolicyTriggered(policy, alarm):
            return f"monitor alarm {alarm} in state ALARM triggered policy {policy}"
        case ActionTriggered(action):
            return f"scheduled action name {action} was triggered"
        case BoundReached(bound, is_maximum):
            return f"{'maximum' if is_maximum else 'minimum'} capacity was set to {bound}"
        case EndpointUpdated():
            unit = _UNITS[place.dimension]
            return f"the endpoint was updated to a desired {unit} of its own"
        case _:
            assert_never(cause)


def _activity(place: TargetId, activity: ScalingActivity) -> Body:
    body: Body = {
        **render_target_id(place),
        "ActivityId": activity.id,
        "Description": _description(place, activity),
        "Cause": explain_cause(place, activity.cause),
        "StartTime": Timestamp(activity.start_ms),
        "StatusCode": activity.status,
    }
    if activity.end_ms is not None:
        body["EndTime"] = Timestamp(activity.end_ms)
    message = _message(place, activity)
    if message is not None:
        body["StatusMessage"] = message[:_MESSAGE_CHARS_MAX]
    return body


def _description(place: TargetId, activity: ScalingActivity) -> str:
    match activity.change:
        case CapacitySet(capacity):
            return f"Setting desired {_UNITS[place.dimension]} to {capacity}."
        case BoundsSet(least=least, most=most):
            words = [
                f"{word} capacity to {value}"
                for word, value in (("min", least), ("max", most))
                if value is not None
            ]
            return f"Setting {' and '.join(words)}"
        case _:
            assert_never(activity.change)


def _message(place: TargetId, activity: ScalingActivity) -> str | None:
    if activity.status not in (ActivityStatus.SUCCESSFUL, ActivityStatus.FAILED):
        return None
    is_done = activity.status is ActivityStatus.SUCCESSFUL
    match activity.change:
        case CapacitySet(capacity) if is_done:
            return (
                f"Successfully set desired {_UNITS[place.dimension]} to {capacity}."
                " Change successfully fulfilled by sagemaker."
            )
        case CapacitySet():
            return activity.failure or "The reason is not known."
        case BoundsSet(became=(least, most)) if is_done:
            return f"Successfully set min capacity to {least} and max capacity to {most}"
        case BoundsSet(became=(least, most)):
            return f"The minimum capacity {least} cannot be more than the maximum capacity {most}"
        case _:
            assert_never(activity.change)
