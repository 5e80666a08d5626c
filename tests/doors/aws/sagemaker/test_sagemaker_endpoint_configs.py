"""Endpoint configs: echoed exactly, and tried out on paper before they are kept."""

import pytest
from aws_door import Door
from aws_requests import (
    SERVERLESS,
    arn,
    container,
    create_config,
    create_model,
    realtime,
    variant,
)


@pytest.fixture(autouse=True)
def _model(door: Door) -> None:
    create_model(door)


def test_a_config_is_described_exactly_as_it_was_sent(door: Door) -> None:
    """Also members that are only metadata here, and numbers as they came."""
    sent = [
        variant(InitialVariantWeight=0.5, InstanceType="ml.g5.xlarge"),
        realtime(
            VariantName="B",
            RoutingConfig={"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
            ManagedInstanceScaling={
                "Status": "ENABLED",
                "MinInstanceCount": 0,
                "MaxInstanceCount": 4,
            },
            ContainerStartupHealthCheckTimeoutInSeconds=60,
            EnableSSMAccess=False,
        ),
    ]
    create_config(door, "churn", *sent)

    described = door.call("DescribeEndpointConfig", EndpointConfigName="churn")
    assert described["ProductionVariants"] == sent
    assert described["EndpointConfigArn"] == arn("endpoint-config", "churn")
    assert set(described) == {
        "EndpointConfigName",
        "EndpointConfigArn",
        "ProductionVariants",
        "CreationTime",
    }


def test_a_taken_name_and_a_missing_name_are_told_in_awss_words(door: Door) -> None:
    """AWS writes the noun out here."""
    create_config(door)

    assert door.refusal(
        "CreateEndpointConfig", EndpointConfigName="churn", ProductionVariants=[variant()]
    )[1] == (
        "Cannot create already existing endpoint configuration "
        f'"{arn("endpoint-config", "churn")}".'
    )
    for operation in ("DescribeEndpointConfig", "DeleteEndpointConfig"):
        assert door.refusal(operation, EndpointConfigName="x") == (
            "ValidationException",
            f'Could not find endpoint configuration "{arn("endpoint-config", "x")}".',
        )


def test_a_deleted_config_is_gone(door: Door) -> None:
    """Listed before, not after."""
    create_config(door)
    listed = door.call("ListEndpointConfigs")["EndpointConfigs"]
    assert isinstance(listed, list)
    assert [row["EndpointConfigName"] for row in listed] == ["churn"]

    door.call("DeleteEndpointConfig", EndpointConfigName="churn")

    assert door.call("ListEndpointConfigs") == {"EndpointConfigs": []}


def refused(door: Door, *variants: dict[str, object], **members: object) -> str:
    """Return the message with which a config is refused."""
    aws_type, message = door.refusal(
        "CreateEndpointConfig",
        EndpointConfigName="churn",
        ProductionVariants=list(variants),
        **members,
    )
    assert aws_type == "ValidationException"
    return message


def test_a_model_that_does_not_exist_is_named(door: Door) -> None:
    """As on AWS, the config is refused."""
    message = refused(door, variant(ModelName="nope"))
    assert message == f'Could not find model "{arn("model", "nope")}".'


def test_one_variant_name_twice_is_refused(door: Door) -> None:
    """AWS's sentence."""
    message = refused(door, variant(), variant())
    assert message == 'The variant name "AllTraffic" was non-unique within the request.'


@pytest.mark.parametrize("memory_mb", [1111, 512, 7000])
def test_an_odd_memory_size_is_refused_with_the_enum(door: Door, memory_mb: int) -> None:
    """AWS's sentence, and that more is possible here."""
    message = refused(
        door, variant(ServerlessConfig={"MemorySizeInMB": memory_mb, "MaxConcurrency": 1})
    )
    assert (
        f"Value '{memory_mb}' at 'MemorySizeInMB' failed to satisfy constraint: Member must "
        "satisfy enum value set: [1024, 2048, 3072, 4096, 5120, 6144]"
    ) in message


def test_more_than_aws_gives_is_taken(door: Door) -> None:
    """80 GB of memory and 5000 at a time: the machine decides."""
    create_config(
        door, "big", variant(ServerlessConfig={"MemorySizeInMB": 81920, "MaxConcurrency": 5000})
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"ServerlessConfig": SERVERLESS | {"ProvisionedConcurrency": 6}},
            "ProvisionedConcurrency 6 must be less than or equal to MaxConcurrency 5.",
        ),
        (
            {"ServerlessConfig": {"MemorySizeInMB": 1024}},
            "Value null at 'productionVariants.1.member.serverlessConfig.maxConcurrency'",
        ),
        (
            {"ServerlessConfig": SERVERLESS | {"MaxConcurrency": 0}},
            "serverlessConfig.maxConcurrency' failed to satisfy constraint: Member must have value",
        ),
        ({"InitialInstanceCount": 1}, "InitialInstanceCount does not go with ServerlessConfig"),
        ({"ManagedInstanceScaling": {"Status": "ENABLED"}}, "does not go with ServerlessConfig"),
        ({"ServerlessConfig": None}, "needs either a ServerlessConfig, or InitialInstanceCount"),
        ({"ModelName": None}, "needs a ModelName"),
        (
            {"InstanceType": "ml.x9.huge"},
            "at 'instanceType' failed to satisfy constraint: Member must satisfy enum value set: [",
        ),
        ({"AcceleratorType": "ml.eia2.medium"}, "AcceleratorType 'ml.eia2.medium' names no GPU"),
        ({"InitialVariantWeight": 0}, "At least one variant needs an InitialVariantWeight over 0"),
        ({"VolumeSizeInGB": 10}, "volumeSizeInGB' is not supported yet"),
        ({"EnableSSMAccess": True}, "enableSSMAccess' = true is not supported yet"),
        ({"RoutingConfig": {"RoutingStrategy": "RANDOM"}}, "use LEAST_OUTSTANDING_REQUESTS"),
        ({"InstancePools": [{"InstanceType": "T4", "Priority": 1}]}, "instancePools' is not"),
        ({"CoreDumpConfig": {"DestinationS3Uri": "s3://b/k"}}, "coreDumpConfig' is not"),
        ({"InferenceAmiVersion": "al2"}, "inferenceAmiVersion' is not"),
        ({"CapacityReservationConfig": {"a": 1}}, "capacityReservationConfig' is not"),
        ({"AcceleratorPartitionLayouts": [{}]}, "acceleratorPartitionLayouts' is not"),
        ({"VariantName": "-bad-"}, "Value '-bad-' at 'productionVariants.1.member.variantName'"),
    ],
)
def test_a_variant_that_cannot_be_is_refused(
    door: Door, changes: dict[str, object], words: str
) -> None:
    """Each with the member's name or AWS's own sentence."""
    assert words in refused(door, variant(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {
            "ManagedInstanceScaling": {
                "Status": "ENABLED",
                "MinInstanceCount": 3,
                "MaxInstanceCount": 4,
            }
        },
        {"ManagedInstanceScaling": {"Status": "ENABLED", "MaxInstanceCount": 1}},
    ],
)
def test_managed_bounds_must_hold_the_initial_count(door: Door, changes: dict[str, object]) -> None:
    """Otherwise it would be unclear how many there shall be."""
    assert "InitialInstanceCount 2 must lie between" in refused(door, realtime(**changes))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("KmsKeyId", "key"),
        ("ExplainerConfig", {"ClarifyExplainerConfig": {"a": 1}}),
        ("VpcConfig", {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}),
        ("EnableNetworkIsolation", True),
        ("MetricsConfig", {"EnableEnhancedMetrics": True}),
        ("CrossRegionTrafficConfig", {"a": 1}),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(door: Door, member: str, value: object) -> None:
    """The member is named, as AWS writes it in messages."""
    message = refused(door, variant(), **{member: value})

    assert "is not supported yet" in message
    assert member[1:] in message


def test_two_places_that_name_different_gpus_are_both_told(door: Door) -> None:
    """Which of them was meant cannot be known."""
    create_model(door, "gpu", PrimaryContainer=container(Environment={"COLDSPARK_GPU": "T4"}))

    assert refused(door, variant(ModelName="gpu", InstanceType="ml.g5.xlarge")) == (
        "InstanceType 'ml.g5.xlarge' asks for A10G but environment variable COLDSPARK_GPU 'T4' "
        "asks for T4. Remove one of the two."
    )
    assert "AcceleratorType 'nvidia-a10g' asks for A10G but" in refused(
        door, variant(ModelName="gpu", AcceleratorType="nvidia-a10g")
    )
    assert "tag coldspark:gpu of the endpoint config 'L4' asks for L4" in refused(
        door, variant(ModelName="gpu"), Tags=[{"Key": "coldspark:gpu", "Value": "L4"}]
    )


def test_places_that_agree_are_taken(door: Door) -> None:
    """SDK v2's ``deploy(tags=)`` puts one tag on all three."""
    tags = [{"Key": "coldspark:gpu", "Value": "t4"}]
    create_model(
        door,
        "gpu",
        PrimaryContainer=container(Environment={"COLDSPARK_GPU": "T4"}),
        Tags=tags,
    )
    door.call(
        "CreateEndpointConfig",
        EndpointConfigName="gpu",
        ProductionVariants=[
            variant(ModelName="gpu", InstanceType="ml.g4dn.xlarge", AcceleratorType="nvidia-t4")
        ],
        Tags=tags,
    )


def test_an_asynchronous_config_needs_a_server_that_runs_jobs(door: Door) -> None:
    """Nothing is accepted that would not be done."""
    kind, message = door.refusal(
        "CreateEndpointConfig",
        EndpointConfigName="later",
        ProductionVariants=[variant()],
        AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": "s3://b/o"}},
    )
    assert kind == "ValidationException"
    assert "it runs no jobs" in message
