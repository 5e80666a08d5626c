"""What a target becomes when its capacity or its bounds change. Pure."""

from collections.abc import Sequence

from msgspec.structs import replace

from coldspark.autoscaling.capacity import Bounds, Quiet
from coldspark.autoscaling.replica_capacity import is_reached, noun, own, reason
from coldspark.autoscaling.scalable_target import Action, Activity, Status, Target
from coldspark.platform.ports import VariantView
from coldspark.spec.types import EndpointStatus

ACTIVITIES_MAX = 100


def with_activities(target: Target, new: Sequence[Activity]) -> Target:
    """Return a target that also did this; the oldest fall out."""
    return replace(target, activities=(*target.activities, *new)[-ACTIVITIES_MAX:])


def moved(
    target: Target, capacity: int, cause: str, new_id: str, now_ms: int, quiet: Quiet | None = None
) -> Target:
    """Return a target that moves to a capacity: what was under way is overridden."""
    before = tuple(
        replace(one, status=Status.OVERRIDDEN, end_ms=now_ms)
        if one.status is Status.IN_PROGRESS
        else one
        for one in target.activities
    )
    activity = Activity(
        id=new_id,
        description=f"Setting desired {noun(target.place)} to {capacity}.",
        cause=cause,
        start_ms=now_ms,
    )
    changed = replace(
        target,
        capacity=capacity,
        reason=reason(capacity, cause),
        moved_ms=now_ms,
        quiet=quiet or Quiet(),
        activities=before,
    )
    return with_activities(changed, [activity])


def bounded(target: Target, new_id: str, now_ms: int) -> Target:
    """Return a target whose capacity lies within its bounds."""
    capacity, bounds = target.capacity, target.bounds
    if bounds.within(capacity) == capacity:
        return target
    word, limit = ("minimum", bounds.least)
    if capacity > bounds.most:
        word, limit = "maximum", bounds.most
    return moved(target, limit, f"{word} capacity was set to {limit}", new_id, now_ms)


def adopted(target: Target, view: VariantView, capacity: int, new_id: str, now_ms: int) -> Target:
    """Return a target whose variant was given another count of its own."""
    target = replace(target, own=own(view))
    capacity = target.bounds.within(capacity)
    if capacity == target.capacity:
        return target
    cause = f"the endpoint was updated to a desired {noun(target.place)} of its own"
    return moved(target, capacity, cause, new_id, now_ms)


def scheduled(target: Target, action: Action, new_ids: Sequence[str], now_ms: int) -> Target:
    """Return a target after a scheduled action: other bounds, and a capacity within."""
    least = target.bounds.least if action.least is None else action.least
    most = target.bounds.most if action.most is None else action.most
    activity = Activity(
        id=new_ids[0],
        description=_bounds_words(action),
        cause=f"scheduled action name {action.name} was triggered",
        start_ms=now_ms,
        end_ms=now_ms,
        status=Status.SUCCESSFUL,
        message=f"Successfully set min capacity to {least} and max capacity to {most}",
    )
    if least > most:
        message = f"The minimum capacity {least} cannot be more than the maximum capacity {most}"
        activity = replace(activity, status=Status.FAILED, message=message)
        return with_activities(target, [activity])
    changed = with_activities(replace(target, bounds=Bounds(least, most)), [activity])
    return bounded(changed, new_ids[1], now_ms)


def finished(target: Target, view: VariantView, now_ms: int) -> Target:
    """Return a target whose activity under way has ended, if it has."""
    if not any(one.status is Status.IN_PROGRESS for one in target.activities):
        return target
    if is_reached(target, view):
        status, message = (
            Status.SUCCESSFUL,
            (
                f"Successfully set desired {noun(target.place)} to {target.capacity}."
                " Change successfully fulfilled by sagemaker."
            ),
        )
    elif view.status is EndpointStatus.FAILED:
        status, message = Status.FAILED, view.failure or "The reason is not known."
    else:
        return target
    activities = tuple(
        replace(one, status=status, message=message, end_ms=now_ms)
        if one.status is Status.IN_PROGRESS
        else one
        for one in target.activities
    )
    return replace(target, activities=activities)


def _bounds_words(action: Action) -> str:
    words = [
        f"{word} capacity to {value}"
        for word, value in (("min", action.least), ("max", action.most))
        if value is not None
    ]
    return f"Setting {' and '.join(words)}"
