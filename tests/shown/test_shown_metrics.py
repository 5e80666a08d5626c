"""Metrics and alarms of a real server: of its requests, across kill -9, and from all routers."""

import datetime as dt
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from real_server import COLDSPARK, Server, is_running

from coldspark.cluster.ownership import owner_of
from coldspark.sdk.deploy import deploy

HANDLER = """
import os, time

def predict_fn(data, model):
    if data.get("wrong"):
        raise ValueError("wrong")
    time.sleep(data.get("sleep", 0))
    return {"pid": os.getpid()}
"""
NAMES = ("a", "b", "d", "e")
OURS = next(name for name in NAMES if owner_of(name, 2) == 0)
THEIRS = next(name for name in NAMES if owner_of(name, 2) == 1)

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
    (own / "inference.py").write_text(HANDLER)
    (own / "coldspark.toml").write_text(f'name = "{name}"\nhandler = "inference.py"\n')
    deploy(server.client, own)


def cloudwatch(server: Server) -> Any:
    return boto3.client(
        "cloudwatch",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def total(server: Server, namespace: str, metric: str, **dimensions: str) -> float:
    now = dt.datetime.now(dt.UTC)
    answer = cloudwatch(server).get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        StartTime=now - dt.timedelta(hours=1),
        EndTime=now + dt.timedelta(minutes=1),
        Period=60,
        Statistics=["Sum"],
    )
    return sum(point["Sum"] for point in answer["Datapoints"])


def served(server: Server, endpoint: str, metric: str = "Invocations") -> float:
    where = {"EndpointName": endpoint, "VariantName": "main"}
    return total(server, "AWS/SageMaker", metric, **where)


def test_requests_are_measured_across_kill_9(tmp_path: Path, servers: list[Server]) -> None:
    """None is lost and none counts twice, whatever was derived when the server died.

    A custom metric that was flushed outlives it, too, and so does an alarm's state.
    """
    servers.append(Server(tmp_path / "data"))
    deployed(servers[-1], tmp_path, "echo")
    for number in range(5):
        servers[-1].client.invoke("echo", {"n": number})
    assert served(servers[-1], "echo") == 5
    data = [{"MetricName": "heat", "Value": 3.0}]
    client = cloudwatch(servers[-1])
    client.put_metric_data(Namespace="House", MetricData=data)
    assert total(servers[-1], "House", "heat") == 3
    client.put_metric_alarm(
        AlarmName="hot",
        Namespace="House",
        MetricName="heat",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )
    client.set_alarm_state(AlarmName="hot", StateValue="ALARM", StateReason="a drill")
    for number in range(3):
        servers[-1].client.invoke("echo", {"n": number})
    servers[-1].kill()

    servers.append(Server(tmp_path / "data"))
    assert served(servers[-1], "echo") == 8
    assert served(servers[-1], "echo", "ModelSetupTime") > 0
    assert total(servers[-1], "House", "heat") == 3
    (alarm,) = cloudwatch(servers[-1]).describe_alarms()["MetricAlarms"]
    assert alarm["StateValue"] == "ALARM"
    words = [COLDSPARK, "metrics", "echo", "--url", servers[-1].url]
    told = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True)
    rows = {row["label"]: row for row in json.loads(told.stdout)["variants"]["main"]}
    assert sum(value for _, value in rows["requests"]["values"]) == 8
    assert "requests" in subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_all_routers_are_measured(tmp_path: Path, servers: list[Server]) -> None:
    """Requests to an endpoint of another router are in the lead's metrics at once."""
    servers.append(Server(tmp_path / "data", "--routers", "2"))
    for name in (OURS, THEIRS):
        deployed(servers[-1], tmp_path, name)
        servers[-1].client.invoke(name, {"n": 1})

    assert [served(servers[-1], name) for name in (OURS, THEIRS)] == [1, 1]
