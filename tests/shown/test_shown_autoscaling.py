"""Scalable targets of a real server: at their time, across kill -9, and at whichever router."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from real_server import Server, is_running, until

from coldspark.cluster.ownership import owner_of
from coldspark.sdk.deploy import deploy

THEIRS = next(name for name in ("a", "b", "d", "e") if owner_of(name, 2) == 1)
INSTANCES = "sagemaker:variant:DesiredInstanceCount"

pytestmark = pytest.mark.process


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    found: list[Server] = []
    yield found
    for server in found:
        if is_running(server.process.pid):
            server.stop()


def deployed(server: Server, folder: Path, name: str) -> None:
    own = folder / name
    own.mkdir()
    (own / "inference.py").write_text("def predict_fn(data):\n    return data\n")
    (own / "coldspark.toml").write_text(f'name = "{name}"\nhandler = "inference.py"\n')
    deploy(server.client, own)


def autoscaling(server: Server) -> Any:
    return boto3.client(
        "application-autoscaling",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def place(name: str) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/main",
        "ScalableDimension": INSTANCES,
    }


def ready(server: Server, name: str) -> int:
    (variant,) = server.client.endpoint(name)["variants"]
    return sum(one["state"] in ("ready", "busy") for one in variant["replicas"])


def activities(server: Server) -> list[tuple[str, str]]:
    found = autoscaling(server).describe_scaling_activities(ServiceNamespace="sagemaker")
    return [(one["Description"], one["StatusCode"]) for one in found["ScalingActivities"]]


def test_an_action_fires_at_its_time_and_its_capacity_outlives_kill_9(
    tmp_path: Path, servers: list[Server]
) -> None:
    """Nobody asks for anything meanwhile. Deleting the endpoint ends it."""
    servers.append(Server(tmp_path / "data"))
    deployed(servers[-1], tmp_path, "echo")
    aws = autoscaling(servers[-1])
    aws.register_scalable_target(**place("echo"), MinCapacity=0, MaxCapacity=3)
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    aws.put_scheduled_action(
        **place("echo"),
        ScheduledActionName="now",
        Schedule=f"at({soon:%Y-%m-%dT%H:%M:%S})",
        ScalableTargetAction={"MinCapacity": 2},
    )
    until(lambda: ready(servers[-1], "echo") == 2, "two replicas are ready")
    done = [
        ("Setting desired instance count to 2.", "Successful"),
        ("Setting min capacity to 2", "Successful"),
    ]
    until(lambda: activities(servers[-1]) == done, "the activities have ended")
    servers[-1].kill()

    servers.append(Server(tmp_path / "data"))
    until(lambda: ready(servers[-1], "echo") == 2, "two replicas are ready again")
    assert activities(servers[-1]) == done
    (target,) = autoscaling(servers[-1]).describe_scalable_targets(ServiceNamespace="sagemaker")[
        "ScalableTargets"
    ]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 3)
    servers[-1].client.remove("echo")
    found = autoscaling(servers[-1]).describe_scalable_targets(ServiceNamespace="sagemaker")
    assert found["ScalableTargets"] == []


def test_a_target_of_another_routers_endpoint_is_the_leads(
    tmp_path: Path, servers: list[Server]
) -> None:
    """It is not forgotten while that router still starts, and holds once it has."""
    servers.append(Server(tmp_path / "data", "--routers", "2"))
    deployed(servers[-1], tmp_path, THEIRS)
    autoscaling(servers[-1]).register_scalable_target(**place(THEIRS), MinCapacity=1, MaxCapacity=3)
    until(lambda: ready(servers[-1], THEIRS) == 1, "a replica is ready")
    servers[-1].stop()

    servers.append(Server(tmp_path / "data", "--routers", "2"))
    until(lambda: ready(servers[-1], THEIRS) == 1, "a replica is ready again")
    until(
        lambda: activities(servers[-1]) == [("Setting desired instance count to 1.", "Successful")],
        "the activity has ended",
    )
