"""What all of a target's policies ask for now."""

import logging
from collections.abc import Sequence

from coldspark.autoscaling import target_tracking
from coldspark.autoscaling.alarms import AlarmRepository
from coldspark.autoscaling.capacity import PolicyProposal, ScaleInBlocked, StepScalingResult
from coldspark.autoscaling.scalable_target import ScalableTarget, ScalingPolicy, StepPolicy
from coldspark.autoscaling.target_tracking import COOLDOWN_S
from coldspark.errors import ColdsparkError
from coldspark.platform.ports import VariantView
from coldspark.spec.types import AlarmState

_log = logging.getLogger(__name__)


async def evaluate_policies(
    target: ScalableTarget, view: VariantView, alarms: AlarmRepository, now_ms: int
) -> list[PolicyProposal]:
    """Return them, by policy. One that cannot be worked out holds, and stops no other."""
    found: list[PolicyProposal] = []
    for policy in target.policies:
        try:
            found += await _of_policy(policy, target, view, alarms, now_ms)
        except ColdsparkError as error:
            _log.warning("scaling policy %s: %s", policy.name, error.message)
            found.append(PolicyProposal(policy=policy.name, result=ScaleInBlocked()))
    return found


async def _of_policy(
    policy: ScalingPolicy,
    target: ScalableTarget,
    view: VariantView,
    alarms: AlarmRepository,
    now_ms: int,
) -> Sequence[PolicyProposal]:
    if policy.tracking is None:
        return await _steps(policy, alarms, target.moved_ms, now_ms)
    one = await target_tracking.evaluate_tracking(policy, target, view, alarms, now_ms)
    return [] if one is None else [one]


async def _steps(
    policy: ScalingPolicy, alarms: AlarmRepository, moved_ms: int, now_ms: int
) -> Sequence[PolicyProposal]:
    """Return what a step policy asks for: once for each of its alarms in ALARM."""
    step = policy.step
    assert step is not None
    found: list[PolicyProposal] = []
    for name in alarms.alarms_of_policy(policy.id):
        if alarms.state(name) is not AlarmState.ALARM:
            continue
        reading = await alarms.datapoints(name, now_ms)
        fresh = reading.since(moved_ms)
        if not fresh:
            continue
        cooldown_ms = (COOLDOWN_S if step.cooldown_s is None else step.cooldown_s) * 1_000
        found.append(
            PolicyProposal(
                policy=policy.name,
                result=StepScalingResult(step.steps, _aggregated(step, fresh) - reading.threshold),
                out_cooldown_ms=cooldown_ms,
                in_cooldown_ms=cooldown_ms,
                alarm=name,
            )
        )
    return found


def _aggregated(step: StepPolicy, points: Sequence[float]) -> float:
    match step.aggregation:
        case "Minimum":
            return min(points)
        case "Maximum":
            return max(points)
        case _:
            return sum(points) / len(points)
