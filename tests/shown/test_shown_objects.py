"""Object storage of a real server with two routers: boto3, models out of it, the other doors."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from real_server import Server

from coldspark.cluster.ownership import owner_of
from coldspark.sdk.deploy import deploy

HANDLER = """
import os, pathlib

def model_fn(model_dir):
    return pathlib.Path(model_dir, "weights.txt")

def predict_fn(data, model):
    return {"weights": model.read_text(), "links": os.stat(model).st_nlink}
"""

pytestmark = pytest.mark.process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "data", "--routers", "2", "--simulate", "T4:1")
    yield found
    found.stop()


def client(server: Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def peak_bytes(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_100_mb_in_and_out_add_little_to_the_server(server: Server, tmp_path: Path) -> None:
    """Bodies go to the disk as they come, and leave it as they are read."""
    s3 = client(server)
    s3.create_bucket(Bucket="models")
    s3.put_object(Bucket="models", Key="small", Body=b"x")
    before_bytes = peak_bytes(server)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(100_000_000)
    with large.open("rb") as file:
        s3.put_object(Bucket="models", Key="one", Body=file)
    s3.upload_file(str(large), "models", "parts")
    for key in ("one", "parts"):
        s3.download_file("models", key, str(tmp_path / "back"))
        assert (tmp_path / "back").stat().st_size == 100_000_000
    assert peak_bytes(server) - before_bytes < 50_000_000


def test_models_are_uploaded_with_boto3_and_served_by_every_router(
    server: Server, tmp_path: Path
) -> None:
    """Whichever router takes the connection; the model's file is the object's."""
    # Connections are spread over the routers by the kernel: each client has its own.
    client(server).create_bucket(Bucket="models")
    for turn in range(4):
        client(server).put_object(Bucket="models", Key="llm/weights.txt", Body=f"{turn}".encode())
        got = client(server).get_object(Bucket="models", Key="llm/weights.txt")
        assert got["Body"].read() == f"{turn}".encode()
    names = {owner_of(name, 2): name for name in ("a", "b", "d", "e")}
    assert set(names) == {0, 1}
    for name in names.values():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "inference.py").write_text(HANDLER)
        (folder / "coldspark.toml").write_text(
            f'name = "{name}"\nhandler = "inference.py"\nmodel = "s3://models/llm/"\n'
        )
        deploy(server.client, folder)
        answer = server.client.invoke(name, b"{}", content_type="application/json").json()
        assert answer == {"weights": "3", "links": 2}
    with urllib.request.urlopen(server.url) as page:
        assert json.loads(page.read())["name"] == "coldspark"
    assert [one["Name"] for one in client(server).list_buckets()["Buckets"]] == ["models"]
