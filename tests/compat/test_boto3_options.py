"""What unmodified boto3 may ask for: a GPU in four places; and what is refused by name."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from boto3_rig import WAYS, Aws, reached, refusal
from botocore.exceptions import ClientError

from coldspark.spec.types import EndpointName

from aws_requests import ROLE, container, realtime, variant  # isort: skip  (boto3_rig makes it importable)

INVALID = (400, "ValidationException")


@pytest.fixture(params=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[Aws]:
    """Return a door, reached in each way, without keys."""
    with reached(request.param) as running:
        yield running


def create_model(aws: Any, name: str = "churn", **members: object) -> dict[str, Any]:
    """Create a model."""
    request = {"PrimaryContainer": container(), "ExecutionRoleArn": ROLE} | members
    made: dict[str, Any] = aws.create_model(ModelName=name, **request)
    return made


def refused(call: Callable[..., object], **members: object) -> str:
    """Make a call that is refused as invalid; return the message."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    status, code, message = refusal(caught.value)
    assert (status, code) == INVALID
    return message


def asked_gpus(server: Aws, name: str = "churn") -> str:
    """Return what the first variant that runs asks for."""
    variants = server.platform.endpoint(EndpointName(name)).definition.variants
    return " or ".join(map(str, variants[0].revision.spec.resources.gpus))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("VpcConfig", {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}),
        ("EnableNetworkIsolation", True),
        ("InferenceExecutionConfig", {"Mode": "Direct"}),
        ("Containers", [container(), container()]),
        ("PrimaryContainer", container(ModelPackageName="some-package")),
        ("PrimaryContainer", container(ImageConfig={"RepositoryAccessMode": "Vpc"})),
    ],
)
def test_a_model_member_that_is_not_done_is_refused(
    server: Aws, member: str, value: object
) -> None:
    """Each by name, and nothing is stored."""
    aws = server.client()
    members = {"PrimaryContainer": container()} if member != "Containers" else {}

    message = refused(aws.create_model, ModelName="m", **{**members, member: value})

    assert "is not supported yet" in message
    assert server.documents.rows == {}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("KmsKeyId", "alias/mine"),
        ("ExplainerConfig", {"ClarifyExplainerConfig": {"ShapConfig": {"ShapBaselineConfig": {}}}}),
        ("ProductionVariants", [variant(VolumeSizeInGB=30)]),
        ("ProductionVariants", [variant(CoreDumpConfig={"DestinationS3Uri": "s3://b/cores"})]),
        ("ProductionVariants", [realtime(RoutingConfig={"RoutingStrategy": "RANDOM"})]),
        ("ProductionVariants", [realtime(EnableSSMAccess=True)]),
    ],
)
def test_a_config_member_that_is_not_done_is_refused(
    server: Aws, member: str, value: object
) -> None:
    """An option that is taken and does nothing would be a lie."""
    aws = server.client()
    create_model(aws)
    members: dict[str, object] = {"ProductionVariants": [variant()], member: value}

    message = refused(aws.create_endpoint_config, EndpointConfigName="c", **members)

    assert "is not supported yet" in message


@pytest.mark.parametrize(
    ("members", "environment", "tag", "expected"),
    [
        ({"InstanceType": "A10G"}, {}, None, "A10G"),
        ({"InstanceType": "ml.g4dn.xlarge"}, {}, None, "T4"),
        ({"InstanceType": "ml.p4d.24xlarge"}, {}, None, "A100:8"),
        ({"AcceleratorType": "nvidia-t4"}, {}, None, "T4"),
        ({}, {"COLDSPARK_GPU": "A100/0.5"}, None, "A100/0.5"),
        ({}, {"COLDSPARK_GPU": "L4,A10G"}, None, "L4 or A10G"),
        ({}, {}, "T4", "T4"),
        (
            {"InstanceType": "T4", "AcceleratorType": "nvidia-t4"},
            {"COLDSPARK_GPU": "T4"},
            "T4",
            "T4",
        ),
        ({}, {}, None, ""),
    ],
)
def test_a_gpu_is_named_in_any_of_four_places(
    server: Aws,
    members: dict[str, object],
    environment: dict[str, str],
    tag: str | None,
    expected: str,
) -> None:
    """All of them pass an unmodified client; those that agree may stand together."""
    aws = server.client()
    create_model(aws, PrimaryContainer=container(Environment=environment))
    tags = [] if tag is None else [{"Key": "coldspark:gpu", "Value": tag}]
    aws.create_endpoint_config(
        EndpointConfigName="c", ProductionVariants=[variant(**members)], Tags=tags
    )
    aws.create_endpoint(EndpointName="churn", EndpointConfigName="c")

    assert asked_gpus(server) == expected


@pytest.mark.parametrize(
    ("members", "environment", "message"),
    [
        (
            {"InstanceType": "T4", "AcceleratorType": "nvidia-l4"},
            {},
            "InstanceType 'T4' asks for T4 but AcceleratorType 'nvidia-l4' asks for L4.",
        ),
        (
            {"InstanceType": "ml.m5.large"},
            {"COLDSPARK_GPU": "T4"},
            (
                "InstanceType 'ml.m5.large' asks for no GPU but environment variable "
                "COLDSPARK_GPU 'T4' asks for T4."
            ),
        ),
    ],
)
def test_places_that_disagree_are_a_validation_exception(
    server: Aws, members: dict[str, object], environment: dict[str, str], message: str
) -> None:
    """Both are named, so that one can go."""
    aws = server.client()
    create_model(aws, PrimaryContainer=container(Environment=environment))

    sent = [variant(**members)]
    told = refused(aws.create_endpoint_config, EndpointConfigName="c", ProductionVariants=sent)
    assert told == f"{message} Remove one of the two."
