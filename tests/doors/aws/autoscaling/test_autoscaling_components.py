"""Copies of inference components that follow their load, seen by boto3 alone."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from autoscaling_rig import NOON_MS, ROLE, World, world
from botocore.exceptions import ClientError

pytestmark = pytest.mark.seconds

COPIES = "sagemaker:inference-component:DesiredCopyCount"
RANKER = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "inference-component/ranker",
    "ScalableDimension": COPIES,
}
INVOCATIONS = "SageMakerInferenceComponentInvocationsPerCopy"
CONCURRENCY = "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as running:
        aws = running.client("sagemaker")
        variant = {"VariantName": "v", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        aws.create_endpoint_config(
            EndpointConfigName="pool", ExecutionRoleArn=ROLE, ProductionVariants=[variant]
        )
        aws.create_endpoint(EndpointName="pool", EndpointConfigName="pool")
        for name in ("ranker", "other"):
            create(aws, name)
        yield running


def create(aws: Any, name: str) -> None:
    aws.create_inference_component(
        InferenceComponentName=name,
        EndpointName="pool",
        VariantName="v",
        Specification={
            "Container": {"Image": "coldspark/python", "ArtifactUrl": "file:///m/churn.tar.gz"},
            "ComputeResourceRequirements": {
                "MinMemoryRequiredInMb": 128,
                "NumberOfCpuCoresRequired": 0.25,
            },
        },
        RuntimeConfig={"CopyCount": 1},
    )


def track(aws: Any, metric: str, least: int, most: int) -> None:
    aws.register_scalable_target(**RANKER, MinCapacity=least, MaxCapacity=most)
    aws.put_scaling_policy(
        **RANKER,
        PolicyName="track",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 2.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
            "ScaleOutCooldown": 0,
            "ScaleInCooldown": 0,
        },
    )


def copies(server: World, name: str = "ranker") -> int:
    aws = server.client("sagemaker")
    shown = aws.describe_inference_component(InferenceComponentName=name)
    found = shown["RuntimeConfig"]["DesiredCopyCount"]
    assert isinstance(found, int)
    return found


def test_copies_follow_concurrent_requests_to_zero_and_back(server: World) -> None:
    """From a minimum of 0: a request at zero is answered, and makes it one."""
    aws = server.client()
    track(aws, CONCURRENCY, 0, 4)
    server.load("pool", 6, component="ranker")
    server.pass_periods(4)
    assert copies(server) >= 3
    assert copies(server, "other") == 1

    server.let_go()
    server.pass_periods(40)
    assert copies(server) == 0
    server.load("pool", 1, component="ranker")
    server.pass_periods(1)
    assert copies(server) == 1
    server.let_go()
    found = aws.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
    assert {one["ResourceId"] for one in found} == {"inference-component/ranker"}
    assert found[-1]["Description"].startswith("Setting desired copy count to ")


def test_copies_follow_invocations_which_are_measured_under_the_components_name(
    server: World,
) -> None:
    """CloudWatch has them with InferenceComponentName, and no endpoint's beside them."""
    aws, runtime = server.client(), server.client("sagemaker-runtime")
    track(aws, INVOCATIONS, 1, 4)
    for _ in range(3):
        for _ in range(6):
            runtime.invoke_endpoint(
                EndpointName="pool", InferenceComponentName="ranker", Body=b"quick"
            )
        server.pass_periods(6)
    assert copies(server) == 3

    watch = server.client("cloudwatch")
    listed = watch.list_metrics(Namespace="AWS/SageMaker")["Metrics"]
    dimensions = {one["Name"] for metric in listed for one in metric["Dimensions"]}
    assert dimensions == {"InferenceComponentName"}
    (point,) = watch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[{"Name": "InferenceComponentName", "Value": "ranker"}],
        StartTime=dt.datetime.fromtimestamp(NOON_MS / 1_000, dt.UTC),
        EndTime=dt.datetime.fromtimestamp(NOON_MS / 1_000 + 3_600, dt.UTC),
        Period=3_600,
        Statistics=["Sum"],
    )["Datapoints"]
    assert point["Sum"] == 18


def test_a_target_is_a_components_own_and_goes_with_it(server: World) -> None:
    """A component is no variant to scale, one that is not there is refused, a deleted one gone."""
    aws = server.client()
    for resource, dimension, words in (
        ("inference-component/none", COPIES, "doesn't exist: inference-component/none"),
        ("endpoint/pool/variant/ranker", COPIES, "must be inference-component/<component>"),
        (
            "endpoint/pool/variant/ranker",
            "sagemaker:variant:DesiredInstanceCount",
            "doesn't exist: endpoint/pool/variant/ranker",
        ),
    ):
        with pytest.raises(ClientError, match=words):
            aws.register_scalable_target(
                ServiceNamespace="sagemaker",
                ResourceId=resource,
                ScalableDimension=dimension,
                MinCapacity=0,
                MaxCapacity=1,
            )
    aws.register_scalable_target(**RANKER, MinCapacity=2, MaxCapacity=3)
    assert copies(server) == 2
    server.client("sagemaker").delete_inference_component(InferenceComponentName="ranker")
    server.look()
    assert aws.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []


def test_what_a_deleted_component_did_last_is_still_measured_under_its_name(
    server: World,
) -> None:
    """Its last requests are derived when it is gone already."""
    runtime, watch = server.client("sagemaker-runtime"), server.client("cloudwatch")
    assert watch.list_metrics(Namespace="AWS/SageMaker")["Metrics"] == []
    runtime.invoke_endpoint(EndpointName="pool", InferenceComponentName="ranker", Body=b"quick")
    server.client("sagemaker").delete_inference_component(InferenceComponentName="ranker")

    listed = watch.list_metrics(Namespace="AWS/SageMaker")["Metrics"]
    assert "Invocations" in {metric["MetricName"] for metric in listed}
    dimensions = {(one["Name"], one["Value"]) for m in listed for one in m["Dimensions"]}
    assert dimensions == {("InferenceComponentName", "ranker")}
