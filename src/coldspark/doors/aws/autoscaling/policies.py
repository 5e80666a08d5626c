"""Scaling policies: target tracking and steps, read from AWS's words and told in them."""

from coldspark.autoscaling import operations
from coldspark.autoscaling.scalable_target import (
    PredefinedMetric,
    ScalableTarget,
    ScalingPolicy,
    StepPolicy,
    TargetId,
    TrackedMetric,
    TrackingPolicy,
)
from coldspark.autoscaling.target_tracking import PREDEFINED, predefined
from coldspark.doors.aws.autoscaling.replies import page
from coldspark.doors.aws.autoscaling.request import AutoscalingRequest
from coldspark.doors.aws.autoscaling.target_ids import (
    DIMENSIONS,
    policy_arn,
    render_target_id,
)
from coldspark.doors.aws.protocol.arns import alarm_arn
from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.protocol.names import from_namespace, to_namespace
from coldspark.doors.aws.protocol.operations import Timestamp
from coldspark.doors.aws.protocol.request import Body, member, number, structure, text_list
from coldspark.fleet.step_scaling import AdjustmentType, StepAdjustment, StepAdjustments
from coldspark.platform.metric_ports import Metric

_STEP, _TRACKING = "StepScalingPolicyConfiguration", "TargetTrackingScalingPolicyConfiguration"
_METRICS = {
    "SageMakerVariantProvisionedConcurrencyUtilization": PredefinedMetric.UTILIZATION,
    "SageMakerVariantInvocationsPerInstance": PredefinedMetric.INVOCATIONS,
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": PredefinedMetric.CONCURRENCY,
    "SageMakerInferenceComponentInvocationsPerCopy": PredefinedMetric.COPY_INVOCATIONS,
    "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution": (
        PredefinedMetric.COPY_CONCURRENCY
    ),
}
_NAME_OF = {metric: name for name, metric in _METRICS.items()}
_CONFIGS = {"StepScaling": _STEP, "TargetTrackingScaling": _TRACKING}


async def put(call: AutoscalingRequest) -> Body:
    """PutScalingPolicy: the policy, and for target tracking its alarms."""
    place, name = call.target_id, str(call.body["PolicyName"])
    member_name = _config_of(call, place, name)
    config = structure(call.body, member_name)
    if member_name == _STEP:
        policy = await operations.put_policy(call.scaling, place, name, step=_steps(config))
    else:
        tracked = _tracking(config, place)
        policy = await operations.put_policy(call.scaling, place, name, tracked=tracked)
    return {
        "PolicyARN": policy_arn(place, policy, call.region),
        "Alarms": _alarms(call, policy),
    }


async def delete(call: AutoscalingRequest) -> Body:
    """DeleteScalingPolicy."""
    await operations.delete_policy(call.scaling, call.target_id, str(call.body["PolicyName"]))
    return {}


async def describe(call: AutoscalingRequest) -> Body:
    """DescribeScalingPolicies."""
    names = text_list(call.body, "PolicyNames")
    rows = [
        (target, policy)
        for target in await call.targets()
        for policy in target.policies
        if not names or policy.name in names or policy_arn_is(names, target, policy, call.region)
    ]
    return page(
        "ScalingPolicies",
        rows,
        lambda row: (0, f"{row[0].place.key}/{row[1].name}"),
        lambda row: _shown(call, row[0].place, row[1]),
        call,
    )


def policy_arn_is(
    names: list[str], target: ScalableTarget, policy: ScalingPolicy, region: str
) -> bool:
    """Return whether a policy is named by its ARN."""
    return policy_arn(target.place, policy, region) in names


def _config_of(call: AutoscalingRequest, place: TargetId, name: str) -> str:
    """Return the member that holds the configuration. Raises a ValidationException."""
    kind = member(call.body, "PolicyType", str)
    given = [one for one in _CONFIGS.values() if one in call.body]
    if kind is None:
        target = call.scaling.targets.find(place)
        known = None if target is None else target.policy(name)
        if known is None:
            invalid("PolicyType is required for a new scaling policy.", field="PolicyType")
        kind = _kind(known)
    wanted = _CONFIGS[kind]
    if given != [wanted]:
        invalid(f"A policy of PolicyType {kind} needs {wanted}, and no other.", field=wanted)
    return wanted


def _kind(policy: ScalingPolicy) -> str:
    return "StepScaling" if policy.tracking is None else "TargetTrackingScaling"


def _steps(config: Body) -> StepPolicy:
    kind = AdjustmentType(str(config["AdjustmentType"]))
    magnitude = member(config, "MinAdjustmentMagnitude", int)
    if magnitude is not None and kind is not AdjustmentType.PERCENT:
        invalid(
            "MinAdjustmentMagnitude goes with AdjustmentType PercentChangeInCapacity only.",
            field="MinAdjustmentMagnitude",
        )
    sent = config["StepAdjustments"]
    assert isinstance(sent, list)
    try:
        steps = StepAdjustments(
            kind=kind, steps=tuple(_step(one) for one in sent), magnitude_min=magnitude or 0
        )
    except ValueError as error:
        invalid(f"StepAdjustments: {error}.", field="StepAdjustments")
    return StepPolicy(
        steps=steps,
        has_magnitude=magnitude is not None,
        cooldown_s=member(config, "Cooldown", int),
        aggregation=member(config, "MetricAggregationType", str),
    )


def _step(sent: Body) -> StepAdjustment:
    adjustment = sent["ScalingAdjustment"]
    assert isinstance(adjustment, int)
    return StepAdjustment(
        lower=number(sent, "MetricIntervalLowerBound"),
        upper=number(sent, "MetricIntervalUpperBound"),
        adjustment=adjustment,
    )


def _tracking(config: Body, place: TargetId) -> TrackingPolicy:
    target = number(config, "TargetValue")
    assert target is not None
    if target <= 0:
        invalid(f"TargetValue {target:g} must be more than 0.", field="TargetValue")
    own = structure(config, "PredefinedMetricSpecification")
    customized = structure(config, "CustomizedMetricSpecification")
    if bool(own) == bool(customized):
        invalid(
            "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification is"
            " needed."
        )
    return TrackingPolicy(
        tracked=_predefined(own, place) if own else _customized(customized),
        target=target,
        out_cooldown_s=member(config, "ScaleOutCooldown", int),
        in_cooldown_s=member(config, "ScaleInCooldown", int),
        is_in_disabled=member(config, "DisableScaleIn", bool),
    )


def _predefined(sent: Body, place: TargetId) -> TrackedMetric:
    name = str(sent["PredefinedMetricType"])
    fitting = [one for one, metric in _METRICS.items() if PREDEFINED[metric] is place.dimension]
    if name not in fitting:
        invalid(
            f"PredefinedMetricType '{name}' is not valid for"
            f" {DIMENSIONS[place.dimension]}: use {' or '.join(fitting)}, or a"
            " CustomizedMetricSpecification.",
            field="PredefinedMetricType",
        )
    return predefined(_METRICS[name], place)


def _customized(sent: Body) -> TrackedMetric:
    dimensions = member(sent, "Dimensions", list) or []
    pairs = sorted((str(one["Name"]), str(one["Value"])) for one in dimensions)
    return TrackedMetric(
        metric=Metric(
            namespace=from_namespace(str(sent["Namespace"])),
            name=str(sent["MetricName"]),
            dimensions=tuple(pairs),
        ),
        statistic=str(sent["Statistic"]),
        unit=member(sent, "Unit", str),
    )


def _shown(call: AutoscalingRequest, place: TargetId, policy: ScalingPolicy) -> Body:
    body: Body = {
        **render_target_id(place),
        "PolicyARN": policy_arn(place, policy, call.region),
        "PolicyName": policy.name,
        "PolicyType": _kind(policy),
        "CreationTime": Timestamp(policy.created_ms),
    }
    if policy.tracking is not None:
        body[_TRACKING] = _tracking_shown(policy.tracking)
    if policy.step is not None:
        body[_STEP] = _step_shown(policy.step)
    alarms = _alarms(call, policy)
    return body | ({"Alarms": alarms} if alarms else {})


def _alarms(call: AutoscalingRequest, policy: ScalingPolicy) -> list[Body]:
    """Return a policy's alarms: those made for it, or those that name it."""
    names = call.scaling.alarms.alarms_of_policy(policy.id)
    if policy.tracking is not None:
        names = policy.tracking.alarms
    return [{"AlarmName": name, "AlarmARN": alarm_arn(name, call.region)} for name in names]


def _tracking_shown(tracking: TrackingPolicy) -> Body:
    tracked = tracking.tracked
    body: Body = {"TargetValue": tracking.target}
    if tracked.predefined is not None:
        body["PredefinedMetricSpecification"] = {
            "PredefinedMetricType": _NAME_OF[tracked.predefined]
        }
    else:
        body["CustomizedMetricSpecification"] = _customized_shown(tracked)
    return body | _given(
        ScaleOutCooldown=tracking.out_cooldown_s,
        ScaleInCooldown=tracking.in_cooldown_s,
        DisableScaleIn=tracking.is_in_disabled,
    )


def _customized_shown(tracked: TrackedMetric) -> Body:
    metric = tracked.metric
    dimensions = [{"Name": name, "Value": value} for name, value in metric.dimensions]
    return {
        "MetricName": metric.name,
        "Namespace": to_namespace(metric.namespace),
        "Statistic": tracked.statistic,
    } | _given(Dimensions=dimensions or None, Unit=tracked.unit)


def _step_shown(step: StepPolicy) -> Body:
    steps = [
        {"ScalingAdjustment": one.adjustment}
        | _given(MetricIntervalLowerBound=one.lower, MetricIntervalUpperBound=one.upper)
        for one in step.steps.steps
    ]
    return {"AdjustmentType": step.steps.kind, "StepAdjustments": steps} | _given(
        MinAdjustmentMagnitude=step.steps.magnitude_min if step.has_magnitude else None,
        Cooldown=step.cooldown_s,
        MetricAggregationType=step.aggregation,
    )


def _given(**members: object) -> Body:
    """Return the members that are there."""
    return {name: value for name, value in members.items() if value is not None}
