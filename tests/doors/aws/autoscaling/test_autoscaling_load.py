"""Targets that scale for real: under load, on a step, at a time; seen by boto3 alone."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from autoscaling_rig import CONCURRENCY, INSTANCES, NOON_MS, World, place, world

from coldspark.autoscaling.alarms import AlarmDatapoints
from coldspark.errors import InvalidRequest

pytestmark = pytest.mark.seconds

RECIPE = {
    "TargetValue": 0.5,
    "PredefinedMetricSpecification": {
        "PredefinedMetricType": "SageMakerVariantProvisionedConcurrencyUtilization"
    },
    "ScaleOutCooldown": 1,
    "ScaleInCooldown": 1,
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as running:
        yield running


def register(aws: Any, name: str, least: int, most: int, dimension: str = INSTANCES) -> None:
    aws.register_scalable_target(**place(name, dimension), MinCapacity=least, MaxCapacity=most)


def activities(aws: Any) -> list[tuple[str, str, str]]:
    """Return description, cause and status of all activities, the newest first."""
    found = aws.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
    return [(one["Description"], one["Cause"], one["StatusCode"]) for one in found]


def deploy_serverless(server: World, provisioned: int = 1) -> None:
    config = {"MemorySizeInMB": 1024, "MaxConcurrency": 10}
    if provisioned:
        config["ProvisionedConcurrency"] = provisioned
    server.deploy("churn", ServerlessConfig=config)


def provisioned(server: World) -> int:
    found = server.shown("churn")["DesiredServerlessConfig"].get("ProvisionedConcurrency", 0)
    assert isinstance(found, int)
    return found


def test_provisioned_concurrency_follows_its_use_out_and_in(server: World) -> None:
    """The recipe of AWS's docs: half in use, cooldowns of a second."""
    deploy_serverless(server)
    aws = server.client()
    register(aws, "churn", 1, 8, CONCURRENCY)
    aws.put_scaling_policy(
        **place("churn", CONCURRENCY),
        PolicyName="half",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=RECIPE,
    )
    server.load("churn", 3)
    server.pass_periods(2)
    assert provisioned(server) == 1
    server.pass_periods(1)
    assert provisioned(server) == 2
    server.pass_periods(2)
    assert provisioned(server) == 6
    server.pass_periods(5)
    assert provisioned(server) == 6

    server.let_go()
    server.pass_periods(14)
    assert provisioned(server) == 6
    server.pass_periods(2)
    assert provisioned(server) == 1
    found = activities(aws)
    assert [description for description, _, _ in found] == [
        f"Setting desired provisioned concurrency to {count}." for count in (1, 6, 4, 2)
    ]
    alarm = "TargetTracking-endpoint/churn/variant/v-Alarm"
    assert found[0][1].startswith(f"monitor alarm {alarm}Low-")
    assert found[-1][1].startswith(f"monitor alarm {alarm}High-")
    assert found[-1][1].endswith(" in state ALARM triggered policy half")
    server.look()
    assert {status for _, _, status in activities(aws)} <= {"Successful", "Overridden"}


def test_from_a_minimum_of_0_a_request_makes_it_1_and_idleness_0_again(server: World) -> None:
    """AWS begins at 1: there is no metric at 0."""
    deploy_serverless(server, provisioned=0)
    aws = server.client()
    register(aws, "churn", 0, 4, CONCURRENCY)
    aws.put_scaling_policy(
        **place("churn", CONCURRENCY),
        PolicyName="half",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=RECIPE,
    )
    server.pass_periods(2)
    assert provisioned(server) == 0
    server.load("churn", 1)
    server.pass_periods(1)
    assert provisioned(server) == 1
    server.let_go()
    server.pass_periods(16)
    assert provisioned(server) == 0


def test_instances_follow_invocations_and_go_in_without_any(server: World) -> None:
    """A minute without a request is 0 invocations; AWS stays out for want of data."""
    server.deploy("churn")
    aws, runtime = server.client(), server.client("sagemaker-runtime")
    register(aws, "churn", 1, 4)
    aws.put_scaling_policy(
        **place("churn"),
        PolicyName="ten",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 2.0,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
            },
            "ScaleOutCooldown": 0,
            "ScaleInCooldown": 0,
        },
    )
    for _ in range(3):
        for _ in range(6):
            runtime.invoke_endpoint(EndpointName="churn", Body=b"quick")
        server.pass_periods(6)
    assert server.shown("churn")["DesiredInstanceCount"] == 3
    assert server.shown("churn")["CurrentInstanceCount"] == 3
    server.pass_periods(6 * 18)
    assert server.shown("churn")["DesiredInstanceCount"] == 1
    assert server.shown("churn")["CurrentInstanceCount"] == 1


def test_a_step_policy_acts_while_an_alarm_names_it(server: World) -> None:
    """On a metric of one's own; the cooldown holds, and the alarm is told as the policy's."""
    server.deploy("churn")
    aws, watch = server.client(), server.client("cloudwatch")
    register(aws, "churn", 1, 10)
    arn = aws.put_scaling_policy(
        **place("churn"),
        PolicyName="backlog",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [
                {
                    "MetricIntervalLowerBound": 0,
                    "MetricIntervalUpperBound": 50,
                    "ScalingAdjustment": 1,
                },
                {"MetricIntervalLowerBound": 50, "ScalingAdjustment": 4},
            ],
            "Cooldown": 120,
        },
    )["PolicyARN"]
    watch.put_metric_alarm(
        AlarmName="long-queue",
        Namespace="Shop",
        MetricName="backlog",
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=100,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        AlarmActions=[arn],
    )

    def say(value: float) -> None:
        at = dt.datetime.fromtimestamp(server.now_ms / 1_000, dt.UTC)
        data = [{"MetricName": "backlog", "Value": value, "Timestamp": at}]
        watch.put_metric_data(Namespace="Shop", MetricData=data)
        server.pass_periods(6)

    say(99)
    assert server.shown("churn")["DesiredInstanceCount"] == 1
    say(149)
    assert server.shown("churn")["DesiredInstanceCount"] == 2
    say(149)
    assert server.shown("churn")["DesiredInstanceCount"] == 2
    say(150)
    assert server.shown("churn")["DesiredInstanceCount"] == 6
    (policy,) = aws.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    assert [alarm["AlarmName"] for alarm in policy["Alarms"]] == ["long-queue"]
    assert activities(aws)[-1][:2] == (
        "Setting desired instance count to 2.",
        "monitor alarm long-queue in state ALARM triggered policy backlog",
    )
    history = watch.describe_alarm_history(AlarmName="long-queue", HistoryItemType="Action")
    assert history["AlarmHistoryItems"][0]["HistorySummary"].startswith("Successfully executed")


def test_tracking_a_metric_of_ones_own(server: World) -> None:
    """A CustomizedMetricSpecification, by the minute, and only in the unit that is asked for."""
    server.deploy("churn")
    aws, watch = server.client(), server.client("cloudwatch")
    register(aws, "churn", 1, 10)
    aws.put_scaling_policy(
        **place("churn"),
        PolicyName="tokens",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 100.0,
            "CustomizedMetricSpecification": {
                "MetricName": "tokens",
                "Namespace": "Chat",
                "Dimensions": [{"Name": "Model", "Value": "m"}],
                "Statistic": "Average",
                "Unit": "Count",
            },
        },
    )
    for unit, count in (("Bytes", 1), ("Count", 3)):
        for _ in range(3):
            at = dt.datetime.fromtimestamp(server.now_ms / 1_000, dt.UTC)
            dimensions = [{"Name": "Model", "Value": "m"}]
            value = {"MetricName": "tokens", "Value": 250.0, "Timestamp": at, "Unit": unit}
            watch.put_metric_data(Namespace="Chat", MetricData=[value | {"Dimensions": dimensions}])
            server.pass_periods(6)
        assert server.shown("churn")["DesiredInstanceCount"] == count


def test_scheduled_bounds_hold_from_their_time_on(server: World) -> None:
    """Once, and every day in a zone of its own."""
    server.deploy("churn")
    aws = server.client()
    register(aws, "churn", 1, 2)
    noon = dt.datetime.fromtimestamp(NOON_MS / 1_000, dt.UTC)
    soon = (noon + dt.timedelta(seconds=15)).strftime("%Y-%m-%dT%H:%M:%S")
    aws.put_scheduled_action(
        **place("churn"),
        ScheduledActionName="morning",
        Schedule=f"at({soon})",
        ScalableTargetAction={"MinCapacity": 4, "MaxCapacity": 6},
    )
    later = noon + dt.timedelta(minutes=2)
    aws.put_scheduled_action(
        **place("churn"),
        ScheduledActionName="evening",
        Schedule=f"cron({later.minute} {later.hour + 2} * * ? *)",
        Timezone="Etc/GMT-2",
        ScalableTargetAction={"MinCapacity": 0, "MaxCapacity": 1},
    )
    server.pass_periods(1)
    assert server.shown("churn")["DesiredInstanceCount"] == 1
    server.pass_periods(1)
    assert server.shown("churn")["DesiredInstanceCount"] == 4
    (target,) = aws.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (4, 6)
    server.pass_periods(1)
    assert activities(aws) == [
        ("Setting desired instance count to 4.", "minimum capacity was set to 4", "Successful"),
        (
            "Setting min capacity to 4 and max capacity to 6",
            "scheduled action name morning was triggered",
            "Successful",
        ),
    ]
    server.pass_periods(9)
    assert server.shown("churn")["DesiredInstanceCount"] == 1
    assert activities(aws)[0][1] == "maximum capacity was set to 1"


def test_what_is_suspended_waits(server: World) -> None:
    """Scheduled scaling alone, then scaling out alone."""
    server.deploy("churn")
    aws = server.client()
    register(aws, "churn", 1, 8)
    aws.register_scalable_target(
        **place("churn"),
        SuspendedState={"ScheduledScalingSuspended": True, "DynamicScalingOutSuspended": True},
    )
    soon = dt.datetime.fromtimestamp(NOON_MS / 1_000 + 5, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    aws.put_scheduled_action(
        **place("churn"),
        ScheduledActionName="never",
        Schedule=f"at({soon})",
        ScalableTargetAction={"MinCapacity": 4},
    )
    aws.put_scaling_policy(
        **place("churn"),
        PolicyName="one-each",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 1.0,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
            },
        },
    )
    server.load("churn", 3)
    server.pass_periods(5)
    assert server.shown("churn")["DesiredInstanceCount"] == 1
    aws.register_scalable_target(
        **place("churn"), SuspendedState={"DynamicScalingOutSuspended": False}
    )
    server.pass_periods(1)
    assert server.shown("churn")["DesiredInstanceCount"] == 3


def test_a_policy_that_cannot_be_worked_out_stops_no_other(
    server: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its alarm cannot be read; the other one goes out, and so does a schedule."""
    server.deploy("churn")
    aws = server.client()
    register(aws, "churn", 1, 8)
    broken = ""
    for name, metric in (
        ("broken", "SageMakerVariantInvocationsPerInstance"),
        ("sound", "SageMakerVariantConcurrentRequestsPerModelHighResolution"),
    ):
        made = aws.put_scaling_policy(
            **place("churn"),
            PolicyName=name,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": 1.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
            },
        )
        broken = broken or made["Alarms"][0]["AlarmName"]
    server.client("cloudwatch").set_alarm_state(
        AlarmName=broken, StateValue="ALARM", StateReason="a drill"
    )
    alarms = server.scaling.alarms
    read = alarms.datapoints

    async def reading(name: str, now_ms: int) -> AlarmDatapoints:
        if name == broken:
            raise InvalidRequest("it cannot be computed")
        return await read(name, now_ms)

    monkeypatch.setattr(alarms, "datapoints", reading)
    server.load("churn", 3)
    server.pass_periods(3)
    assert server.shown("churn")["DesiredInstanceCount"] == 3


def test_a_start_that_does_not_come_is_an_activity_in_progress(server: World) -> None:
    """Successful once the replicas are there, Overridden when another takes its place."""
    server.deploy("churn")
    server.engine.is_stuck = True
    aws = server.client()
    register(aws, "churn", 2, 4)
    server.look()
    assert activities(aws)[0][2] == "InProgress"
    register(aws, "churn", 3, 4)
    server.look()
    assert [status for _, _, status in activities(aws)] == ["InProgress", "Overridden"]


def test_all_of_it_is_there_after_a_restart(tmp_path: Path) -> None:
    """Targets, policies, their alarms, actions, activities, tags, and the capacity that was set."""
    with world(tmp_path) as server:
        deploy_serverless(server)
        aws = server.client()
        aws.register_scalable_target(
            **place("churn", CONCURRENCY), MinCapacity=3, MaxCapacity=8, Tags={"team": "risk"}
        )
        aws.put_scaling_policy(
            **place("churn", CONCURRENCY),
            PolicyName="half",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=RECIPE,
        )
        aws.put_scaling_policy(
            **place("churn", CONCURRENCY),
            PolicyName="steps",
            PolicyType="StepScaling",
            StepScalingPolicyConfiguration={
                "AdjustmentType": "PercentChangeInCapacity",
                "StepAdjustments": [{"MetricIntervalLowerBound": 0.5, "ScalingAdjustment": 50}],
                "MinAdjustmentMagnitude": 1,
            },
        )
        aws.put_scheduled_action(
            **place("churn", CONCURRENCY),
            ScheduledActionName="soon",
            Schedule="rate(1 minute)",
            ScalableTargetAction={"MinCapacity": 5},
        )
        before = everything(server)
        assert provisioned(server) == 3

    with world(tmp_path, NOON_MS + 10_000, boot=2) as server:
        assert everything(server) == before
        assert provisioned(server) == 3
        server.pass_periods(6)
        assert provisioned(server) == 5


def everything(server: World) -> list[Any]:
    aws, all_of = server.client(), {"ServiceNamespace": "sagemaker"}
    targets = aws.describe_scalable_targets(**all_of)["ScalableTargets"]
    alarms = server.client("cloudwatch").describe_alarms()["MetricAlarms"]
    found = [
        targets,
        aws.describe_scaling_policies(**all_of)["ScalingPolicies"],
        aws.describe_scheduled_actions(**all_of)["ScheduledActions"],
        [one[:2] for one in activities(aws)],
        aws.list_tags_for_resource(ResourceARN=targets[0]["ScalableTargetARN"])["Tags"],
        sorted(alarm["AlarmName"] for alarm in alarms),
    ]
    assert all(found)
    return found
