"""Whole scripts of other clients, each in an interpreter of its own, against one real server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from client_interpreters import CLIENTS, NotInstallable, interpreter

from real_server import Server  # isort: skip  (conftest makes it importable)

pytestmark = [pytest.mark.process, pytest.mark.timeout(600)]

sys.path.insert(0, str(CLIENTS))

from model_archive import HANDLER, packed  # noqa: E402

BUCKET = "sdk-bucket"
IMAGES = """
[server.images]
"team/product:*" = { handler = "serve.py" }
"""
QUICK = ("boto3_old", "aws_cli", "sagemaker_v2")
HEAVY = ("sagemaker_v3",)
"""300 MB of packages, and a minute: asked for by ``make test-clients``."""
SCRIPT_S = 300


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose buckets are its own, as somebody has it who has nothing else."""
    home = tmp_path_factory.mktemp("clients")
    (home / "coldspark.toml").write_text(IMAGES)
    found = Server(home / "data", "--config", str(home / "coldspark.toml"))
    _client("s3", found).create_bucket(Bucket=BUCKET)
    yield found
    found.stop()


def _client(service: str, server: Server) -> Any:
    return boto3.client(
        service,
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def test_what_runs_for_an_image_is_configured(server: Server) -> None:
    """With code in an archive of its own, beside the model's; other images run nothing."""
    s3, sagemaker = _client("s3", server), _client("sagemaker", server)
    s3.put_object(Bucket=BUCKET, Key="model.tar.gz", Body=packed({"weight.txt": "3"}))
    s3.put_object(Bucket=BUCKET, Key="code.tar.gz", Body=packed({"serve.py": HANDLER}))
    for name, image in (("mapped", "team/product:1"), ("unknown", "team/other:1")):
        sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={
                "Image": image,
                "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz",
                "Environment": {"SAGEMAKER_SUBMIT_DIRECTORY": f"s3://{BUCKET}/code.tar.gz"},
            },
        )

    def configure(name: str) -> None:
        size = {"MemorySizeInMB": 1024, "MaxConcurrency": 1}
        variant = {"VariantName": "v", "ModelName": name, "ServerlessConfig": size}
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    with pytest.raises(ClientError, match=r'"team/other\*" = \{ handler'):
        configure("unknown")
    configure("mapped")
    sagemaker.create_endpoint(EndpointName="mapped", EndpointConfigName="mapped")
    answer = _client("sagemaker-runtime", server).invoke_endpoint(
        EndpointName="mapped", ContentType="application/json", Body=b'{"values": [1, 2]}'
    )
    assert json.load(answer["Body"]) == {"products": [3.0, 6.0]}
    sagemaker.delete_endpoint(EndpointName="mapped")
    for name in ("mapped", "unknown"):
        sagemaker.delete_model(ModelName=name)


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
