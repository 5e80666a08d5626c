"""What real replicas print is read with boto3, whichever process they belong to."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from real_server import Server, until

from coldspark import clock
from coldspark.cluster.ownership import owner_of
from coldspark.sdk.client import Client
from coldspark.sdk.deploy import deploy

PREFIX = "/aws/sagemaker/Endpoints/"
NAMES = ("a", "b", "d", "e")
OURS = next(name for name in NAMES if owner_of(name, 2) == 0)
THEIRS = next(name for name in NAMES if owner_of(name, 2) == 1)
HANDLER = """
import json

def predict_fn(data, model):
    for number in range(data["count"]):
        print(json.dumps({"level": "ERROR" if number % 100 == 7 else "INFO", "n": number}))
    return {"printed": data["count"]}
"""

pytestmark = pytest.mark.process


def client_of(server: Server) -> Any:
    return boto3.client(
        "logs",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )


def found(client: Any, name: str, **members: Any) -> list[int]:
    """Return the numbers that a search finds, over all pages."""
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName=PREFIX + name, PaginationConfig={"PageSize": 400}, **members
    )
    texts = [event["message"] for page in pages for event in page["events"]]
    return [json.loads(text)["n"] for text in texts if text.startswith("{")]


def test_logs_of_replicas_are_groups_and_callers_logs_survive_a_kill(tmp_path: Path) -> None:
    """With two routers: every replica's lines, whoever owns it; a living one's stay."""
    server = Server(tmp_path / "data", "--routers", "2", "--simulate", "T4:1")
    for name in (OURS, THEIRS):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "inference.py").write_text(HANDLER)
        (folder / "coldspark.toml").write_text(f'name = "{name}"\nhandler = "inference.py"\n')
        deploy(server.client, folder)
    client = client_of(server)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.filter_log_events(logGroupName=PREFIX + OURS, logStreamNamePrefix="AllTraffic/")

    for name in (OURS, THEIRS):
        asked = json.dumps({"count": 1_000}).encode()
        answer = Client(server.url).invoke(name, asked, content_type="application/json")
        assert answer.json() == {"printed": 1_000}
        until(lambda name=name: len(found(client, name)) == 1_000, "all lines are read")  # type: ignore[misc]
        assert found(client, name) == list(range(1_000))
        assert found(client, name, filterPattern='{ $.level = "ERROR" && $.n > 300 }') == [
            *(307, 407, 507, 607, 707, 807, 907)
        ]
        with pytest.raises(ClientError, match="OperationAbortedException"):
            client.delete_log_group(logGroupName=PREFIX + name)
    groups = client.describe_log_groups(logGroupNamePrefix=PREFIX)["logGroups"]
    assert [group["logGroupName"] for group in groups] == sorted([PREFIX + OURS, PREFIX + THEIRS])

    client.create_log_group(logGroupName="mine")
    client.create_log_stream(logGroupName="mine", logStreamName="s")
    events = [{"timestamp": clock.wall_ms(), "message": "kept"}]
    client.put_log_events(logGroupName="mine", logStreamName="s", logEvents=events)
    server.kill()
    server = Server(tmp_path / "data", "--simulate", "T4:1")
    client = client_of(server)
    (event,) = client.get_log_events(logGroupName="mine", logStreamName="s")["events"]
    assert event["message"] == "kept"
    assert found(client, THEIRS) == list(range(1_000))
    client.delete_log_group(logGroupName=PREFIX + THEIRS)
    (group,) = client.describe_log_groups(logGroupNamePrefix=PREFIX)["logGroups"]
    assert group["logGroupName"] == PREFIX + OURS
    server.stop()
