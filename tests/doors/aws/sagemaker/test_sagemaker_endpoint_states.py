"""Endpoints as they fail and go away, those of other doors, and the tag that names a GPU."""

import asyncio
from dataclasses import replace

import pytest
from aws_door import Door
from aws_requests import arn, create_config, create_endpoint, create_model, realtime
from gateway_fakes import REPLICA

from coldspark.doors.aws.sagemaker.variants import revision
from coldspark.spec.types import (
    EndpointDefinition,
    EndpointName,
    EndpointStatus,
    HandlerProgram,
    Spec,
    VariantDefinition,
    VariantName,
)

CHURN = EndpointName("churn")


def described(door: Door, name: str = "churn") -> dict[str, object]:
    """Describe an endpoint."""
    return door.call("DescribeEndpoint", EndpointName=name)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (EndpointStatus.READY, "InService"),
        (EndpointStatus.UPDATING, "Creating"),
        (EndpointStatus.FAILED, "Failed"),
        (EndpointStatus.RETIRING, "Deleting"),
    ],
)
def test_every_status_has_an_aws_word(door: Door, status: EndpointStatus, expected: str) -> None:
    """Also in lists, where it can be filtered by."""
    create_endpoint(door)
    door.platform.become("churn", status)

    assert described(door)["EndpointStatus"] == expected
    listed = door.call("ListEndpoints", StatusEquals=expected)["Endpoints"]
    assert isinstance(listed, list)
    assert [row["EndpointStatus"] for row in listed] == [expected]
    assert door.call("ListEndpoints", StatusEquals="OutOfService") == {"Endpoints": []}


def test_instances_are_waited_for_and_serverless_variants_are_not(door: Door) -> None:
    """Who waits for InService would otherwise take a model that cannot start for a good one."""
    create_endpoint(door, "churn", realtime())
    create_config(door, "later")
    door.call("CreateEndpoint", EndpointName="later", EndpointConfigName="later")
    for name, expected in (("churn", "Creating"), ("later", "InService")):
        view = door.platform.views[name]
        floor = replace(view.variants[0].floor, min=2)
        unstarted = replace(view.variants[0], has_started=False, floor=floor)
        door.platform.views[name] = replace(view, variants=(unstarted,))
        assert described(door, name)["EndpointStatus"] == expected
    view = door.platform.views["churn"]
    door.platform.views["churn"] = replace(view, updated_ms=view.updated_ms + 1)
    assert described(door)["EndpointStatus"] == "Updating"
    started = replace(view.variants[0], has_started=True)
    door.platform.views["churn"] = replace(view, variants=(started,))
    assert described(door)["EndpointStatus"] == "InService"


def test_a_failed_endpoint_says_why(door: Door) -> None:
    """The root cause, within AWS's bound of 1024 characters; an update may mend it."""
    create_endpoint(door)
    door.platform.become("churn", EndpointStatus.FAILED, "out of memory: " + "x" * 2000)

    reason = described(door)["FailureReason"]
    assert isinstance(reason, str)
    assert reason.startswith("out of memory: x")
    door.call("UpdateEndpoint", EndpointName="churn", EndpointConfigName="churn")
    assert described(door)["EndpointStatus"] == "InService"


def test_an_update_of_an_update_is_taken_and_shown_as_updating(door: Door) -> None:
    """A rollout that hangs can be mended; AWS would refuse."""
    create_endpoint(door)
    door.call("UpdateEndpoint", EndpointName="churn", EndpointConfigName="churn")
    door.platform.become("churn", EndpointStatus.UPDATING)

    assert described(door)["EndpointStatus"] == "Updating"
    door.call("UpdateEndpoint", EndpointName="churn", EndpointConfigName="churn")


def test_an_update_that_waits_for_room_says_so(door: Door) -> None:
    """It may wait for ever: others hold the machine."""
    create_endpoint(door, "churn", realtime(InstanceType="T4"))
    view = door.platform.views["churn"]
    placing = replace(REPLICA, state="placing", node=None, devices=())
    variant = replace(view.variants[0], status=EndpointStatus.UPDATING, replicas=(REPLICA, placing))
    door.platform.views["churn"] = replace(view, variants=(variant,))

    shown = described(door)["ProductionVariants"]
    assert isinstance(shown, list)
    message = shown[0]["VariantStatus"][0]["StatusMessage"]
    assert message.startswith("1 new replica(s) wait for room: each needs T4 and ")


def test_an_endpoint_that_is_going_away_takes_no_change(door: Door) -> None:
    """AWS's sentence for it."""
    create_endpoint(door)
    door.platform.become("churn", EndpointStatus.RETIRING)

    words = f'Cannot update in-progress endpoint "{arn("endpoint", "churn")}".'
    assert door.refusal("DeleteEndpoint", EndpointName="churn")[1] == words
    assert (
        door.refusal("UpdateEndpoint", EndpointName="churn", EndpointConfigName="churn")[1] == words
    )


async def deploy_natively(door: Door) -> None:
    """Deploy an endpoint as another door would."""
    spec = Spec(handler=HandlerProgram(), model="file:///m")
    await door.platform.deploy(
        EndpointDefinition(
            name=CHURN,
            variants=(VariantDefinition(name=VariantName("main"), revision=revision(spec)),),
        )
    )


def test_endpoints_of_other_doors_can_be_seen_and_not_changed(door: Door) -> None:
    """They have no endpoint config; their own door changes them."""
    asyncio.run(deploy_natively(door))

    assert described(door)["EndpointStatus"] == "InService"
    assert "EndpointConfigName" not in described(door)
    listed = door.call("ListEndpoints")["Endpoints"]
    assert isinstance(listed, list)
    assert len(listed) == 1
    assert door.refusal("DeleteEndpoint", EndpointName="churn")[1] == (
        "Endpoint 'churn' was made through the door 'native': change or delete it there."
    )
    create_model(door)
    create_config(door)
    assert (
        "already existing"
        in door.refusal("CreateEndpoint", EndpointName="churn", EndpointConfigName="churn")[1]
    )


def test_a_tag_of_the_endpoint_names_the_gpu(door: Door) -> None:
    """Read when the endpoint is created and when it is updated."""
    create_model(door)
    create_config(door)
    door.call(
        "CreateEndpoint",
        EndpointName="churn",
        EndpointConfigName="churn",
        Tags=[{"Key": "coldspark:gpu", "Value": "A10G/0.5"}],
    )
    gpus = door.platform.endpoint(CHURN).definition.variants[0].revision.spec.resources.gpus
    assert [str(gpu) for gpu in gpus] == ["A10G/0.5"]

    door.call(
        "AddTags",
        ResourceArn=arn("endpoint", "churn"),
        Tags=[{"Key": "coldspark:gpu", "Value": "T4"}],
    )
    door.call("UpdateEndpoint", EndpointName="churn", EndpointConfigName="churn")
    gpus = door.platform.endpoint(CHURN).definition.variants[0].revision.spec.resources.gpus
    assert [str(gpu) for gpu in gpus] == ["T4"]
