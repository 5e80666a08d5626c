"""Unmodified boto3 against a real server process: create, wake, sleep, wake, update, delete."""

import io
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3_rig import refusal
from botocore.config import Config
from botocore.exceptions import ClientError

from coldspark.sdk.client import Client

from real_server import Server, until  # isort: skip  (conftest makes it importable)

EMBED = Path(__file__).parents[2] / "examples/embed"
ROLE = "arn:aws:iam::123456789012:role/any"
TEXTS = {"texts": ["a cat sat on the mat", "a kitten rests on a rug", "stocks fell"]}
HANDLER = """
import os

def model_fn(model_dir):
    with open(os.path.join(model_dir, "weights.txt")) as file:
        return file.read()

def predict_fn(data, model):
    return {"weights": model, "sum": sum(data)}
"""

pytestmark = pytest.mark.process


class Aws:
    """boto3's two clients on a server."""

    def __init__(self, server: Server, key: str = "any", secret: str = "any") -> None:
        options: Any = {
            "endpoint_url": server.url,
            "region_name": "us-east-1",
            "aws_access_key_id": key,
            "aws_secret_access_key": secret,
            "config": Config(retries={"mode": "standard", "total_max_attempts": 1}),
        }
        self.server = server
        self.sagemaker = boto3.client("sagemaker", **options)
        self.runtime = boto3.client("sagemaker-runtime", **options)

    def create_model(self, name: str, url: str, **environment: str) -> None:
        container = {"Image": "coldspark/python", "ModelDataUrl": url, "Environment": environment}
        made = self.sagemaker.create_model(
            ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE
        )
        assert made["ModelArn"] == f"arn:aws:sagemaker:us-east-1:123456789012:model/{name}"

    def create_config(self, name: str, model: str, gpu: str, concurrency: int = 1) -> None:
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": model,
            "InstanceType": gpu,
            "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": concurrency},
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    def create_endpoint(self, name: str, config: str) -> None:
        """Return once it is in service: the waiter's first look must find it so."""
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self._wait("endpoint_in_service", name, MaxAttempts=1)

    def update_endpoint(self, name: str, config: str) -> None:
        self.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
        self._wait("endpoint_in_service", name)

    def _wait(self, waiter: str, name: str, **options: int) -> None:
        """Wait as boto3 does, but look every second instead of every 30 s."""
        self.sagemaker.get_waiter(waiter).wait(
            EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30, **options}
        )

    def ask(self, name: str, data: object) -> tuple[Any, bool]:
        """Return the answer, and whether it came from a cold start as headers and ledger say."""
        reply = self.runtime.invoke_endpoint(
            EndpointName=name, ContentType="application/json", Body=json.dumps(data)
        )
        answer = json.loads(reply["Body"].read())
        headers = reply["ResponseMetadata"]["HTTPHeaders"]
        assert reply["InvokedProductionVariant"] == "AllTraffic"
        is_cold = headers["x-coldspark-cold"] == "true"
        line = self.server.client.request(headers["x-coldspark-request-id"])
        assert (line["status"], line["is_cold"]) == (200, is_cold)
        return answer, is_cold

    def wait_for_zero(self, name: str) -> None:
        until(lambda: self.server.replicas(name) == 0, f"{name} is back at zero replicas")
        until(lambda: self.server.replica_processes() == [], "no replica's process is left")

    def delete(self, endpoint: str, configs: list[str], models: list[str]) -> None:
        """Delete all three kinds; each is gone afterwards, in AWS's words."""
        self.sagemaker.delete_endpoint(EndpointName=endpoint)
        self._wait("endpoint_deleted", endpoint)
        for name in configs:
            self.sagemaker.delete_endpoint_config(EndpointConfigName=name)
        for name in models:
            self.sagemaker.delete_model(ModelName=name)
        for call, named in (
            (self.sagemaker.describe_endpoint, {"EndpointName": endpoint}),
            (self.sagemaker.describe_endpoint_config, {"EndpointConfigName": configs[0]}),
            (self.sagemaker.describe_model, {"ModelName": models[0]}),
        ):
            with pytest.raises(ClientError) as caught:
                call(**named)
            assert refusal(caught.value)[:2] == (400, "ValidationException")
            assert refusal(caught.value)[2].startswith("Could not find ")


def refused(aws: Aws, code: str) -> None:
    """Call both services, which must refuse with a code."""
    for call in (
        lambda: aws.sagemaker.describe_endpoint(EndpointName="signed"),
        lambda: aws.runtime.invoke_endpoint(EndpointName="signed", Body=b"[1]"),
    ):
        with pytest.raises(ClientError) as caught:
            call()
        assert refusal(caught.value)[1] == code


def archive(**files: bytes) -> bytes:
    """Pack files as SageMaker wants a model; ``__`` in a name is a slash."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("_dot_", "."))
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def embed_archive(folder: Path) -> str:
    """Return the URL of the example, packed."""
    path = folder / "model.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        packed.add(EMBED, "code")
    return f"file://{path}"


def weights_archive(text: str) -> bytes:
    return archive(code__inference_dot_py=HANDLER.encode(), weights_dot_txt=text.encode())


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_a_real_model_wakes_sleeps_wakes_again_is_updated_and_deleted(
    real_server: Server, tmp_path: Path
) -> None:
    """WordLlama: a cold start is a cold start, zero is no process, an update keeps answering."""
    aws = Aws(real_server)
    aws.create_model("embed", embed_archive(tmp_path), COLDSPARK_IDLE_TIMEOUT="1")
    aws.create_config("embed-a10g", "embed", "A10G")
    aws.create_endpoint("embed", "embed-a10g")
    assert real_server.replicas("embed") == 0

    first, is_cold = aws.ask("embed", TEXTS)
    assert is_cold
    cat, kitten, stocks = first["embeddings"]
    assert math.isclose(cosine(cat, cat), 1, rel_tol=1e-4)
    assert cosine(cat, kitten) > cosine(cat, stocks) + 0.1
    assert aws.ask("embed", TEXTS) == (first, False)
    assert real_server.replica_processes() != []

    aws.wait_for_zero("embed")
    assert aws.ask("embed", TEXTS) == (first, True)

    aws.create_config("embed-t4", "embed", "T4", concurrency=2)
    aws.update_endpoint("embed", "embed-t4")
    shown = aws.sagemaker.describe_endpoint(EndpointName="embed")
    assert shown["EndpointConfigName"] == "embed-t4"
    (variant,) = shown["ProductionVariants"]
    assert variant["CurrentServerlessConfig"]["MaxConcurrency"] == 2
    assert aws.ask("embed", TEXTS)[0] == first
    assert real_server.client.requests("embed")[0]["gpu"] == "T4"

    aws.delete("embed", ["embed-a10g", "embed-t4"], ["embed"])
    until(lambda: real_server.replica_processes() == [], "no replica outlives its endpoint")


def test_a_model_archive_comes_from_s3_and_an_update_brings_the_next_one(
    real_server: Server, s3_url: str
) -> None:
    """Code and weights of one tar.gz; what a new config names is what answers."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    s3 = boto3.client("s3", endpoint_url=s3_url, region_name="us-east-1", **keys)
    s3.create_bucket(Bucket="models")
    aws = Aws(real_server)
    for version in ("v1", "v2"):
        s3.put_object(
            Bucket="models", Key=f"sum/{version}.tar.gz", Body=weights_archive(f"of {version}")
        )
        aws.create_model(f"sum-{version}", f"s3://models/sum/{version}.tar.gz")
        aws.create_config(f"sum-{version}", f"sum-{version}", "ml.g4dn.xlarge")
    aws.create_endpoint("sum", "sum-v1")
    assert aws.ask("sum", [1, 2, 3]) == ({"weights": "of v1", "sum": 6}, True)
    aws.update_endpoint("sum", "sum-v2")
    assert aws.ask("sum", [1, 2, 3])[0] == {"weights": "of v2", "sum": 6}
    aws.delete("sum", ["sum-v1", "sum-v2"], ["sum-v1", "sum-v2"])


def test_an_archive_that_is_not_in_s3_is_told_to_the_caller(
    real_server: Server, s3_url: str
) -> None:
    """Nothing can be known of it when the endpoint is made: the first call says it."""
    aws = Aws(real_server)
    aws.create_model("lost", "s3://nowhere/lost.tar.gz")
    aws.create_config("lost", "lost", "T4")
    aws.sagemaker.create_endpoint(EndpointName="lost", EndpointConfigName="lost")
    with pytest.raises(ClientError) as caught:
        aws.ask("lost", [1])
    assert "s3://nowhere/lost.tar.gz" in refusal(caught.value)[2]
    aws.delete("lost", ["lost"], ["lost"])


def test_a_models_error_leads_to_its_log_and_a_wrong_variant_is_named(
    real_server: Server, tmp_path: Path
) -> None:
    """LogStreamArn is that of a stream that is there, with the lines of the replica that failed."""
    aws = Aws(real_server)
    path = tmp_path / "m.tar.gz"
    path.write_bytes(weights_archive("w"))
    aws.create_model("wrong", path.as_uri())
    aws.create_config("wrong", "wrong", "T4")
    aws.create_endpoint("wrong", "wrong")

    with pytest.raises(ClientError) as caught:
        aws.ask("wrong", ["no number"])
    arn = caught.value.response["LogStreamArn"]
    group, stream = arn.split(":log-group:")[1].split(":log-stream:")
    until(lambda: "TypeError" in logged(aws, group, stream), "the traceback is in that stream")

    with pytest.raises(ClientError) as caught:
        aws.runtime.invoke_endpoint(EndpointName="wrong", TargetVariant="Other", Body=b"[1]")
    assert refusal(caught.value) == (
        400,
        "ValidationError",
        "endpoint wrong has no variant 'Other'; it has AllTraffic",
    )


def logged(aws: Aws, group: str, stream: str) -> str:
    """Return a stream's lines."""
    logs = boto3.client(
        "logs",
        endpoint_url=aws.server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    found = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
    return "\n".join(event["message"] for event in found["events"])


def test_with_keys_only_the_right_secret_is_served(tmp_path: Path) -> None:
    """Signed by SigV4: a wrong secret and an unknown key get AWS's own codes, and run nothing."""
    (tmp_path / "model.tar.gz").write_bytes(weights_archive("signed"))
    server = Server(tmp_path / "data", "--simulate", "T4:1")
    try:
        made = server.client.create_key("ci", ["admin"])
        server.client = Client(server.url, made["token"])
        aws = Aws(server, made["id"], made["secret_access_key"])
        aws.create_model("signed", f"file://{tmp_path}/model.tar.gz")
        aws.create_config("signed", "signed", "T4")
        aws.create_endpoint("signed", "signed")
        assert aws.ask("signed", [4]) == ({"weights": "signed", "sum": 4}, True)
        for key, secret, code in (
            (made["id"], "not the secret", "InvalidSignatureException"),
            ("CSKSTRANGER", "any", "UnrecognizedClientException"),
        ):
            refused(Aws(server, key, secret), code)
        assert len(server.client.requests("signed")) == 1
        aws.delete("signed", ["signed"], ["signed"])
    finally:
        server.stop()
