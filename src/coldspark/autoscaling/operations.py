"""What callers change: targets, policies and scheduled actions. Durable on return."""

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from coldspark.autoscaling import replica_capacity, scheduled_actions, target_tracking, transitions
from coldspark.autoscaling.capacity import CapacityBounds, SuspendedScaling
from coldspark.autoscaling.scalable_target import (
    ScalableDimension,
    ScalableTarget,
    ScalingPolicy,
    ScheduledAction,
    StepPolicy,
    TargetId,
    TrackingPolicy,
)
from coldspark.autoscaling.service import AutoscalingService, new_id, target_label
from coldspark.errors import ColdsparkError, Conflict, InvalidRequest, NotFound
from coldspark.fleet.step_scaling import CAPACITY_MAX
from coldspark.platform.ports import EndpointView, VariantView

TARGETS_MAX, POLICIES_MAX, ACTIONS_MAX, TAGS_MAX = 2_000, 50, 200, 50


class TargetChange(Struct, frozen=True, kw_only=True):
    """What a target is to be; None is left as it is."""

    least: int | None = None
    most: int | None = None
    role: str | None = None
    suspended: Mapping[str, bool] = {}
    """Fields of ``SuspendedScaling``."""
    tags: Mapping[str, str] = {}


class ScheduledActionChange(Struct, frozen=True, kw_only=True):
    """What a scheduled action is to be; None is left as it is, but for start and end."""

    schedule: str | None = None
    time_zone: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    bounds: tuple[int | None, int | None] | None = None
    """Least and most: one of them at least."""


@dataclass(frozen=True, slots=True)
class FoundVariant:
    """A variant, as it stands."""

    endpoint: EndpointView
    view: VariantView


async def register(
    scaling: AutoscalingService, place: TargetId, change: TargetChange
) -> ScalableTarget:
    """Register a target, or change it. Raises InvalidRequest."""
    await scaling.drop_gone()
    async with scaling.turn_taken:
        known = scaling.targets.find(place)
        target = _new(scaling, place, change) if known is None else known
        now_ms = scaling.wall_ms()
        suspended = {**_fields(target.suspended), **change.suspended}
        target = replace(
            target,
            bounds=_bounds(
                target.bounds.least if change.least is None else change.least,
                target.bounds.most if change.most is None else change.most,
            ),
            role=change.role or target.role,
            suspended=SuspendedScaling(**suspended),
        )
        target = transitions.within_bounds(target, new_id(), now_ms)
        await _save(scaling, target)
    return target


async def deregister(scaling: AutoscalingService, place: TargetId) -> None:
    """Drop a target with all that belongs to it: the variant's own count holds again."""
    await scaling.drop_gone()
    async with scaling.turn_taken:
        target = scaling.targets.find(place)
        if target is None:
            raise NotFound(f"No scalable target found for {target_label(place)}")
        await scaling.forget(target)
        await scaling.platform.set_scale(place.endpoint, place.variant, None, None, "deregistered")


async def put_policy(
    scaling: AutoscalingService,
    place: TargetId,
    name: str,
    *,
    tracked: TrackingPolicy | None = None,
    step: StepPolicy | None = None,
) -> ScalingPolicy:
    """Create or replace a policy, with its alarms. Raises NotFound, InvalidRequest, Conflict."""
    async with scaling.turn_taken:
        target = _target(scaling, place)
        known = target.policy(name)
        if known is None and len(target.policies) >= POLICIES_MAX:
            raise Conflict(f"A scalable target has at most {POLICIES_MAX} scaling policies.")
        policy = _policy(place, name, known, tracked, scaling.wall_ms())
        policy = replace(policy, step=step)
        _refuse_twin(target, policy)
        others = tuple(one for one in target.policies if one.name != name)
        changed = replace(target, policies=(*others, policy))
        await scaling.targets.save(changed)
        try:
            await _put_alarms(scaling, policy, known)
        except ColdsparkError:
            await scaling.targets.save(target)
            raise
    scaling.wake()
    return policy


async def delete_policy(scaling: AutoscalingService, place: TargetId, name: str) -> None:
    """Delete a policy and the alarms that were made for it. Raises NotFound."""
    async with scaling.turn_taken:
        target = scaling.targets.find(place)
        policy = None if target is None else target.policy(name)
        if target is None or policy is None:
            words = f"{target_label(place)}, policy name: {name}"
            raise NotFound(f"No scaling policy found for {words}")
        await _drop_alarms(scaling, policy)
        others = tuple(one for one in target.policies if one.name != name)
        await scaling.targets.save(replace(target, policies=others))


async def put_action(
    scaling: AutoscalingService, place: TargetId, name: str, change: ScheduledActionChange
) -> ScheduledAction:
    """Create or change a scheduled action. Raises NotFound, InvalidRequest, Conflict."""
    async with scaling.turn_taken:
        target = _target(scaling, place)
        known = target.action(name)
        if known is None and len(target.actions) >= ACTIONS_MAX:
            raise Conflict(f"A scalable target has at most {ACTIONS_MAX} scheduled actions.")
        action = _action(name, known, change, scaling.wall_ms())
        others = tuple(one for one in target.actions if one.name != name)
        await scaling.targets.save(replace(target, actions=(*others, action)))
    scaling.wake()
    return action


async def delete_action(scaling: AutoscalingService, place: TargetId, name: str) -> None:
    """Delete a scheduled action. Raises NotFound."""
    async with scaling.turn_taken:
        target = scaling.targets.find(place)
        if target is None or target.action(name) is None:
            words = f"{target_label(place)}, scheduled action name: {name}"
            raise NotFound(f"No scheduled action found for {words}")
        others = tuple(one for one in target.actions if one.name != name)
        await scaling.targets.save(replace(target, actions=others))


async def set_tags(
    scaling: AutoscalingService, target_id: str, tags: Mapping[str, str | None]
) -> None:
    """Set tags, and drop those that are None. Raises NotFound and Conflict."""
    async with scaling.turn_taken:
        target = next((one for one in scaling.targets.all() if one.id == target_id), None)
        if target is None:
            raise NotFound(f"There is no scalable target with the id {target_id}")
        merged = {**dict(target.tags), **tags}
        kept = tuple((key, value) for key, value in merged.items() if value is not None)
        if len(kept) > TAGS_MAX:
            raise Conflict(f"A scalable target has at most {TAGS_MAX} tags, not {len(kept)}.")
        await scaling.targets.save(replace(target, tags=kept))


def _new(scaling: AutoscalingService, place: TargetId, change: TargetChange) -> ScalableTarget:
    found = _found(scaling, place)
    for other in scaling.targets.of_variant(place):
        raise InvalidRequest(
            f"{place.resource} is registered with the scalable dimension {other.place.dimension}"
            " already: deregister that first, as both set how many replicas there are.",
            field="ScalableDimension",
        )
    if change.least is None or change.most is None:
        raise InvalidRequest("MinCapacity and MaxCapacity are required for a new scalable target.")
    if len(scaling.targets.all()) >= TARGETS_MAX:
        raise Conflict(f"There are {TARGETS_MAX} scalable targets already: deregister some.")
    bounds = _bounds(change.least, change.most)
    return ScalableTarget(
        place=place,
        id=new_id().replace("-", ""),
        created_ms=scaling.wall_ms(),
        endpoint_ms=found.endpoint.created_ms,
        bounds=bounds,
        capacity=replica_capacity.capacity_of(place, found.view, found.view.floor.min),
        own=replica_capacity.own_counts(found.view),
        reason=replica_capacity.scale_reason(
            found.view.floor.min, "it was when the target was registered"
        ),
        tags=tuple(change.tags.items()),
    )


def _found(scaling: AutoscalingService, place: TargetId) -> FoundVariant:
    found = replica_capacity.find(scaling.platform, place)
    if found is None:
        what = "inference component" if place.dimension is ScalableDimension.COPIES else "variant"
        raise InvalidRequest(f"SageMaker {what} doesn't exist: {place.resource}")
    return FoundVariant(*found)


def _target(scaling: AutoscalingService, place: TargetId) -> ScalableTarget:
    target = scaling.targets.find(place)
    if target is None:
        raise NotFound(f"No scalable target registered for {target_label(place)}")
    return target


async def _save(scaling: AutoscalingService, target: ScalableTarget) -> None:
    await scaling.targets.save(target)
    await scaling.apply(target)
    scaling.wake()


def _bounds(least: int, most: int) -> CapacityBounds:
    if least < 0 or most > CAPACITY_MAX:
        raise InvalidRequest(
            f"MinCapacity {least} and MaxCapacity {most} must lie in 0..{CAPACITY_MAX}."
        )
    if least > most:
        raise InvalidRequest(
            f"Maximum capacity cannot be less than minimum capacity: {most} is less than {least}."
        )
    return CapacityBounds(least, most)


def _fields(suspended: SuspendedScaling) -> dict[str, bool]:
    return {
        "going_in": suspended.going_in,
        "going_out": suspended.going_out,
        "scheduled": suspended.scheduled,
    }


def _policy(
    place: TargetId,
    name: str,
    known: ScalingPolicy | None,
    tracked: TrackingPolicy | None,
    now_ms: int,
) -> ScalingPolicy:
    id, created_ms = (new_id(), now_ms) if known is None else (known.id, known.created_ms)
    if tracked is not None:
        names = target_tracking.alarm_names(
            place, id, is_in_disabled=tracked.is_in_disabled is True
        )
        tracked = replace(tracked, alarms=names)
    return ScalingPolicy(name=name, id=id, created_ms=created_ms, tracking=tracked)


def _refuse_twin(target: ScalableTarget, policy: ScalingPolicy) -> None:
    """Two policies that track one metric to two values would fight."""
    for other in target.policies:
        if other.name == policy.name or other.tracking is None or policy.tracking is None:
            continue
        if other.tracking.tracked == policy.tracking.tracked:
            raise InvalidRequest(
                "Only one TargetTrackingScaling policy for a given metric specification is"
                f" allowed: {other.name} tracks it already."
            )


async def _put_alarms(
    scaling: AutoscalingService, policy: ScalingPolicy, before: ScalingPolicy | None
) -> None:
    if before is not None:
        kept = () if policy.tracking is None else policy.tracking.alarms
        await _drop_alarms(scaling, before, but=kept)
    if policy.tracking is not None:
        for rule in target_tracking.alarm_rules(policy):
            await scaling.alarms.put(rule)


async def _drop_alarms(
    scaling: AutoscalingService, policy: ScalingPolicy, but: tuple[str, ...] = ()
) -> None:
    if policy.tracking is not None:
        for name in policy.tracking.alarms:
            if name not in but:
                await scaling.alarms.drop(name)


def _action(
    name: str, known: ScheduledAction | None, change: ScheduledActionChange, now_ms: int
) -> ScheduledAction:
    bounds = change.bounds or (None if known is None else (known.least, known.most))
    if bounds is None or bounds == (None, None):
        raise InvalidRequest(
            "ScalableTargetAction must have MinCapacity, MaxCapacity or both.",
            field="ScalableTargetAction",
        )
    schedule = change.schedule or (None if known is None else known.schedule)
    if schedule is None:
        raise InvalidRequest("Schedule is required for a new scheduled action.", field="Schedule")
    _bounds(bounds[0] or 0, CAPACITY_MAX if bounds[1] is None else bounds[1])
    action = ScheduledAction(
        name=name,
        id=new_id() if known is None else known.id,
        schedule=schedule,
        time_zone=change.time_zone or (None if known is None else known.time_zone),
        start_ms=change.start_ms,
        end_ms=change.end_ms,
        least=bounds[0],
        most=bounds[1],
        created_ms=now_ms if known is None else known.created_ms,
        done_ms=now_ms,
    )
    _refuse_never(action, change, now_ms)
    return action


def _refuse_never(action: ScheduledAction, change: ScheduledActionChange, now_ms: int) -> None:
    start_ms, end_ms = action.start_ms, action.end_ms
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise InvalidRequest("EndTime must be later than StartTime.", field="EndTime")
    try:
        next_ms = scheduled_actions.next_ms(action, now_ms)
    except ValueError as error:
        raise InvalidRequest(f"{error}.", field="Schedule") from None
    if next_ms is None and (change.schedule is not None or change.end_ms is not None):
        raise InvalidRequest(
            f"The schedule {action.schedule} names no time that is still to come, within StartTime"
            " and EndTime: nothing would ever happen.",
            field="Schedule",
        )
