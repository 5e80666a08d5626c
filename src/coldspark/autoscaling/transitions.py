"""What a target becomes when its capacity or its bounds change. Pure."""

from collections.abc import Sequence

from msgspec.structs import replace

from coldspark.autoscaling.capacity import CapacityBounds, CooldownState
from coldspark.autoscaling.replica_capacity import (
    capacity_unit,
    is_reached,
    own_counts,
    scale_reason,
)
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
    cause: str,
    new_id: str,
    now_ms: int,
    quiet: CooldownState | None = None,
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
        description=f"Setting desired {capacity_unit(target.place)} to {capacity}.",
        cause=cause,
        start_ms=now_ms,
    )
    changed = replace(
        target,
        capacity=capacity,
        reason=scale_reason(capacity, cause),
        moved_ms=now_ms,
        quiet=quiet or CooldownState(),
        activities=before,
    )
    return with_activities(changed, [activity])


def within_bounds(target: ScalableTarget, new_id: str, now_ms: int) -> ScalableTarget:
    """Return a target whose capacity lies within its bounds."""
    capacity, bounds = target.capacity, target.bounds
    if bounds.within(capacity) == capacity:
        return target
    word, limit = ("minimum", bounds.least)
    if capacity > bounds.most:
        word, limit = "maximum", bounds.most
    return with_capacity(target, limit, f"{word} capacity was set to {limit}", new_id, now_ms)


def with_own_counts(
    target: ScalableTarget, view: VariantView, capacity: int, new_id: str, now_ms: int
) -> ScalableTarget:
    """Return a target whose variant was given another count of its own."""
    target = replace(target, own=own_counts(view))
    capacity = target.bounds.within(capacity)
    if capacity == target.capacity:
        return target
    cause = f"the endpoint was updated to a desired {capacity_unit(target.place)} of its own"
    return with_capacity(target, capacity, cause, new_id, now_ms)


def after_action(
    target: ScalableTarget, action: ScheduledAction, new_ids: Sequence[str], now_ms: int
) -> ScalableTarget:
    """Return a target after a scheduled action: other bounds, and a capacity within."""
    least = target.bounds.least if action.least is None else action.least
    most = target.bounds.most if action.most is None else action.most
    activity = ScalingActivity(
        id=new_ids[0],
        description=_bounds_words(action),
        cause=f"scheduled action name {action.name} was triggered",
        start_ms=now_ms,
        end_ms=now_ms,
        status=ActivityStatus.SUCCESSFUL,
        message=f"Successfully set min capacity to {least} and max capacity to {most}",
    )
    if least > most:
        message = f"The minimum capacity {least} cannot be more than the maximum capacity {most}"
        activity = replace(activity, status=ActivityStatus.FAILED, message=message)
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
        status, message = (
            ActivityStatus.SUCCESSFUL,
            (
                f"Successfully set desired {capacity_unit(target.place)} to {target.capacity}."
                " Change successfully fulfilled by sagemaker."
            ),
        )
    elif view.status is EndpointStatus.FAILED:
        status, message = ActivityStatus.FAILED, view.failure or "The reason is not known."
    else:
        return target
    activities = tuple(
        replace(one, status=status, message=message, end_ms=now_ms)
        if one.status is ActivityStatus.IN_PROGRESS
        else one
        for one in target.activities
    )
    return replace(target, activities=activities)


def _bounds_words(action: ScheduledAction) -> str:
    words = [
        f"{word} capacity to {value}"
        for word, value in (("min", action.least), ("max", action.most))
        if value is not None
    ]
    return f"Setting {' and '.join(words)}"
