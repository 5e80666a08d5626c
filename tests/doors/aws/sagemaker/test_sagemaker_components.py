"""Inference components in the door: what is asked for, what is told, and what is refused."""

from typing import Any

import pytest
from aws_door import Door

from coldspark.spec.types import MIB, EndpointName, EndpointStatus, GpuRequest, Spec

ROLE = "arn:aws:iam::123456789012:role/sagemaker"
CONTAINER = {"Image": "coldspark/python", "ArtifactUrl": "s3://models/chat/model.tar.gz"}
NEEDS = {"NumberOfAcceleratorDevicesRequired": 1, "MinMemoryRequiredInMb": 1024}


def variant(**members: Any) -> dict[str, Any]:
    return {
        "VariantName": "v",
        "InstanceType": "ml.g5.12xlarge",
        "InitialInstanceCount": 1,
        **members,
    }


def pool(door: Door, name: str = "pool", **members: Any) -> None:
    door.call(
        "CreateEndpointConfig",
        EndpointConfigName=name,
        ExecutionRoleArn=ROLE,
        ProductionVariants=[variant(**members)],
    )
    door.call("CreateEndpoint", EndpointName=name, EndpointConfigName=name)


def asked(name: str = "chat", copies: int = 1, **members: Any) -> dict[str, Any]:
    needs = {**NEEDS, **members.pop("needs", {})}
    container = {**CONTAINER, **members.pop("container", {})}
    specification = {
        "Container": container,
        "ComputeResourceRequirements": {key: one for key, one in needs.items() if one is not None},
        **members.pop("specification", {}),
    }
    return {
        "InferenceComponentName": name,
        "EndpointName": "pool",
        "VariantName": "v",
        "Specification": {key: one for key, one in specification.items() if one is not None},
        "RuntimeConfig": {"CopyCount": copies},
        **members,
    }


def create(door: Door, name: str = "chat", copies: int = 1, **members: Any) -> None:
    made = door.call("CreateInferenceComponent", **asked(name, copies, **members))
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:inference-component/{name}"
    assert made == {"InferenceComponentArn": arn}


def runs(door: Door, name: str = "chat") -> Spec:
    view = door.platform.endpoint(EndpointName("pool"))
    return next(one for one in view.definition.variants if one.name == name).revision.spec


def shown(door: Door, name: str = "chat") -> dict[str, Any]:
    return door.call("DescribeInferenceComponent", InferenceComponentName=name)


@pytest.mark.parametrize(
    ("needs", "variables", "gpus"),
    [
        ({}, {}, (GpuRequest(type="A10G"),)),
        ({"NumberOfAcceleratorDevicesRequired": 2}, {}, (GpuRequest(type="A10G", count=2),)),
        (
            {"NumberOfAcceleratorDevicesRequired": 0.25},
            {},
            (GpuRequest(type="A10G", fraction=0.25),),
        ),
        ({}, {"COLDSPARK_GPU": "A10G/0.5"}, (GpuRequest(type="A10G", fraction=0.5),)),
        ({"NumberOfAcceleratorDevicesRequired": None}, {}, ()),
        (
            {"NumberOfAcceleratorDevicesRequired": None},
            {"COLDSPARK_GPU": "A10G/0.5"},
            (GpuRequest(type="A10G", fraction=0.5),),
        ),
    ],
)
def test_a_copy_takes_whole_gpus_of_its_instance_or_a_share_of_one(
    door: Door, needs: dict[str, Any], variables: dict[str, str], gpus: tuple[GpuRequest, ...]
) -> None:
    """By the number of devices, which a share in the model's own variable narrows."""
    pool(door)
    create(door, needs=needs, container={"Environment": variables} if variables else {})

    assert runs(door).resources.gpus == gpus


def test_what_a_component_asks_for_is_what_its_replicas_are(door: Door) -> None:
    """Memory, cores, times and copies."""
    pool(door)
    create(
        door,
        copies=3,
        needs={"MaxMemoryRequiredInMb": 2048, "NumberOfCpuCoresRequired": 2.5},
        specification={"StartupParameters": {"ModelDataDownloadTimeoutInSeconds": 100}},
    )
    spec = runs(door)

    assert (spec.resources.memory_bytes, spec.resources.vcpus) == (2048 * MIB, 2.5)
    assert (spec.scale.replicas_min, spec.scale.replicas_max) == (3, 3)
    assert spec.limits.start_timeout_s == 400.0
    assert spec.model == "s3://models/chat/model.tar.gz"


def test_without_copies_one_may_wake(door: Door) -> None:
    """AWS fails the request."""
    pool(door)
    create(door, copies=0)

    assert (runs(door).scale.replicas_min, runs(door).scale.replicas_max) == (0, 1)
    assert shown(door)["RuntimeConfig"] == {"DesiredCopyCount": 0, "CurrentCopyCount": 0}


def test_describe_tells_what_was_sent_and_how_it_stands(door: Door) -> None:
    """The image moves into DeployedImage, as on AWS."""
    pool(door)
    create(door, copies=2)
    told = shown(door)

    assert told["InferenceComponentStatus"] == "InService"
    assert (told["EndpointName"], told["VariantName"]) == ("pool", "v")
    container = told["Specification"]["Container"]
    assert container["ArtifactUrl"] == CONTAINER["ArtifactUrl"]
    assert container["DeployedImage"]["SpecifiedImage"] == "coldspark/python"
    assert told["Specification"]["ComputeResourceRequirements"] == NEEDS
    door.platform.become("pool", EndpointStatus.FAILED, "no such file")
    assert shown(door)["InferenceComponentStatus"] == "Failed"
    assert shown(door)["FailureReason"] == "no such file"


@pytest.mark.parametrize("status", [EndpointStatus.FAILED, EndpointStatus.UPDATING])
def test_an_endpoint_is_in_service_whatever_its_components_are(
    door: Door, status: EndpointStatus
) -> None:
    """The SageMaker SDK makes an endpoint anew that is not, when it deploys a second component."""
    pool(door)
    create(door)
    door.platform.become("pool", status, "no such file")
    told = door.call("DescribeEndpoint", EndpointName="pool")

    assert told["EndpointStatus"] == "InService"
    assert "FailureReason" not in told


def test_components_are_listed_by_endpoint_variant_and_status_in_pages(door: Door) -> None:
    """And sorted as asked for."""
    pool(door)
    pool(door, "other")
    for name in ("a", "b", "c"):
        create(door, name)
    create(door, "d", EndpointName="other")

    def listed(**filters: Any) -> list[str]:
        answer: Any = door.call("ListInferenceComponents", SortOrder="Ascending", **filters)
        return [one["InferenceComponentName"] for one in answer["InferenceComponents"]]

    assert listed(SortBy="Name") == ["a", "b", "c", "d"]
    assert listed(EndpointNameEquals="other") == ["d"]
    assert listed(VariantNameEquals="w") == []
    assert listed(StatusEquals="InService", NameContains="B") == ["b"]
    page: Any = door.call("ListInferenceComponents", SortBy="Name", MaxResults=3)
    rest = door.call("ListInferenceComponents", SortBy="Name", NextToken=page["NextToken"])
    assert len(page["InferenceComponents"]) == 3
    assert len(rest["InferenceComponents"]) == 1  # type: ignore[arg-type]


def test_an_update_changes_one_component_and_leaves_the_others(door: Door) -> None:
    """Copies alone keep the revision, so its replicas serve on."""
    pool(door)
    create(door, "chat")
    create(door, "embed")
    before = door.platform.endpoint(EndpointName("pool")).definition.variants
    door.call(
        "UpdateInferenceComponentRuntimeConfig",
        InferenceComponentName="chat",
        DesiredRuntimeConfig={"CopyCount": 2},
    )
    chat, embed = door.platform.endpoint(EndpointName("pool")).definition.variants

    assert embed == before[1]
    assert chat.revision.id == before[0].revision.id
    assert chat.revision.spec.scale.replicas_min == 2
    specification = asked(container={"ArtifactUrl": "s3://models/two.tar.gz"})["Specification"]
    door.call(
        "UpdateInferenceComponent", InferenceComponentName="chat", Specification=specification
    )
    assert runs(door).model == "s3://models/two.tar.gz"
    assert runs(door).scale.replicas_min == 2


def test_what_an_update_does_not_say_stays(door: Door) -> None:
    """As the SageMaker SDK sends it: resources alone, or a container's image alone."""
    pool(door)
    container = {"Image": "coldspark/python", "ModelDataUrl": "s3://models/m.tar.gz"}
    door.call("CreateModel", ModelName="m", PrimaryContainer=container)
    create(door, specification={"Container": None, "ModelName": "m"})

    def update(**specification: Any) -> None:
        door.call(
            "UpdateInferenceComponent", InferenceComponentName="chat", Specification=specification
        )

    update(ComputeResourceRequirements={"MinMemoryRequiredInMb": 256})
    assert (runs(door).model, runs(door).resources.memory_bytes) == (
        "s3://models/m.tar.gz",
        256 * MIB,
    )
    update(Container=CONTAINER)
    update(Container={"Environment": {"COLOUR": "red"}})
    assert runs(door).model == CONTAINER["ArtifactUrl"]
    assert runs(door).environment == (("COLOUR", "red"),)
    assert "ModelName" not in shown(door)["Specification"]
    update(ModelName="m")
    assert runs(door).model == "s3://models/m.tar.gz"
    assert "Container" in shown(door)["Specification"]


def test_a_rolling_update_is_the_endpoints_change_for_that_component_alone(door: Door) -> None:
    """One of three copies at a time is 34 %; the next change goes without steps again."""
    pool(door)
    create(door, "chat", copies=3)
    rolling = {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1},
            "WaitIntervalInSeconds": 30,
        }
    }
    specification = asked(container={"ArtifactUrl": "s3://models/two.tar.gz"})["Specification"]
    door.call(
        "UpdateInferenceComponent",
        InferenceComponentName="chat",
        Specification=specification,
        DeploymentConfig=rolling,
    )
    shift = door.platform.endpoint(EndpointName("pool")).definition.shift

    assert shift is not None
    assert shift.step is not None
    assert (shift.kind.value, shift.step.value, shift.wait_s) == ("rolling", 34, 30.0)
    assert shown(door)["LastDeploymentConfig"] == rolling
    create(door, "embed")
    assert door.platform.endpoint(EndpointName("pool")).definition.shift is None


def test_more_instances_make_room_for_more_copies(door: Door) -> None:
    """The copies of all components together fit what the instances have."""
    pool(door)
    create(door, "chat", copies=3)
    message = door.refusal("CreateInferenceComponent", **asked("embed", copies=2))[1]
    assert "would ask for 5 GPUs, and its 1 instance(s) of ml.g5.12xlarge have 4" in message
    door.call(
        "CreateEndpointConfig",
        EndpointConfigName="two",
        ProductionVariants=[variant(InitialInstanceCount=2)],
    )
    door.call("UpdateEndpoint", EndpointName="pool", EndpointConfigName="two")
    create(door, "embed", copies=2)
    (told,) = door.call("DescribeEndpoint", EndpointName="pool")["ProductionVariants"]  # type: ignore[misc]

    assert (told["VariantName"], told["CurrentInstanceCount"]) == ("v", 2)
    back = door.refusal("UpdateEndpoint", EndpointName="pool", EndpointConfigName="pool")[1]
    assert "would ask for 5 GPUs" in back


def test_another_instance_type_moves_the_components_to_its_gpus(door: Door) -> None:
    """What they run stays."""
    pool(door)
    create(door)
    door.call(
        "CreateEndpointConfig",
        EndpointConfigName="l4",
        ProductionVariants=[variant(InstanceType="ml.g6.xlarge")],
    )
    door.call("UpdateEndpoint", EndpointName="pool", EndpointConfigName="l4")

    assert runs(door).resources.gpus == (GpuRequest(type="L4"),)
    assert runs(door).model == "s3://models/chat/model.tar.gz"


def test_a_model_may_go_and_the_component_runs_on(door: Door) -> None:
    """It keeps what the model said when it was created."""
    pool(door)
    container = {"Image": "coldspark/python", "ModelDataUrl": "s3://models/m.tar.gz"}
    door.call("CreateModel", ModelName="m", PrimaryContainer=container)
    create(door, specification={"Container": None, "ModelName": "m"})
    door.call("DeleteModel", ModelName="m")
    door.call("UpdateEndpoint", EndpointName="pool", EndpointConfigName="pool")

    assert runs(door).model == "s3://models/m.tar.gz"
    assert shown(door)["Specification"]["ModelName"] == "m"


def test_tags_are_a_components_own_and_go_with_it(door: Door) -> None:
    """Also the one that asks for a share of a GPU."""
    pool(door)
    create(door, Tags=[{"Key": "coldspark:gpu", "Value": "A10G/0.5"}])
    arn = shown(door)["InferenceComponentArn"]

    assert runs(door).resources.gpus == (GpuRequest(type="A10G", fraction=0.5),)
    assert len(door.call("ListTags", ResourceArn=arn)["Tags"]) == 1  # type: ignore[arg-type]
    door.call("DeleteInferenceComponent", InferenceComponentName="chat")
    message = door.refusal("ListTags", ResourceArn=arn)[1]
    assert message == f'Could not find inference component "{arn}".'


def test_an_endpoint_goes_after_its_components(door: Door) -> None:
    """Not before."""
    pool(door)
    create(door)
    message = door.refusal("DeleteEndpoint", EndpointName="pool")[1]
    assert "while it has inference components: delete chat first" in message
    door.call("DeleteInferenceComponent", InferenceComponentName="chat")
    door.call("DeleteEndpoint", EndpointName="pool")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"EndpointName": "none"}, "Could not find endpoint"),
        ({"EndpointName": "plain"}, "whose variants have no ModelName"),
        ({"VariantName": "w"}, 'The variant name(s) "w" is/are not present'),
        ({"RuntimeConfig": None}, "needs RuntimeConfig"),
        ({"Specifications": [{"ModelName": "m"}]}, "give one Specification"),
        ({"specification": {"ComputeResourceRequirements": None}}, "ComputeResourceRequirements"),
        ({"specification": {"Container": None}}, "either ModelName or Container"),
        ({"specification": {"ModelName": "m"}}, "either ModelName or Container"),
        ({"specification": {"BaseInferenceComponentName": "b"}}, "adapters are not loaded"),
        ({"specification": {"DataCacheConfig": {"EnableCaching": False}}}, "enableCaching"),
        ({"specification": {"InstanceType": "ml.g5.xlarge"}}, "InstanceType"),
        ({"needs": {"AcceleratorPartitionType": "mig-1g.5gb"}}, "ask for a share"),
        ({"needs": {"NumberOfAcceleratorDevicesRequired": 5}}, "ml.g5.12xlarge has 4"),
        ({"needs": {"NumberOfAcceleratorDevicesRequired": 1.5}}, "must be a whole number"),
        ({"needs": {"MaxMemoryRequiredInMb": 512}}, "must not be less than"),
        ({"needs": {"MinMemoryRequiredInMb": 300_000}}, "that one instance of ml.g5.12xlarge has"),
        ({"needs": {"NumberOfCpuCoresRequired": 64}}, "NumberOfCpuCoresRequired 64 is more"),
        ({"container": {"Environment": {"COLDSPARK_GPU": "T4"}}}, "must name the GPU that"),
        (
            {
                "container": {"Environment": {"COLDSPARK_GPU": "A10G/0.5"}},
                "needs": {"NumberOfAcceleratorDevicesRequired": 2},
            },
            "Remove one of the two",
        ),
        ({"container": {"Image": "unknown:1"}}, "is not run here"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_cure(
    door: Door, members: dict[str, Any], words: str
) -> None:
    """Nothing is taken and then left undone."""
    pool(door)
    door.call(
        "CreateModel",
        ModelName="plain",
        PrimaryContainer={"Image": "coldspark/python", "ModelDataUrl": "s3://models/m.tar.gz"},
    )
    door.call(
        "CreateEndpointConfig",
        EndpointConfigName="plain",
        ProductionVariants=[variant(ModelName="plain", InstanceType="ml.m5.large")],
    )
    door.call("CreateEndpoint", EndpointName="plain", EndpointConfigName="plain")

    assert words in door.refusal("CreateInferenceComponent", **asked(**members))[1]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"AcceleratorType": "nvidia-t4"}, "AcceleratorType does not go with it"),
        ({"ModelDataDownloadTimeoutInSeconds": 60}, "Say it with the component"),
        ({"InitialInstanceCount": None}, "needs a ModelName"),
    ],
)
def test_a_variant_without_a_model_says_no_more_than_its_instances(
    door: Door, members: dict[str, Any], words: str
) -> None:
    """The rest is the components' own."""
    message = door.refusal(
        "CreateEndpointConfig", EndpointConfigName="c", ProductionVariants=[variant(**members)]
    )[1]
    assert words in message


def test_a_name_is_taken_across_endpoints_and_a_kind_does_not_change(door: Door) -> None:
    """A component's name is one's own among all endpoints."""
    pool(door)
    pool(door, "other")
    create(door)
    twice = door.refusal("CreateInferenceComponent", **asked(EndpointName="other"))[1]
    assert twice.startswith("Cannot create already existing inference component")
    nothing = door.refusal("UpdateInferenceComponent", InferenceComponentName="chat")[1]
    assert "there is nothing to update" in nothing
    gone = door.refusal("DeleteInferenceComponent", InferenceComponentName="none")[1]
    assert gone.startswith("Could not find inference component")
    weights = [{"VariantName": "v", "DesiredInstanceCount": 2}]
    refused = door.refusal(
        "UpdateEndpointWeightsAndCapacities",
        EndpointName="pool",
        DesiredWeightsAndCapacities=weights,
    )[1]
    assert "use UpdateInferenceComponentRuntimeConfig" in refused
