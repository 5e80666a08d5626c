"""Endpoints: created, described, updated, weighed and deleted on a platform that obeys its port."""

import pytest
from aws_door import Door
from aws_requests import (
    SERVERLESS,
    arn,
    create_config,
    create_endpoint,
    create_model,
    realtime,
    variant,
)

from coldspark.errors import NoRoom
from coldspark.spec.types import EndpointName, ScalePolicy

CHURN = EndpointName("churn")


def described(door: Door, name: str = "churn") -> dict[str, object]:
    """Describe an endpoint."""
    return door.call("DescribeEndpoint", EndpointName=name)


def first_variant(door: Door) -> dict[str, object]:
    """Return the first variant as DescribeEndpoint shows it."""
    variants = described(door)["ProductionVariants"]
    assert isinstance(variants, list)
    return dict(variants[0])


def scale(door: Door) -> ScalePolicy:
    """Return the scale policy of the first variant that runs."""
    return door.platform.endpoint(CHURN).definition.variants[0].revision.spec.scale


def change_weights(door: Door, **members: object) -> None:
    """Change the one variant."""
    door.call(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="churn",
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", **members}],
    )


def test_a_serverless_endpoint_is_in_service_when_create_returns(door: Door) -> None:
    """There is nothing to start; Describe shows what was asked for."""
    create_endpoint(door)

    answer = described(door)
    times = [answer.pop("CreationTime"), answer.pop("LastModifiedTime")]
    assert times[0] == times[1]
    variants = answer.pop("ProductionVariants")
    assert answer == {
        "EndpointName": "churn",
        "EndpointArn": arn("endpoint", "churn"),
        "EndpointConfigName": "churn",
        "EndpointStatus": "InService",
    }
    assert isinstance(variants, list)
    images = variants[0].pop("DeployedImages")
    assert images[0]["ResolvedImage"] == "coldspark/python"
    assert variants == [
        {
            "VariantName": "AllTraffic",
            "CurrentWeight": 1.0,
            "DesiredWeight": 1.0,
            "CurrentServerlessConfig": SERVERLESS,
            "DesiredServerlessConfig": SERVERLESS,
        }
    ]


def test_the_platform_gets_the_whole_definition(door: Door) -> None:
    """Source, weight, spec, and a label with what Describe needs after a restart."""
    create_endpoint(door, "churn", variant(InitialVariantWeight=2.5))

    definition = door.platform.endpoint(CHURN).definition
    assert definition.source == "sagemaker"
    assert dict(definition.labels).keys() == {"sagemaker"}
    assert definition.variants[0].weight == 2.5
    assert definition.variants[0].revision.spec.model == "file:///models/churn.tar.gz"
    assert scale(door) == ScalePolicy(replicas_min=0, replicas_max=5)


def test_an_unknown_config_or_endpoint_and_a_taken_name_are_told_in_awss_words(door: Door) -> None:
    """The waiter for a deleted endpoint relies on the type."""
    assert door.refusal("CreateEndpoint", EndpointName="churn", EndpointConfigName="x") == (
        "ValidationException",
        f'Could not find endpoint configuration "{arn("endpoint-config", "x")}".',
    )
    for operation, members in [
        ("DescribeEndpoint", {}),
        ("DeleteEndpoint", {}),
        ("UpdateEndpoint", {"EndpointConfigName": "churn"}),
    ]:
        assert door.refusal(operation, EndpointName="nope", **members) == (
            "ValidationException",
            f'Could not find endpoint "{arn("endpoint", "nope")}".',
        )
    create_endpoint(door)
    assert door.refusal("CreateEndpoint", EndpointName="churn", EndpointConfigName="churn") == (
        "ValidationException",
        f'Cannot create already existing endpoint "{arn("endpoint", "churn")}".',
    )


def test_what_no_device_holds_is_refused_at_once_and_leaves_nothing(door: Door) -> None:
    """The platform's message, which names the smallest type that fits, reaches the caller."""
    create_model(door)
    create_config(door)
    door.platform.refusal = NoRoom("15 GB of model do not fit T4: the smallest that fits is A10G")
    before = dict(door.documents.rows)

    assert door.refusal(
        "CreateEndpoint",
        EndpointName="churn",
        EndpointConfigName="churn",
        Tags=[{"Key": "a", "Value": "b"}],
    ) == ("ValidationException", "15 GB of model do not fit T4: the smallest that fits is A10G")
    assert door.documents.rows == before
    assert door.call("ListEndpoints") == {"Endpoints": []}


def test_a_deleted_endpoint_is_gone_with_its_tags(door: Door) -> None:
    """Model and config stay."""
    create_model(door)
    create_config(door)
    before = dict(door.documents.rows)
    door.call(
        "CreateEndpoint",
        EndpointName="churn",
        EndpointConfigName="churn",
        Tags=[{"Key": "a", "Value": "b"}],
    )

    door.call("DeleteEndpoint", EndpointName="churn")

    assert door.documents.rows == before
    assert door.refusal("DescribeEndpoint", EndpointName="churn")[0] == "ValidationException"


def test_an_update_takes_the_new_config_whole(door: Door) -> None:
    """Weights and counts are the new config's, unless they are retained."""
    create_endpoint(door)
    change_weights(door, DesiredWeight=7)
    create_config(door, "new", variant(InitialVariantWeight=3))

    answer = door.call("UpdateEndpoint", EndpointName="churn", EndpointConfigName="new")

    assert answer == {"EndpointArn": arn("endpoint", "churn")}
    assert first_variant(door)["CurrentWeight"] == 3
    assert described(door)["EndpointConfigName"] == "new"
    assert described(door)["LastModifiedTime"] > described(door)["CreationTime"]  # type: ignore[operator]


def test_an_update_retains_weights_and_counts_that_are_not_excluded(door: Door) -> None:
    """RetainAllVariantProperties keeps both; ExcludeRetainedVariantProperties takes one away."""
    create_endpoint(door, "churn", realtime())
    change_weights(door, DesiredWeight=7, DesiredInstanceCount=4)
    create_config(door, "new", realtime(InitialVariantWeight=3, InitialInstanceCount=1))
    members = {
        "EndpointName": "churn",
        "EndpointConfigName": "new",
        "RetainAllVariantProperties": True,
    }

    door.call("UpdateEndpoint", **members)
    assert first_variant(door)["DesiredWeight"] == 7
    assert first_variant(door)["DesiredInstanceCount"] == 4

    door.call(
        "UpdateEndpoint",
        **members,
        ExcludeRetainedVariantProperties=[{"VariantPropertyType": "DesiredInstanceCount"}],
    )
    assert first_variant(door)["DesiredWeight"] == 7
    assert first_variant(door)["DesiredInstanceCount"] == 1


def test_a_deployment_config_is_shown_and_may_be_retained(door: Door) -> None:
    """It holds for one update, or also for those that retain it."""
    all_at_once = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
        }
    }
    create_endpoint(door)
    members = {"EndpointName": "churn", "EndpointConfigName": "churn"}
    door.call("UpdateEndpoint", **members, DeploymentConfig=all_at_once)
    assert described(door)["LastDeploymentConfig"] == all_at_once

    door.call("UpdateEndpoint", **members, RetainDeploymentConfig=True)
    assert described(door)["LastDeploymentConfig"] == all_at_once

    door.call("UpdateEndpoint", **members)
    assert "LastDeploymentConfig" not in described(door)


def test_weights_change_without_a_new_revision(door: Door) -> None:
    """The same spec serves another share."""
    create_endpoint(door, "churn", variant(), variant(VariantName="B"))
    before = door.platform.endpoint(CHURN).definition.variants

    change_weights(door, DesiredWeight=9)

    after = door.platform.endpoint(CHURN).definition.variants
    assert [one.weight for one in after] == [9, 1]
    assert [one.revision for one in after] == [one.revision for one in before]


def test_serverless_bounds_change_one_by_one(door: Door) -> None:
    """What Application Auto Scaling sends: the other bound stays."""
    create_endpoint(door)

    change_weights(door, ServerlessUpdateConfig={"ProvisionedConcurrency": 3})
    assert scale(door) == ScalePolicy(replicas_min=3, replicas_max=5)
    change_weights(door, ServerlessUpdateConfig={"MaxConcurrency": 8})
    assert scale(door) == ScalePolicy(replicas_min=3, replicas_max=8)
    assert first_variant(door)["CurrentServerlessConfig"] == {
        "MemorySizeInMB": 2048,
        "MaxConcurrency": 8,
        "ProvisionedConcurrency": 3,
    }


def test_instance_counts_change_with_both_bounds(door: Door) -> None:
    """A real-time variant is as large as it is told to be."""
    create_endpoint(door, "churn", realtime())

    change_weights(door, DesiredInstanceCount=7)

    assert scale(door) == ScalePolicy(replicas_min=7, replicas_max=7)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        (
            variant(),
            {"VariantName": "v"},
            'The variant name(s) "v" is/are not present within endpoint configuration "churn".',
        ),
        (variant(), {"DesiredInstanceCount": 2}, "is serverless: use ServerlessUpdateConfig"),
        (
            variant(),
            {"ServerlessUpdateConfig": {"ProvisionedConcurrency": 6}},
            "ProvisionedConcurrency 6 must be less than or equal to MaxConcurrency 5.",
        ),
        (variant(), {"DesiredWeight": 0}, "At least one variant must keep a weight over 0."),
        (realtime(), {"ServerlessUpdateConfig": {"MaxConcurrency": 6}}, "is not serverless"),
        (realtime(), {"DesiredInstanceCount": 0}, "cannot have 0 instances"),
        (
            realtime(ManagedInstanceScaling={"Status": "ENABLED", "MinInstanceCount": 0}),
            {"DesiredInstanceCount": 2},
            "has ManagedInstanceScaling",
        ),
    ],
)
def test_a_change_that_cannot_be_is_refused_whole(
    door: Door, kind: dict[str, object], changes: dict[str, object], words: str
) -> None:
    """Nothing of it is done."""
    create_endpoint(door, "churn", kind)
    before = door.platform.endpoint(CHURN)

    message = door.refusal(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="churn",
        DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", **changes}],
    )[1]

    assert words in message
    assert door.platform.endpoint(CHURN) == before


def test_one_variant_twice_in_a_change_is_refused(door: Door) -> None:
    """AWS's sentence."""
    create_endpoint(door)
    assert (
        door.refusal(
            "UpdateEndpointWeightsAndCapacities",
            EndpointName="churn",
            DesiredWeightsAndCapacities=[{"VariantName": "v"}, {"VariantName": "v"}],
        )[1]
        == 'The variant name "v" was non-unique within the request.'
    )


def test_managed_scaling_to_zero_is_a_floor_of_zero(door: Door) -> None:
    """Requests then wait for a replica instead of failing."""
    scaling = {"Status": "ENABLED", "MinInstanceCount": 0, "MaxInstanceCount": 4}
    create_endpoint(door, "churn", realtime(ManagedInstanceScaling=scaling))

    assert scale(door) == ScalePolicy(replicas_min=0, replicas_max=4)
    assert first_variant(door)["ManagedInstanceScaling"] == scaling
    assert first_variant(door)["DesiredInstanceCount"] == 0
