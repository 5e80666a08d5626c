"""Many models behind one endpoint, by unmodified boto3 against a real server."""

import io
import json
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3_rig import refusal
from botocore.exceptions import ClientError

from coldspark.sdk.client import Client

from real_server import Server  # isort: skip  (conftest makes it importable)
from test_real_server_boto3 import ROLE, Aws  # isort: skip

HANDLER = """
import os

def model_fn(model_dir):
    with open(os.path.join(model_dir, "name.txt")) as file:
        name = file.read()
    if name == "broken":
        raise ValueError("these are no weights")
    # Real memory: what the process grows by is what is measured.
    return name, os.urandom(1024) * (int(os.environ.get("MODEL_MB", "1")) * 1024)

def predict_fn(data, model):
    name, weights = model
    if data == "stream":
        return (part for part in (name, " ", str(len(weights))))
    return {"model": name, "pid": os.getpid()}
"""

pytestmark = pytest.mark.process


def packed(name: str) -> bytes:
    """Return the archive of a model."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("name.txt")
        info.size = len(name)
        archive.addfile(info, io.BytesIO(name.encode()))
    return buffer.getvalue()


def prefix(folder: Path, *names: str) -> str:
    """Write a prefix of models with their one program; return its address."""
    (folder / "models/code").mkdir(parents=True)
    (folder / "models/code/inference.py").write_text(HANDLER)
    for name in names:
        (folder / f"models/{name}.tar.gz").write_bytes(packed(name))
    return f"file://{folder}/models/"


def create(
    aws: Aws, name: str, url: str, *, concurrency: int = 1, cache: str | None = None, **env: str
) -> None:
    """Create a multi-model endpoint."""
    config = {} if cache is None else {"MultiModelConfig": {"ModelCacheSetting": cache}}
    container = {"Image": "coldspark/python", "Mode": "MultiModel", "ModelDataUrl": url}
    aws.sagemaker.create_model(
        ModelName=name,
        PrimaryContainer={**container, **config, "Environment": env},
        ExecutionRoleArn=ROLE,
    )
    aws.create_config(name, name, "T4", concurrency)
    aws.create_endpoint(name, name)


def ask(aws: Aws, name: str, target: str | None, data: Any = 1) -> Any:
    """Invoke one model."""
    chosen = {} if target is None else {"TargetModel": target}
    reply = aws.runtime.invoke_endpoint(
        EndpointName=name, ContentType="application/json", Body=json.dumps(data), **chosen
    )
    return json.load(reply["Body"])


def refused(aws: Aws, name: str, target: str | None) -> tuple[int, str, str]:
    """Invoke one model, which is refused."""
    with pytest.raises(ClientError) as caught:
        ask(aws, name, target)
    return refusal(caught.value)


def remarks(server: Server, name: str) -> list[str]:
    """Return what the platform's log says of models."""
    lines = Client(server.url).logs(name, lines=200)
    return [line["text"] for line in lines if line["text"].startswith("model ")]


def test_each_request_names_its_model_and_what_does_not_fit_makes_room(
    real_server: Server, tmp_path: Path
) -> None:
    """Three of 400 MB in 1 GiB: the one not used for longest goes, and comes again."""
    aws = Aws(real_server)
    create(aws, "many", prefix(tmp_path, "a", "b", "c"), MODEL_MB="400")

    asked = ["a.tar.gz", "b.tar.gz", "a.tar.gz", "c.tar.gz", "a.tar.gz", "b.tar.gz"]
    answers = [ask(aws, "many", target) for target in asked]

    assert [answer["model"] for answer in answers] == ["a", "b", "a", "c", "a", "b"]
    assert len({answer["pid"] for answer in answers}) == 1
    said = remarks(real_server, "many")
    assert [line.split(":")[0] for line in said] == [
        "model a.tar.gz",
        "model b.tar.gz",
        "model c.tar.gz",
        "model b.tar.gz",
    ]
    assert "evicted: b.tar.gz; 2 are loaded" in said[2]
    assert "evicted: c.tar.gz; 2 are loaded" in said[3]


def test_a_model_that_is_not_there_or_does_not_load_is_told(
    real_server: Server, tmp_path: Path
) -> None:
    """Missing ones and paths out of the prefix are the caller's mistakes, a bad one the model's."""
    aws = Aws(real_server)
    url = prefix(tmp_path, "a", "broken")
    (tmp_path / "secret.tar.gz").write_bytes(packed("secret"))
    (tmp_path / "models/link.tar.gz").symlink_to(tmp_path / "secret.tar.gz")
    create(aws, "told", url)

    status, code, message = refused(aws, "told", "nope.tar.gz")
    assert (status, code) == (400, "ValidationError")
    assert message.startswith(f"Failed to download model data({url}nope.tar.gz)")
    for target in ("../secret.tar.gz", "/a.tar.gz", "x/../../secret.tar.gz", "a//b"):
        assert refused(aws, "told", target)[:2] == (400, "ValidationError")
    assert "leads out of" in refused(aws, "told", "link.tar.gz")[2]
    assert refused(aws, "told", None)[2].startswith("This endpoint has many models")
    assert refused(aws, "told", "broken.tar.gz")[1] == "ModelError"
    assert ask(aws, "told", "a.tar.gz")["model"] == "a"


def test_one_model_per_endpoint_takes_no_target(real_server: Server, tmp_path: Path) -> None:
    """It would be taken for done."""
    prefix(tmp_path, "a")
    archive = tmp_path / "one.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(tmp_path / "models/code", "code")
    aws = Aws(real_server)
    aws.create_model("single", f"file://{archive}")
    aws.create_config("single", "single", "T4")
    aws.create_endpoint("single", "single")
    assert "has one model" in refused(aws, "single", "a.tar.gz")[2]


def test_without_the_cache_a_model_goes_after_its_request(
    real_server: Server, tmp_path: Path
) -> None:
    """ModelCacheSetting Disabled: it is loaded each time; streams and lanes included."""
    aws = Aws(real_server)
    (tmp_path / "models/plain").mkdir(parents=True)
    (tmp_path / "models/plain/name.txt").write_text("plain")
    create(
        aws,
        "uncached",
        prefix_beside(tmp_path),
        cache="Disabled",
        concurrency=4,
        COLDSPARK_CONCURRENCY="4",
    )
    shown = aws.sagemaker.describe_model(ModelName="uncached")["PrimaryContainer"]
    assert (shown["Mode"], shown["MultiModelConfig"]) == (
        "MultiModel",
        {"ModelCacheSetting": "Disabled"},
    )
    for _ in range(2):
        assert ask(aws, "uncached", "plain")["model"] == "plain"
    reply = aws.runtime.invoke_endpoint(
        EndpointName="uncached", Body=b'"stream"', TargetModel="plain"
    )
    assert reply["Body"].read() == b"plain 1048576"
    said = remarks(real_server, "uncached")
    assert len([line for line in said if "loaded in" in line]) == 3


def prefix_beside(folder: Path) -> str:
    """Write the program beside a directory of models."""
    (folder / "models/code").mkdir(exist_ok=True)
    (folder / "models/code/inference.py").write_text(HANDLER)
    return f"file://{folder}/models/"


def test_models_come_from_s3_and_many_callers_share_a_load(
    real_server: Server, s3_url: str
) -> None:
    """Eight callers at once, four lanes, two models: each is loaded once."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    s3 = boto3.client("s3", endpoint_url=s3_url, region_name="us-east-1", **keys)
    s3.create_bucket(Bucket="many-models")
    s3.put_object(Bucket="many-models", Key="m/code/inference.py", Body=HANDLER.encode())
    for name in ("a", "b"):
        s3.put_object(Bucket="many-models", Key=f"m/sub/{name}.tar.gz", Body=packed(name))
    aws = Aws(real_server)
    create(aws, "shared", "s3://many-models/m/", concurrency=4, COLDSPARK_CONCURRENCY="4")
    gate = threading.Barrier(8)

    def one(number: int) -> str:
        gate.wait(10)
        answer: str = ask(aws, "shared", f"sub/{'ab'[number % 2]}.tar.gz")["model"]
        return answer

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(one, range(8))) == ["a"] * 4 + ["b"] * 4
    said = [line for line in remarks(real_server, "shared") if "loaded in" in line]
    assert len(said) == 2


@pytest.mark.parametrize("cache", ["Enabled", "Disabled"])
def test_a_command_is_asked_to_load_and_to_unload_what_it_has_no_memory_for(
    real_server: Server, tmp_path: Path, cache: str
) -> None:
    """SageMaker's container API: 507 unloads the one not used for longest."""
    url = prefix(tmp_path, "a", "b", "c", "broken")
    name = f"command-{cache.lower()}"
    aws = Aws(real_server)
    server = Path(__file__).with_name("multi_model_server.py")
    container = {
        "Image": "coldspark/command",
        "Mode": "MultiModel",
        "ModelDataUrl": url,
        "MultiModelConfig": {"ModelCacheSetting": cache},
        "Environment": {"COLDSPARK_COMMAND": f"python {server}"},
    }
    aws.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    aws.create_config(name, name, "T4")
    aws.create_endpoint(name, name)

    asked = ["a", "b", "a", "c", "a", "b"]
    answers = [ask(aws, name, f"{model}.tar.gz") for model in asked]
    assert [answer["model"] for answer in answers] == asked
    assert answers[0]["target"] == "a.tar.gz"
    assert len({answer["pid"] for answer in answers}) == 1
    status, code, message = refused(aws, name, "broken.tar.gz")
    assert (status, code) == (424, "ModelError")
    assert "answered 500" in message
    evictions = [line for line in remarks(real_server, name) if "evicted" in line]
    assert len(evictions) == (2 if cache == "Enabled" else 0)
