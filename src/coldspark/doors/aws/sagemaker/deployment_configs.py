"""A DeploymentConfig as the platform's policy: what AWS's words ask of a change. Pure."""

import math

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.sagemaker.components.records import ComponentDeployment
from coldspark.doors.aws.sagemaker.records import (
    BlueGreenUpdate,
    CapacitySize,
    Deployment,
    RollingUpdate,
    read,
)
from coldspark.platform.metric_ports import Alarms
from coldspark.spec.deployment_policy import (
    DeploymentPolicy,
    DeploymentStrategy,
    SizeUnit,
    StepSize,
)
from coldspark.spec.types import AlarmState

_UNITS = {"INSTANCE_COUNT": SizeUnit.REPLICAS, "CAPACITY_PERCENT": SizeUnit.PERCENT}
_KINDS = {
    "ALL_AT_ONCE": DeploymentStrategy.ALL_AT_ONCE,
    "CANARY": DeploymentStrategy.CANARY,
    "LINEAR": DeploymentStrategy.LINEAR,
}
_SIZE_MEMBERS = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
_PERCENT_LEAST, _PERCENT_MOST = 5, 50
"""AWS's bounds for a part of the capacity."""


def deployment_policy(deployment: Body | None, alarms: Alarms | None) -> DeploymentPolicy | None:
    """Return how a change reaches callers; None without a config. Raises a ValidationException."""
    if deployment is None:
        return None
    asked = read(Deployment, deployment)
    names = tuple(one.alarm_name for one in asked.auto_rollback_configuration.alarms)
    _check_alarms(names, alarms)
    blue_green, rolling = asked.blue_green_update_policy, asked.rolling_update_policy
    if blue_green is not None and rolling is not None:
        invalid("A DeploymentConfig has a BlueGreenUpdatePolicy or a RollingUpdatePolicy, not both")
    policy = _rolling(rolling, names) if rolling is not None else _blue_green(blue_green, names)
    _check_deadline(policy)
    return policy


def _blue_green(asked: BlueGreenUpdate | None, alarms: tuple[str, ...]) -> DeploymentPolicy:
    if asked is None:
        return DeploymentPolicy(alarms=alarms)
    routing = asked.traffic_routing_configuration
    sizes = {"CanarySize": routing.canary_size, "LinearStepSize": routing.linear_step_size}
    wanted = _SIZE_MEMBERS.get(routing.type)
    for member, size in sizes.items():
        if size is not None and member != wanted:
            invalid(f"{member} does not go with a traffic routing of type {routing.type}.")
        if size is None and member == wanted:
            invalid(f"A traffic routing of type {routing.type} needs {member}.")
    size = None if wanted is None else sizes[wanted]
    return DeploymentPolicy(
        kind=_KINDS[routing.type],
        step=None if size is None else _step(str(wanted), size),
        wait_s=0.0 if wanted is None else float(routing.wait_interval_in_seconds),
        bake_s=float(asked.termination_wait_in_seconds),
        timeout_s=_seconds(asked.maximum_execution_timeout_in_seconds),
        alarms=alarms,
    )


def _rolling(
    asked: RollingUpdate, alarms: tuple[str, ...], most: int = _PERCENT_MOST
) -> DeploymentPolicy:
    back = asked.rollback_maximum_batch_size
    wait_s = float(asked.wait_interval_in_seconds)
    return DeploymentPolicy(
        kind=DeploymentStrategy.ROLLING,
        step=_step("MaximumBatchSize", asked.maximum_batch_size, most),
        wait_s=wait_s,
        bake_s=wait_s,
        timeout_s=_seconds(asked.maximum_execution_timeout_in_seconds),
        rollback_step=None if back is None else _step("RollbackMaximumBatchSize", back, most=100),
        alarms=alarms,
    )


def component_deployment_policy(
    asked: ComponentDeployment, copies: int, alarms: Alarms | None
) -> DeploymentPolicy:
    """Return how a component's change reaches callers. Raises a ValidationException.

    The platform counts steps of all replicas of the endpoint, so a number of copies becomes its
    part of the component's own, rounded up to a percent: 1 of 3 is 34 %.
    """
    names = tuple(one.alarm_name for one in asked.auto_rollback_configuration.alarms)
    _check_alarms(names, alarms)
    rolling = asked.rolling_update_policy
    back = rolling.rollback_maximum_batch_size
    policy = _rolling(
        RollingUpdate(
            maximum_batch_size=_part("MaximumBatchSize", rolling.maximum_batch_size, copies),
            wait_interval_in_seconds=rolling.wait_interval_in_seconds,
            maximum_execution_timeout_in_seconds=rolling.maximum_execution_timeout_in_seconds,
            rollback_maximum_batch_size=(
                None if back is None else _part("RollbackMaximumBatchSize", back, copies)
            ),
        ),
        names,
        most=100,
    )
    _check_deadline(policy)
    return policy


def _part(member: str, size: CapacitySize, copies: int) -> CapacitySize:
    if size.type == "CAPACITY_PERCENT":
        if size.value > 100:
            invalid(f"{member} {size.value} of type CAPACITY_PERCENT must be 100 at most.")
        return size
    percent = min(100, math.ceil(100 * size.value / max(1, copies)))
    return CapacitySize(type="CAPACITY_PERCENT", value=max(_PERCENT_LEAST, percent))


def _check_deadline(policy: DeploymentPolicy) -> None:
    if policy.timeout_s is not None and policy.timeout_s <= policy.waits_s(1):
        invalid(
            f"MaximumExecutionTimeoutInSeconds {policy.timeout_s:g} must be more than all waits of "
            f"the change together, {policy.waits_s(1):g}."
        )


def _step(member: str, size: CapacitySize, most: int = _PERCENT_MOST) -> StepSize:
    unit = _UNITS[size.type]
    if unit is SizeUnit.PERCENT and not _PERCENT_LEAST <= size.value <= most:
        invalid(
            f"{member} {size.value} of type CAPACITY_PERCENT must lie between {_PERCENT_LEAST} and "
            f"{most}."
        )
    return StepSize(size.value, unit)


def _seconds(whole: int | None) -> float | None:
    return None if whole is None else float(whole)


def _check_alarms(names: tuple[str, ...], alarms: Alarms | None) -> None:
    if not names:
        return
    if alarms is None:
        invalid("Alarms are not watched by this server: leave AutoRollbackConfiguration out.")
    for name in names:
        state = alarms.state(name)
        if state is None:
            invalid(f"Could not find alarm '{name}': create it with PutMetricAlarm first.")
        if state is AlarmState.ALARM:
            invalid(f"Alarm '{name}' is in the state ALARM already: it would take the change back.")
