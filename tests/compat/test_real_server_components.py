"""Unmodified boto3 against a real server: inference components that share one instance's GPU."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3_rig import judged, refusal
from botocore.config import Config
from botocore.exceptions import ClientError
from test_real_server_boto3 import ROLE, weights_archive

from coldspark.cluster.ownership import owner_of

from real_server import Server, is_running, until  # isort: skip

pytestmark = pytest.mark.process

GPU = "--simulate", "T4:1"
QUARTER = {
    "NumberOfAcceleratorDevicesRequired": 1,
    "NumberOfCpuCoresRequired": 0.5,
    "MinMemoryRequiredInMb": 512,
}


class Components:
    """The clients that an endpoint with components needs, each answer held against its model."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sagemaker = self._client("sagemaker")
        self.runtime = self._client("sagemaker-runtime")
        self.scaling = self._client("application-autoscaling")
        self.watch = self._client("cloudwatch")

    def _client(self, service: str) -> Any:
        client = boto3.client(
            service,
            endpoint_url=self.server.url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
        )
        return judged(client, service)

    def endpoint(self, name: str, instance: str = "ml.g4dn.xlarge") -> None:
        variant = {
            "VariantName": "AllTraffic",
            "InstanceType": instance,
            "InitialInstanceCount": 1,
            "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
        }
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name, ExecutionRoleArn=ROLE, ProductionVariants=[variant]
        )
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def model(self, folder: Path, name: str, **environment: str) -> None:
        path = folder / f"{name}.tar.gz"
        path.write_bytes(weights_archive(name))
        container = {
            "Image": "coldspark/python",
            "ModelDataUrl": f"file://{path}",
            "Environment": {"COLDSPARK_GPU": "T4/0.25", **environment},
        }
        self.sagemaker.create_model(
            ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE
        )

    def component(self, name: str, model: str, copies: int, endpoint: str = "pool") -> None:
        self.sagemaker.create_inference_component(
            InferenceComponentName=name,
            EndpointName=endpoint,
            VariantName="AllTraffic",
            Specification={"ModelName": model, "ComputeResourceRequirements": QUARTER},
            RuntimeConfig={"CopyCount": copies},
        )

    def shown(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.sagemaker.describe_inference_component(
            InferenceComponentName=name
        )
        return shown

    def copies(self, name: str) -> tuple[int, int]:
        config = self.shown(name)["RuntimeConfig"]
        return config["DesiredCopyCount"], config["CurrentCopyCount"]

    def in_service(self, name: str) -> None:
        until(
            lambda: self.shown(name)["InferenceComponentStatus"] == "InService",
            f"{name} is in service",
        )

    def ask(self, component: str | None, endpoint: str = "pool") -> Any:
        named = {} if component is None else {"InferenceComponentName": component}
        reply = self.runtime.invoke_endpoint(
            EndpointName=endpoint, ContentType="application/json", Body=b"[1, 2]", **named
        )
        return json.loads(reply["Body"].read())["weights"]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """Return servers on one data directory: the last one runs."""
    found = [Server(tmp_path / "data", *GPU)]
    yield found
    for server in found:
        if is_running(server.process.pid):
            server.stop()


def refused(call: Any, **members: Any) -> str:
    """Return in which words a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**members)
    return refusal(caught.value)[2]


def test_two_components_share_one_gpu_and_outlive_kill_9(
    tmp_path: Path, servers: list[Server]
) -> None:
    """Each answers under its own name, has its own copies, and is there after a restart."""
    aws = Components(servers[0])
    aws.endpoint("pool")
    assert "Inference Component Name header is required" in refused(aws.ask, component=None)
    for name in ("chat", "embed"):
        aws.model(tmp_path, name)
        aws.component(name, name, copies=1)
    for name in ("chat", "embed"):
        aws.in_service(name)
        assert aws.ask(name) == name
        assert aws.copies(name) == (1, 1)
    devices = {
        device
        for variant in servers[0].client.endpoint("pool")["variants"]
        for replica in variant["replicas"]
        for device in replica["devices"]
    }
    assert len(devices) == 1
    assert "has no component 'other'" in refused(aws.ask, component="other")
    assert "Inference Component Name header is required" in refused(aws.ask, component=None)
    crowd = refused(aws.component, name="more", model="chat", copies=3)
    assert "would ask for 1.25 GPUs, and its 1 instance(s) of ml.g4dn.xlarge have 1" in crowd
    assert "while it has inference components" in refused(
        aws.sagemaker.delete_endpoint, EndpointName="pool"
    )

    servers[0].kill()
    servers.append(Server(tmp_path / "data", *GPU))
    aws = Components(servers[1])
    listed = aws.sagemaker.list_inference_components(EndpointNameEquals="pool", SortBy="Name")
    names = [one["InferenceComponentName"] for one in listed["InferenceComponents"]]
    assert sorted(names) == ["chat", "embed"]
    assert [aws.ask(name) for name in names] == names

    aws.sagemaker.delete_inference_component(InferenceComponentName="embed")
    gone = refused(aws.sagemaker.describe_inference_component, InferenceComponentName="embed")
    assert gone.startswith("Could not find inference component")
    assert aws.ask("chat") == "chat"
    aws.sagemaker.delete_inference_component(InferenceComponentName="chat")
    aws.sagemaker.delete_endpoint(EndpointName="pool")


def test_copies_change_and_a_component_without_any_wakes_for_a_request(
    tmp_path: Path, servers: list[Server]
) -> None:
    """From one to two, to none, where the next request starts one and no error is told."""
    aws = Components(servers[0])
    aws.endpoint("pool")
    aws.model(tmp_path, "chat", COLDSPARK_IDLE_TIMEOUT="0.5", COLDSPARK_PARK_TIMEOUT="0")
    aws.component("chat", "chat", copies=1)
    aws.in_service("chat")

    def become(copies: int) -> None:
        aws.sagemaker.update_inference_component_runtime_config(
            InferenceComponentName="chat", DesiredRuntimeConfig={"CopyCount": copies}
        )

    become(2)
    until(lambda: aws.copies("chat") == (2, 2), "there are two copies")
    become(0)
    until(lambda: servers[0].replicas("pool") == 0, "there is no copy")
    assert aws.copies("chat") == (0, 0)
    assert aws.shown("chat")["InferenceComponentStatus"] == "InService"
    assert aws.ask("chat") == "chat"
    until(lambda: servers[0].replicas("pool") == 0, "it is gone again")

    aws.model(tmp_path, "other")
    rolling = {
        "RollingUpdatePolicy": {
            "MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1},
            "WaitIntervalInSeconds": 0,
        }
    }
    become(1)
    until(lambda: aws.copies("chat") == (1, 1), "there is a copy to replace")
    aws.sagemaker.update_inference_component(
        InferenceComponentName="chat",
        Specification={"ModelName": "other", "ComputeResourceRequirements": QUARTER},
        DeploymentConfig=rolling,
    )
    assert aws.ask("chat") in ("chat", "other")
    until(lambda: aws.ask("chat") == "other", "the new model answers")
    aws.in_service("chat")
    assert aws.shown("chat")["LastDeploymentConfig"] == rolling


def test_a_new_model_that_does_not_start_is_taken_back_and_the_other_component_serves(
    tmp_path: Path, servers: list[Server]
) -> None:
    """By its DeploymentConfig; what it was before is described again, with the reason."""
    aws = Components(servers[0])
    aws.endpoint("pool")
    for name in ("chat", "embed"):
        aws.model(tmp_path, name)
    aws.model(tmp_path, "cursed", SAGEMAKER_PROGRAM="missing.py")
    aws.component("chat", "chat", copies=1)
    aws.component("embed", "embed", copies=1)
    for name in ("chat", "embed"):
        aws.in_service(name)
    aws.sagemaker.update_inference_component(
        InferenceComponentName="chat",
        Specification={"ModelName": "cursed"},
        DeploymentConfig={
            "RollingUpdatePolicy": {
                "MaximumBatchSize": {"Type": "CAPACITY_PERCENT", "Value": 50},
                "WaitIntervalInSeconds": 0,
            }
        },
    )
    assert aws.ask("embed") == "embed"
    until(lambda: "taken back" in aws.shown("chat").get("FailureReason", ""), "it was taken back")
    aws.in_service("chat")
    assert aws.shown("chat")["Specification"]["ModelName"] == "chat"
    assert "FailureReason" not in aws.shown("embed")
    assert [aws.ask(name) for name in ("chat", "embed")] == ["chat", "embed"]


def test_a_component_streams_and_routers_share_the_components(tmp_path: Path) -> None:
    """Whichever process owns the endpoint, boto3 sees and changes its components at the lead."""
    server = Server(tmp_path / "data", *GPU, "--routers", "2")
    try:
        aws = Components(server)
        name = next(name for name in ("a", "b", "d", "e") if owner_of(name, 2) == 1)
        aws.endpoint(name)
        aws.model(tmp_path, "chat")
        aws.component("chat", "chat", copies=1, endpoint=name)
        aws.in_service("chat")
        reply = aws.runtime.invoke_endpoint_with_response_stream(
            EndpointName=name,
            InferenceComponentName="chat",
            ContentType="application/json",
            Body=b"[1]",
        )
        parts = [event["PayloadPart"]["Bytes"] for event in reply["Body"]]
        assert json.loads(b"".join(parts))["weights"] == "chat"
        aws.scaling.register_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId="inference-component/chat",
            ScalableDimension="sagemaker:inference-component:DesiredCopyCount",
            MinCapacity=2,
            MaxCapacity=2,
        )
        until(lambda: aws.copies("chat") == (2, 2), "there are two copies")
        aws.sagemaker.delete_inference_component(InferenceComponentName="chat")
        aws.sagemaker.delete_endpoint(EndpointName=name)
    finally:
        server.stop()
