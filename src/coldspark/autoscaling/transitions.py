"""What a target becomes when its capacity or its bounds change. Pure."""

from collections.abc import Sequence

from msgspec.structs import replace

from coldspark.autoscaling.capacity import CapacityBounds, CooldownState
from coldspark.autoscaling.causes import (
    ActionTriggered,
    BoundReached,
    BoundsSet,
    CapacitySet,
    EndpointUpdated,
    ScalingCause,
)
from coldspark.autoscaling.replica_capacity import is_reached, own_counts
from coldspark.autoscaling.scalable_target import (
    ActivityStatus,
    ScalableTarget,
    ScalingActivity,
    ScheduledAction,
)
from coldspark.platform.ports import VariantView
from coldspark.spec.types import EndpointStatus

ACTIVITIES_MAX = 100


def with_activities(target: ScalableTarget, new: Sequence[ScalingActivity]) -> ScalableTarget:
    """Return a target that also did this; the oldest fall out."""
    return replace(target, activities=(*target.activities, *new)[-ACTIVITIES_MAX:])


def with_capacity(
    target: ScalableTarget,
    capacity: int,
    cause: ScalingCause,
    new_id: str,
    now_ms: int,
    cooldown: CooldownState | None = None,
) -> ScalableTarget:
    """Return a target that moves to a capacity: what was under way is overridden."""
    before = tuple(
        replace(one, status=ActivityStatus.OVERRIDDEN, end_ms=now_ms)
        if one.status is ActivityStatus.IN_PROGRESS
        else one
        for one in target.activities
    )
    activity = ScalingActivity(
        id=new_id,
        change=CapacitySet(capacity),
        cause=cause,
        start_ms=now_ms,
    )
    changed = replace(
        target,
        capacity=capacity,
        cause=cause,
        moved_ms=now_ms,
        cooldown=cooldown or CooldownState(),
        activities=before,
    )
    return with_activities(changed, [activity])


def within_bounds(target: ScalableTarget, new_id: str, now_ms: int) -> ScalableTarget:
    """Return a target whose capacity lies within its bounds."""
    capacity, bounds = target.capacity, target.bounds
    if bounds.within(capacity) == capacity:
        return target
    cause = BoundReached(bounds.within(capacity), is_maximum=capacity > bounds.most)
    return with_capacity(target, cause.bound, cause, new_id, now_ms)


def with_own_counts(
    target: ScalableTarget, view: VariantView, capacity: int, new_id: str, now_ms: int
) -> ScalableTarget:
    """Return a target whose variant was given another count of its own."""
    target = replace(target, own=own_counts(view))
    capacity = target.bounds.within(capacity)
    if capacity == target.capacity:
        return target
    return with_capacity(target, capacity, EndpointUpdated(), new_id, now_ms)


def after_action(
    target: ScalableTarget, action: ScheduledAction, new_ids: Sequence[str], now_ms: int
) -> ScalableTarget:
    """Return a target after a scheduled action: other bounds, and a capacity within."""
    least = target.bounds.least if action.least is None else action.least
    most = target.bounds.most if action.most is None else action.most
    activity = ScalingActivity(
        id=new_ids[0],
        change=BoundsSet(least=action.least, most=action.most, became=(least, most)),
        cause=ActionTriggered(action.name),
        start_ms=now_ms,
        end_ms=now_ms,
        status=ActivityStatus.FAILED if least > most else ActivityStatus.SUCCESSFUL,
    )
    if least > most:
        return with_activities(target, [activity])
    changed = with_activities(replace(target, bounds=CapacityBounds(least, most)), [activity])
    return within_bounds(changed, new_ids[1], now_ms)


def with_finished_activity(
    target: ScalableTarget, view: VariantView, now_ms: int
) -> ScalableTarget:
    """Return a target whose activity under way has ended, if it has."""
    if not any(one.status is ActivityStatus.IN_PROGRESS for one in target.activities):
        return target
    if is_reached(target, view):
        status, failure = ActivityStatus.SUCCESSFUL, None
    elif view.status is EndpointStatus.FAILED:
        status, failure = ActivityStatus.FAILED, view.failure
    else:
        return target
    activities = tuple(
        replace(one, status=status, failure=failure, end_ms=now_ms)
        if one.status is ActivityStatus.IN_PROGRESS
        else one
        for one in target.activities
    )
    return replace(target, activities=activities)
