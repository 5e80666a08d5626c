"""Target tracking over alarms: one over the target, one well under it.

High is three data points in a row over the target; low is fifteen in a row under nine tenths of it.
A data point is a minute, or ten seconds where the platform measures that often. A metric that is
derived from requests is 0 where nothing was measured, or such a target would stay out for ever.
"""

from collections.abc import Sequence

from coldspark.autoscaling.alarms import AlarmRepository
from coldspark.autoscaling.capacity import (
    PolicyProposal,
    PolicyResult,
    ScaleInBlocked,
    TargetTrackingResult,
)
from coldspark.autoscaling.scalable_target import (
    PredefinedMetric,
    ScalableDimension,
    ScalableTarget,
    ScalingPolicy,
    TargetId,
    TrackedMetric,
    TrackingPolicy,
)
from coldspark.platform.metric_ports import ENDPOINT_NAMESPACE, AlarmRule, Metric
from coldspark.platform.ports import VariantView
from coldspark.spec.types import AlarmState
from coldspark.telemetry.endpoint_metrics import dimensions_of

COOLDOWN_S = 300
"""Where none is given."""
_HIGH_RESOLUTION_S = 10
_HIGH_POINTS, _LOW_POINTS = 3, 15
_LOW_SHARE = 0.9

PREDEFINED: dict[PredefinedMetric, ScalableDimension] = {
    PredefinedMetric.UTILIZATION: ScalableDimension.CONCURRENCY,
    PredefinedMetric.INVOCATIONS: ScalableDimension.REPLICAS,
    PredefinedMetric.CONCURRENCY: ScalableDimension.REPLICAS,
    PredefinedMetric.COPY_INVOCATIONS: ScalableDimension.COPIES,
    PredefinedMetric.COPY_CONCURRENCY: ScalableDimension.COPIES,
}
"""The predefined metrics, and what each scales."""


def predefined(name: PredefinedMetric, place: TargetId) -> TrackedMetric:
    """Return how a predefined metric is read."""
    metric, statistic, period_s = {
        PredefinedMetric.UTILIZATION: (
            "ServerlessProvisionedConcurrencyUtilization",
            "Average",
            10,
        ),
        PredefinedMetric.INVOCATIONS: ("InvocationsPerInstance", "Sum", 60),
        PredefinedMetric.CONCURRENCY: ("ConcurrentRequestsPerModel", "Average", 10),
        PredefinedMetric.COPY_INVOCATIONS: ("InvocationsPerCopy", "Sum", 60),
        PredefinedMetric.COPY_CONCURRENCY: ("ConcurrentRequestsPerCopy", "Average", 10),
    }[name]
    dimensions = dimensions_of(
        place.endpoint, place.variant, is_component=place.dimension is ScalableDimension.COPIES
    )
    return TrackedMetric(
        metric=Metric(namespace=ENDPOINT_NAMESPACE, name=metric, dimensions=dimensions),
        statistic=statistic,
        predefined=name,
        period_s=period_s,
        is_zero_without_data=name
        in (PredefinedMetric.INVOCATIONS, PredefinedMetric.COPY_INVOCATIONS),
    )


def alarm_names(place: TargetId, new_id: str, *, is_in_disabled: bool) -> tuple[str, ...]:
    """Return the names of a policy's alarms: high, and low unless it never goes in."""
    words = ("High",) if is_in_disabled else ("High", "Low")
    return tuple(f"TargetTracking-{place}-Alarm{word}-{new_id}" for word in words)


def alarm_rules(policy: ScalingPolicy) -> Sequence[AlarmRule]:
    """Return a target tracking policy's alarms."""
    tracking = policy.tracking
    assert tracking is not None
    high = _rule(policy, tracking, tracking.alarms[0], is_high=True)
    return [high, *(_rule(policy, tracking, name, is_high=False) for name in tracking.alarms[1:])]


def _rule(
    policy: ScalingPolicy, tracking: TrackingPolicy, name: str, *, is_high: bool
) -> AlarmRule:
    tracked = tracking.tracked
    points = _HIGH_POINTS if is_high else _LOW_POINTS
    is_zero = tracked.is_zero_without_data and not is_high
    return AlarmRule(
        name=name,
        metric=tracked.metric,
        statistic=tracked.statistic,
        period_s=tracked.period_s,
        evaluation_periods=points,
        datapoints_to_alarm=points,
        threshold=tracking.target if is_high else _LOW_SHARE * tracking.target,
        comparison="GreaterThanThreshold" if is_high else "LessThanThreshold",
        missing="breaching" if is_zero else "missing",
        unit=tracked.unit,
        owner=f"the scaling policy {policy.name}",
    )


async def evaluate_tracking(
    policy: ScalingPolicy,
    target: ScalableTarget,
    view: VariantView,
    alarms: AlarmRepository,
    now_ms: int,
) -> PolicyProposal | None:
    """Return what target tracking asks for; None: nothing, and it blocks no other.

    What was measured before the capacity changed last is of another capacity, and does not count.
    """
    tracking = policy.tracking
    assert tracking is not None
    wish, alarm = await _wish(tracking, target, view, alarms, now_ms)
    if isinstance(wish, ScaleInBlocked) and len(tracking.alarms) == 1:
        return None
    out_s, in_s = tracking.out_cooldown_s, tracking.in_cooldown_s
    return PolicyProposal(
        policy=policy.name,
        result=wish,
        out_cooldown_ms=(COOLDOWN_S if out_s is None else out_s) * 1_000,
        in_cooldown_ms=(COOLDOWN_S if in_s is None else in_s) * 1_000,
        alarm=alarm,
    )


async def _wish(
    tracking: TrackingPolicy,
    target: ScalableTarget,
    view: VariantView,
    alarms: AlarmRepository,
    now_ms: int,
) -> tuple[PolicyResult, str | None]:
    """Return what is asked for, and the alarm by which; None: a request at capacity 0."""
    moved_ms = target.moved_ms
    if target.capacity == 0 and _open(view):
        # Without a replica that is held ready there is no metric that a formula could work on.
        return TargetTrackingResult(float(_open(view)), tracking.target, is_out=True), None
    for name, is_out in zip(tracking.alarms, (True, False), strict=False):
        if alarms.state(name) is not AlarmState.ALARM:
            continue
        metric = await _metric(tracking.tracked, view, alarms, name, moved_ms, now_ms, is_out)
        if metric is None:
            break
        return TargetTrackingResult(metric, tracking.target, is_out), name
    return ScaleInBlocked(), None


async def _metric(
    tracked: TrackedMetric,
    view: VariantView,
    alarms: AlarmRepository,
    name: str,
    moved_ms: int,
    now_ms: int,
    is_out: bool,
) -> float | None:
    """Return the value to scale by: out by the newest data point, in by the largest of all."""
    reading = await alarms.datapoints(name, now_ms)
    fresh = reading.since(moved_ms)
    if fresh:
        return fresh[-1] if is_out else max(fresh)
    if tracked.is_zero_without_data and not is_out:
        return 0.0 if reading.edge_ms > moved_ms else None
    return None if reading.points else _known_now(tracked, view)


def _known_now(tracked: TrackedMetric, view: VariantView) -> float | None:
    """Return what the platform itself knows of a metric that is not measured yet."""
    slots = view.floor.min * view.revision.spec.scale.concurrency
    match tracked.predefined:
        case PredefinedMetric.UTILIZATION if slots:
            return min(_running(view), slots) / slots
        case PredefinedMetric.CONCURRENCY | PredefinedMetric.COPY_CONCURRENCY if view.floor.min:
            return _open(view) / view.floor.min
        case _:
            return None


def _running(view: VariantView) -> int:
    return sum(replica.running for replica in view.replicas)


def _open(view: VariantView) -> int:
    return _running(view) + view.queued
