"""Whole scripts of other clients, each in an interpreter of its own, against one real server."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from client_interpreters import CLIENTS, NotInstallable, interpreter

from real_server import Server  # isort: skip  (conftest makes it importable)

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

BUCKET = "sdk-bucket"
QUICK = ("boto3_old", "aws_cli", "sagemaker_v2")
HEAVY = ("sagemaker_v3",)
"""300 MB of packages, and a minute: asked for by ``make test-clients``."""
SCRIPT_S = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose buckets are its own, as somebody has it who has nothing else."""
    found = Server(tmp_path_factory.mktemp("clients") / "data")
    boto3.client(
        "s3",
        endpoint_url=found.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    ).create_bucket(Bucket=BUCKET)
    yield found
    found.stop()


@pytest.mark.parametrize("client", QUICK)
def test_a_client_works_as_it_is(client: str, server: Server, tmp_path: Path) -> None:
    """Its script runs to its end."""
    play(client, server, tmp_path)


@pytest.mark.clients
@pytest.mark.parametrize("client", HEAVY)
def test_a_heavy_client_works_as_it_is(client: str, server: Server, tmp_path: Path) -> None:
    """Its script runs to its end."""
    if not os.environ.get("COLDSPARK_HEAVY_CLIENTS"):
        pytest.skip(f"{client} is large: run make test-clients")
    play(client, server, tmp_path)


def play(client: str, server: Server, home: Path) -> None:
    """Run a client's script."""
    try:
        python = interpreter(client)
    except NotInstallable as error:
        pytest.skip(f"{client} cannot be installed here: {error}")
    ran = subprocess.run(
        [str(python), str(CLIENTS / f"{client}.py")],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(CLIENTS / "config.yaml"),
        },
        capture_output=True,
        text=True,
        timeout=SCRIPT_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2_000:] + ran.stderr[-6_000:]
    assert ran.stdout.strip().endswith("passed")
