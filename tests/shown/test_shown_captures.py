"""Captured requests on a real server that is killed before they are in their bucket."""

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_rig import client
from real_server import Server, is_running, until

from coldspark.cluster.ownership import owner_of

NAMES = ("a", "b", "d", "e")
OURS = next(name for name in NAMES if owner_of(name, 2) == 0)
THEIRS = next(name for name in NAMES if owner_of(name, 2) == 1)
ASKED = 20
HANDLER = b"def predict_fn(data):\n    return data\n"

pytestmark = pytest.mark.process


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """Whoever is started last is ended, come what may."""
    started: list[Server] = []
    yield started
    if started and is_running(started[-1].process.pid):
        started[-1].stop()


def deploy(server: Server) -> None:
    """Make two endpoints that capture all."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("code/inference.py")
        info.size = len(HANDLER)
        archive.addfile(info, io.BytesIO(HANDLER))
    s3, sagemaker = client("s3", server), client("sagemaker", server)
    s3.create_bucket(Bucket="captured")
    s3.put_object(Bucket="captured", Key="model.tar.gz", Body=packed.getvalue())
    for name in (OURS, THEIRS):
        sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={
                "Image": "coldspark/python",
                "ModelDataUrl": "s3://captured/model.tar.gz",
            },
        )
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
        }
        sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[variant],
            DataCaptureConfig={
                "EnableCapture": True,
                "InitialSamplingPercentage": 100,
                "DestinationS3Uri": "s3://captured/lines",
                "CaptureOptions": [{"CaptureMode": "Input"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
            },
        )
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)


def ask(server: Server, name: str) -> None:
    """Send some requests."""
    runtime = client("sagemaker-runtime", server)
    for number in range(ASKED):
        runtime.invoke_endpoint(
            EndpointName=name,
            ContentType="application/json",
            Body=json.dumps(f"{name}-{number}").encode(),
        )


def spooled(data: Path) -> int:
    """Count the lines on the local disk."""
    return sum(path.read_bytes().count(b"\n") - 1 for path in data.glob("captures/*/*.jsonl"))


def captured(server: Server) -> Counter[str]:
    """Return what was sent, and how often it lies in the bucket."""
    s3 = client("s3", server)
    found: Counter[str] = Counter()
    for item in s3.list_objects_v2(Bucket="captured", Prefix="lines/").get("Contents", ()):
        body = s3.get_object(Bucket="captured", Key=item["Key"])["Body"].read()
        lines: list[Any] = [json.loads(line) for line in body.splitlines()]
        found.update(json.loads(one["captureData"]["endpointInput"]["data"]) for one in lines)
    return found


def test_captured_requests_survive_kills_and_come_once(
    tmp_path: Path, servers: list[Server]
) -> None:
    """Of both routers; the next server has one, and is killed while it sends what they left."""
    data = tmp_path / "data"
    servers.append(Server(data, "--routers", "2"))
    deploy(servers[-1])
    for name in (OURS, THEIRS):
        ask(servers[-1], name)
    until(lambda: spooled(data) == 2 * ASKED, "every request is on the disk")
    assert captured(servers[-1]) == {}
    servers[-1].kill()

    servers.append(Server(data))
    servers[-1].kill()
    servers.append(Server(data))
    wanted = {f"{name}-{number}": 1 for name in (OURS, THEIRS) for number in range(ASKED)}
    until(lambda: captured(servers[-1]) == wanted, "every request is in the bucket, once")
    until(lambda: spooled(data) == 0, "nothing is left on the disk")
    assert captured(servers[-1]) == wanted
