"""Unmodified boto3 gives up waiting during a cold start and tries again: it runs and costs once."""

import json
import time
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from real_server import Server  # isort: skip  (conftest makes it importable)
from test_real_server_boto3 import Aws, archive  # isort: skip

HANDLER = """
import os, time

def model_fn(model_dir):
    time.sleep(float(os.environ["LOAD_S"]))

def predict_fn(data, model):
    return {"size": len(data["text"])}
"""
READ_TIMEOUT_S = 60.0
"""boto3's own read timeout."""

pytestmark = pytest.mark.process


def slow_endpoint(server: Server, folder: Path, name: str, load_s: float) -> None:
    """Deploy a model that takes so long to load."""
    path = folder / f"{name}.tar.gz"
    path.write_bytes(archive(code__inference_dot_py=HANDLER.encode()))
    aws = Aws(server)
    aws.create_model(name, f"file://{path}", LOAD_S=str(load_s))
    aws.create_config(name, name, "T4")
    aws.create_endpoint(name, name)


def invoke(server: Server, name: str, size: int, **config: Any) -> dict[str, Any]:
    """Invoke as anybody does; botocore says how often it sent."""
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(**config),
    )
    body = json.dumps({"text": "x" * size})
    answer: dict[str, Any] = client.invoke_endpoint(
        EndpointName=name, Body=body, ContentType="application/json"
    )
    assert json.loads(answer["Body"].read()) == {"size": size}
    metadata: dict[str, Any] = answer["ResponseMetadata"]
    return metadata


def check_one_line(server: Server, name: str, metadata: dict[str, Any]) -> None:
    """One line in the ledger, under the id that its one answer named, with the whole bill."""
    (line,) = server.client.requests(name)
    assert line["request"] == metadata["HTTPHeaders"]["x-coldspark-request-id"]
    assert (line["status"], line["is_cold"]) == (200, True)
    bill = server.client.bill(name, book="guide-2026-03")
    invocations = [line for line in bill["lines"] if line["component"] == "invocations"]
    assert [line["quantity"] for line in invocations] == [1]


@pytest.mark.parametrize("size", [10, 300_000], ids=["short", "spooled"])
def test_a_read_timeout_during_a_cold_start_costs_one_run(
    real_server: Server, tmp_path: Path, size: int
) -> None:
    """A read timeout of 1 s against a start of over 2 s; attempts enough for a busy machine."""
    name = f"slow-{size}"
    slow_endpoint(real_server, tmp_path, name, 2.0)
    retries = {"mode": "standard", "total_max_attempts": 8}
    metadata = invoke(real_server, name, size, read_timeout=1, retries=retries)
    assert metadata["RetryAttempts"] >= 1
    check_one_line(real_server, name, metadata)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_boto3_as_it_comes_survives_a_start_of_90_s(real_server: Server, tmp_path: Path) -> None:
    """Its read timeout is 60 s: the second attempt gets the answer."""
    slow_endpoint(real_server, tmp_path, "slowest", 90.0)
    began_s = time.monotonic()
    metadata = invoke(real_server, "slowest", 10)
    took_s = time.monotonic() - began_s
    assert metadata["RetryAttempts"] == 1
    assert took_s > READ_TIMEOUT_S
    check_one_line(real_server, "slowest", metadata)
    print(f"\nanswered after {took_s:.1f} s, on attempt 2")
