"""What callers say of targets, policies and actions, and what is refused, in AWS's words."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from autoscaling_rig import CONCURRENCY, INSTANCES, World, place, world
from botocore.exceptions import ClientError
from botocore.model import ListShape, StructureShape
from botocore.model import Shape as ModelShape
from gateway_fakes import FakePlatform
from service_model import model

from coldspark.doors.aws.autoscaling.operations import application_autoscaling
from coldspark.doors.aws.autoscaling.target_ids import names_in
from coldspark.doors.aws.protocol.shapes import Enumeration, Sequence, Shape, Structure
from coldspark.spec.types import (
    Command,
    EndpointDefinition,
    EndpointName,
    Revision,
    RevisionId,
    Spec,
    VariantDefinition,
    VariantName,
)

pytestmark = pytest.mark.seconds

POOL = EndpointDefinition(
    name=EndpointName("pool"),
    variants=(
        VariantDefinition(
            name=VariantName("ranker"),
            revision=Revision(id=RevisionId("r"), spec=Spec(command=Command(argv=("serve",)))),
        ),
    ),
    has_components=True,
)
ALL = {"ServiceNamespace": "sagemaker"}
TRACKING = {
    "TargetValue": 70.0,
    "PredefinedMetricSpecification": {
        "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
    },
}
STEPS = {
    "AdjustmentType": "PercentChangeInCapacity",
    "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 25}],
    "MinAdjustmentMagnitude": 2,
    "Cooldown": 60,
    "MetricAggregationType": "Maximum",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as running:
        running.deploy("churn")
        yield running


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of one server for all that is refused, with a target."""
    with world(tmp_path_factory.mktemp("refusing")) as running:
        running.deploy("churn")
        client = running.client()
        register(client)
        yield client


@pytest.fixture
def aws(server: World) -> Any:
    return server.client()


def refused(call: Callable[..., object], **members: object) -> tuple[str, str]:
    """Make a call that is refused; return code and message."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    told = caught.value.response["Error"]
    return told["Code"], told["Message"]


def register(aws: Any, least: int = 1, most: int = 4, **members: object) -> dict[str, Any]:
    answer: dict[str, Any] = aws.register_scalable_target(
        **{**place("churn"), "MinCapacity": least, "MaxCapacity": most, **members}
    )
    return answer


def put_policy(aws: Any, name: str, config: dict[str, Any], **members: object) -> dict[str, Any]:
    kind = "StepScaling" if "StepAdjustments" in config else "TargetTrackingScaling"
    return dict(
        aws.put_scaling_policy(
            **{
                **place("churn"),
                "PolicyName": name,
                "PolicyType": kind,
                f"{kind}PolicyConfiguration": config,
                **members,
            }
        )
    )


def test_a_target_is_registered_changed_and_deregistered(server: World, aws: Any) -> None:
    """Its minimum holds at once, what is not given stays, in the end its own count holds again."""
    arn = register(aws, 2, 4, RoleARN="arn:aws:iam::123456789012:role/mine")["ScalableTargetARN"]
    assert arn.startswith("arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/")
    assert server.shown("churn")["DesiredInstanceCount"] == 2
    assert server.shown("churn")["CurrentInstanceCount"] == 2
    again = aws.register_scalable_target(
        **place("churn"), MaxCapacity=9, SuspendedState={"DynamicScalingInSuspended": True}
    )
    assert again["ScalableTargetARN"] == arn
    (target,) = aws.describe_scalable_targets(**ALL)["ScalableTargets"]
    assert target.pop("CreationTime").timestamp() == server.now_ms / 1_000
    assert target == {
        **place("churn"),
        "MinCapacity": 2,
        "MaxCapacity": 9,
        "RoleARN": "arn:aws:iam::123456789012:role/mine",
        "ScalableTargetARN": arn,
        "SuspendedState": {
            "DynamicScalingInSuspended": True,
            "DynamicScalingOutSuspended": False,
            "ScheduledScalingSuspended": False,
        },
    }
    put_policy(aws, "p", TRACKING)
    aws.deregister_scalable_target(**place("churn"))
    assert server.shown("churn")["DesiredInstanceCount"] == 1
    assert server.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    for listed, member in (
        (aws.describe_scalable_targets, "ScalableTargets"),
        (aws.describe_scaling_policies, "ScalingPolicies"),
        (aws.describe_scaling_activities, "ScalingActivities"),
    ):
        assert listed(**ALL)[member] == []
    code, message = refused(aws.deregister_scalable_target, **place("churn"))
    assert code == "ObjectNotFoundException"
    assert message.startswith("No scalable target found for service namespace: sagemaker, ")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"ServiceNamespace": "ecs"}, "'ecs' is not served here"),
        ({"ScalableDimension": "lambda:function:ProvisionedConcurrency"}, "is not of sagemaker"),
        (
            {"ScalableDimension": "sagemaker:inference-component:DesiredCopyCount"},
            "must be inference-",
        ),
        ({"ScalableDimension": "foo"}, "1 validation error detected: Value 'foo' at"),
        ({"ResourceId": "endpoint/churn"}, "must be endpoint/<endpoint>/variant/<variant>"),
        ({"ResourceId": "endpoint/churn/variant/w"}, "doesn't exist: endpoint/churn/variant/w"),
        ({"ResourceId": "endpoint/gone/variant/v"}, "doesn't exist: endpoint/gone/variant/v"),
        ({"MinCapacity": 5}, "Maximum capacity cannot be less than minimum capacity"),
        ({"MaxCapacity": 10_001}, "must lie in 0..10000"),
    ],
)
def test_what_cannot_be_scaled_is_refused(
    refusing: Any, members: dict[str, Any], words: str
) -> None:
    """With what is wrong and what to do."""
    sent = {**place("churn"), "MinCapacity": 1, "MaxCapacity": 4, **members}
    code, message = refused(refusing.register_scalable_target, **sent)
    assert code == "ValidationException"
    assert words in message


def unknown(shape: Shape, model: ModelShape, path: str) -> Iterator[str]:
    """Yield the members of AWS's model that a shape does not know."""
    if isinstance(shape, Structure) and isinstance(model, StructureShape):
        for name, member in model.members.items():
            if name in shape.members:
                yield from unknown(shape.members[name], member, f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(shape, Sequence) and isinstance(model, ListShape):
        yield from unknown(shape.member, model.member, path)


def test_every_operation_knows_every_member_that_awss_model_has(server: World) -> None:
    """To do it, or to refuse it by name; and their words are AWS's."""
    service = application_autoscaling(server.scaling)
    names = set(model("application-autoscaling").operation_names)
    assert names - set(service.operations) == {"GetPredictiveScalingForecast"}
    for name, operation in service.operations.items():
        shape = model("application-autoscaling").operation_model(name).input_shape
        assert list(unknown(operation.shape, shape, name)) == []
    words = model("application-autoscaling")
    members = service.operations["RegisterScalableTarget"].shape.members
    for name in ("ServiceNamespace", "ScalableDimension"):
        taken = members[name]
        assert isinstance(taken, Enumeration)
        assert set(taken.values) == set(words.shape_for(name).enum)


def test_a_new_target_needs_both_bounds_and_a_dimension_of_its_own(aws: Any) -> None:
    """Both dimensions say how many replicas there are: one variant has one of them."""
    assert "are required" in refused(aws.register_scalable_target, **place("churn"))[1]
    register(aws)
    sent = {**place("churn", CONCURRENCY), "MinCapacity": 1, "MaxCapacity": 4}
    assert f"{INSTANCES} already" in refused(aws.register_scalable_target, **sent)[1]


def test_policies_come_back_as_they_were_sent(server: World, aws: Any) -> None:
    """Target tracking with its two alarms, which CloudWatch shows; steps without any."""
    register(aws)
    made = put_policy(aws, "track", TRACKING)
    put_policy(aws, "steps", STEPS)
    head = "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:"
    assert made["PolicyARN"].startswith(head)
    assert made["PolicyARN"].endswith(
        ":resource/sagemaker/endpoint/churn/variant/v:policyName/track"
    )
    steps, track = aws.describe_scaling_policies(**ALL)["ScalingPolicies"]
    assert track["TargetTrackingScalingPolicyConfiguration"] == TRACKING
    assert steps["StepScalingPolicyConfiguration"] == STEPS
    assert "Alarms" not in steps
    assert track["Alarms"] == made["Alarms"]
    watch = server.client("cloudwatch")
    high, low = (
        watch.describe_alarms(AlarmNames=[alarm["AlarmName"]])["MetricAlarms"][0]
        for alarm in made["Alarms"]
    )
    assert high["AlarmName"].startswith("TargetTracking-endpoint/churn/variant/v-AlarmHigh-")
    assert [alarm["AlarmArn"] for alarm in (high, low)] == [a["AlarmARN"] for a in made["Alarms"]]
    assert (high["Threshold"], low["Threshold"]) == (70.0, 63.0)
    assert (high["EvaluationPeriods"], low["EvaluationPeriods"]) == (3, 15)
    put_policy(aws, "track", {**TRACKING, "DisableScaleIn": True, "ScaleOutCooldown": 5})
    assert len(watch.describe_alarms()["MetricAlarms"]) == 1
    found = aws.describe_scaling_policies(**ALL, PolicyNames=["track"])["ScalingPolicies"]
    assert [one["PolicyARN"] for one in found] == [made["PolicyARN"]]
    aws.delete_scaling_policy(**place("churn"), PolicyName="track")
    assert watch.describe_alarms()["MetricAlarms"] == []
    code, message = refused(aws.delete_scaling_policy, **place("churn"), PolicyName="track")
    assert (code, message[:23]) == ("ObjectNotFoundException", "No scaling policy found")


def test_an_alarm_of_a_policy_is_not_a_callers_to_change(server: World, aws: Any) -> None:
    """Its policy makes it and drops it."""
    register(aws)
    name = put_policy(aws, "track", TRACKING)["Alarms"][0]["AlarmName"]
    with pytest.raises(ClientError, match="belongs to the scaling policy track"):
        server.client("cloudwatch").delete_alarms(AlarmNames=[name])


@pytest.mark.parametrize(
    ("config", "members", "words"),
    [
        (TRACKING, {"PolicyType": "PredictiveScaling"}, "use StepScaling or TargetTrackingScaling"),
        (TRACKING, {"PolicyType": "StepScaling"}, "needs StepScalingPolicyConfiguration"),
        ({**TRACKING, "TargetValue": 0.0}, {}, "must be more than 0"),
        ({"TargetValue": 1.0}, {}, "Exactly one of PredefinedMetricSpecification"),
        (
            {
                "TargetValue": 0.5,
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantProvisionedConcurrencyUtilization"
                },
            },
            {},
            "is not valid for sagemaker:variant:DesiredInstanceCount: use SageMakerVariantInvo",
        ),
        (
            {
                "TargetValue": 1.0,
                "CustomizedMetricSpecification": {
                    "MetricName": "m",
                    "Namespace": "n",
                    "Statistic": "Average",
                    "Metrics": [{"Id": "a", "Expression": "1"}],
                },
            },
            {},
            "can be published with PutMetricData",
        ),
        ({**STEPS, "AdjustmentType": "ExactCapacity"}, {}, "MinAdjustmentMagnitude goes with"),
        (
            {
                **STEPS,
                "StepAdjustments": [
                    {"MetricIntervalLowerBound": 5.0, "ScalingAdjustment": 1},
                    {"MetricIntervalLowerBound": 9.0, "ScalingAdjustment": 2},
                ],
            },
            {},
            "StepAdjustments: step adjustments must not overlap",
        ),
        ({**STEPS, "StepAdjustments": []}, {}, "length greater than or equal to 1"),
    ],
)
def test_a_policy_that_could_not_work_is_refused(
    refusing: Any, config: dict[str, Any], members: dict[str, Any], words: str
) -> None:
    """Nothing is taken and then ignored."""
    with pytest.raises(ClientError) as caught:
        put_policy(refusing, "p", config, **members)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert words in caught.value.response["Error"]["Message"]
    assert refusing.describe_scaling_policies(**ALL)["ScalingPolicies"] == []


def test_a_policy_needs_a_target_and_a_metric_of_its_own(aws: Any) -> None:
    """AWS's ObjectNotFoundException, and one target value per metric."""
    with pytest.raises(aws.exceptions.ObjectNotFoundException):
        put_policy(aws, "p", TRACKING)
    register(aws)
    put_policy(aws, "p", TRACKING)
    with pytest.raises(ClientError, match="Only one TargetTrackingScaling policy"):
        put_policy(aws, "q", TRACKING)


def put_action(aws: Any, name: str = "a", **members: Any) -> None:
    aws.put_scheduled_action(**place("churn"), ScheduledActionName=name, **members)


def test_a_scheduled_action_is_changed_in_part(aws: Any) -> None:
    """What is not given stays, but for start and end, which are deleted."""
    register(aws)
    put_action(
        aws,
        Schedule="cron(15 12 * * ? *)",
        Timezone="Europe/Berlin",
        StartTime="2027-02-01T00:00:00Z",
        EndTime="2027-03-01T00:00:00Z",
        ScalableTargetAction={"MinCapacity": 3},
    )
    (action,) = aws.describe_scheduled_actions(**ALL)["ScheduledActions"]
    assert action["StartTime"].timestamp() == 1_801_440_000
    arn = action["ScheduledActionARN"]
    assert arn.endswith(":resource/sagemaker/endpoint/churn/variant/v:scheduledActionName/a")
    put_action(aws, ScalableTargetAction={"MaxCapacity": 8})
    (action,) = aws.describe_scheduled_actions(**ALL, ScheduledActionNames=["a"])[
        "ScheduledActions"
    ]
    action.pop("CreationTime")
    assert action == {
        **place("churn"),
        "ScheduledActionName": "a",
        "ScheduledActionARN": arn,
        "Schedule": "cron(15 12 * * ? *)",
        "Timezone": "Europe/Berlin",
        "ScalableTargetAction": {"MaxCapacity": 8},
    }
    aws.delete_scheduled_action(**place("churn"), ScheduledActionName="a")
    assert aws.describe_scheduled_actions(**ALL)["ScheduledActions"] == []
    code, message = refused(aws.delete_scheduled_action, **place("churn"), ScheduledActionName="a")
    assert (code, message[:25]) == ("ObjectNotFoundException", "No scheduled action found")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"Schedule": "rate(1 minute)"}, "MinCapacity, MaxCapacity or both"),
        ({"ScalableTargetAction": {"MinCapacity": 1}}, "Schedule is required"),
        ({"Schedule": "daily", "ScalableTargetAction": {"MinCapacity": 1}}, "must be at("),
        (
            {"Schedule": "at(2020-01-01T00:00:00)", "ScalableTargetAction": {"MinCapacity": 1}},
            "names no time that is still to come",
        ),
        (
            {
                "Schedule": "cron(0 8 * * ? *)",
                "Timezone": "Europe/Berln",
                "ScalableTargetAction": {"MinCapacity": 1},
            },
            "did you mean 'Europe/Berlin'?",
        ),
        (
            {
                "Schedule": "rate(1 day)",
                "ScalableTargetAction": {"MinCapacity": 5, "MaxCapacity": 4},
            },
            "Maximum capacity cannot be less",
        ),
        (
            {
                "Schedule": "rate(1 day)",
                "ScalableTargetAction": {"MinCapacity": 1},
                "StartTime": 1_900_000_000,
                "EndTime": 1_890_000_000,
            },
            "EndTime must be later",
        ),
    ],
)
def test_an_action_that_would_never_do_anything_is_refused(
    refusing: Any, members: dict[str, Any], words: str
) -> None:
    """In the past, in no known zone, without bounds, or without a time."""
    with pytest.raises(ClientError) as caught:
        put_action(refusing, **members)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert words in caught.value.response["Error"]["Message"]


def test_lists_are_paged_by_fifty_at_most(server: World, aws: Any) -> None:
    """A token goes on where the page ended; a wrong one is told as AWS does."""
    register(aws)
    for number in range(7):
        put_action(
            aws,
            f"a{number}",
            Schedule="rate(1 day)",
            ScalableTargetAction={"MinCapacity": 1},
        )
    pages = aws.get_paginator("describe_scheduled_actions").paginate(
        **ALL, PaginationConfig={"PageSize": 3}
    )
    names = [[one["ScheduledActionName"] for one in page["ScheduledActions"]] for page in pages]
    assert names == [["a0", "a1", "a2"], ["a3", "a4", "a5"], ["a6"]]
    code, _ = refused(aws.describe_scalable_targets, **ALL, NextToken="49")
    assert code == "InvalidNextTokenException"
    assert (
        "less than or equal to 50"
        in refused(aws.describe_scalable_targets, **ALL, MaxResults=51)[1]
    )


def test_other_services_have_nothing_registered(aws: Any) -> None:
    """A question about them is answered; two wrong words are two errors."""
    assert aws.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"] == []
    wrong = {"ServiceNamespace": "foo", "ScalableDimension": "bar"}
    assert refused(aws.describe_scalable_targets, **wrong)[1].startswith("2 validation errors")


def test_tags_of_a_target(aws: Any) -> None:
    """Given when it is registered, and later by its ARN."""
    arn = register(aws, Tags={"team": "risk"})["ScalableTargetARN"]
    aws.tag_resource(ResourceARN=arn, Tags={"stage": "beta"})
    aws.untag_resource(ResourceARN=arn, TagKeys=["team", "never"])
    assert aws.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"stage": "beta"}
    many = {str(number): "x" for number in range(50)}
    assert refused(aws.tag_resource, ResourceARN=arn, Tags=many)[0] == "TooManyTagsException"
    gone = f"{arn}0"
    code, _ = refused(aws.list_tags_for_resource, ResourceARN=gone)
    assert code == "ResourceNotFoundException"


def test_an_endpoint_that_is_deleted_takes_its_target_along(server: World, aws: Any) -> None:
    """Also when another of its name is there at once."""
    register(aws, 3, 4)
    put_policy(aws, "track", TRACKING)
    server.client("sagemaker").delete_endpoint(EndpointName="churn")
    server.now_ms += 1_000
    server.client("sagemaker").create_endpoint(EndpointName="churn", EndpointConfigName="churn")
    assert aws.describe_scalable_targets(**ALL)["ScalableTargets"] == []
    assert server.shown("churn")["DesiredInstanceCount"] == 1
    assert server.client("cloudwatch").describe_alarms()["MetricAlarms"] == []


def test_an_update_keeps_the_capacity_and_a_count_of_its_own_takes_its_place(
    server: World, aws: Any
) -> None:
    """The same config as before says nothing new; another count is taken, within the bounds."""
    register(aws, 3, 5)
    sagemaker = server.client("sagemaker")
    sagemaker.update_endpoint(EndpointName="churn", EndpointConfigName="churn")
    server.look()
    assert server.shown("churn")["DesiredInstanceCount"] == 3
    for asked, found in ((4, 4), (9, 5)):
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="churn",
            DesiredWeightsAndCapacities=[{"VariantName": "v", "DesiredInstanceCount": asked}],
        )
        server.look()
        assert server.shown("churn")["DesiredInstanceCount"] == found
    with pytest.raises(ClientError, match=r"now it has another one \(Application Auto Scaling: 5"):
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="churn",
            DesiredWeightsAndCapacities=[{"VariantName": "v", "DesiredInstanceCount": 9}],
        )


def test_a_key_scales_the_endpoints_of_its_scopes_alone() -> None:
    """Each resource that is named asks for a scope of its own; a list of all asks for all."""
    platform = FakePlatform()
    asyncio.run(platform.deploy(POOL))
    one, two = "endpoint/churn/variant/v", "endpoint/other/variant/w"
    assert list(names_in(platform, {"ResourceId": one})) == ["churn"]
    assert list(names_in(platform, {"ResourceIds": [one, two]})) == ["churn", "other"]
    assert list(names_in(platform, {"ServiceNamespace": "sagemaker"})) == []
    component = {"ResourceId": "inference-component/ranker"}
    assert list(names_in(platform, component)) == ["ranker", "pool"]
