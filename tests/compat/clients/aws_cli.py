"""The AWS CLI, version 1: an endpoint's life and its bucket, as commands.

Run by the interpreter beside which ``aws`` is installed; the environment says where AWS is.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from model_archive import archive

AWS = str(Path(sys.executable).parent / "aws")
BUCKET = "cli-bucket"
ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.1-cpu-py310"


def aws(*words: str) -> str:
    """Run a command; return what it prints."""
    ran = subprocess.run(
        [sys.executable, AWS, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, f"aws {' '.join(words)}: {ran.stderr}"
    return ran.stdout


def told(*words: str) -> Any:
    """Run a command; return its JSON."""
    return json.loads(aws(*words, "--output", "json"))


def in_buckets(directory: Path) -> None:
    """Make a bucket, and copy there and back."""
    (directory / "model.tar.gz").write_bytes(archive(2.0))
    aws("s3", "mb", f"s3://{BUCKET}")
    aws("s3", "cp", str(directory / "model.tar.gz"), f"s3://{BUCKET}/models/m/model.tar.gz")
    assert "model.tar.gz" in aws("s3", "ls", f"s3://{BUCKET}/models/m/")
    aws("s3", "sync", f"s3://{BUCKET}/models", str(directory / "back"))
    assert (directory / "back" / "m" / "model.tar.gz").read_bytes()[:2] == b"\x1f\x8b"


def with_endpoint(directory: Path) -> None:
    """Create, wait, invoke, scale, look and delete."""
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/models/m/model.tar.gz"}
    aws(
        *("sagemaker", "create-model", "--model-name", "m", "--execution-role-arn", ROLE),
        *("--primary-container", json.dumps(container)),
    )
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": "m",
        "InstanceType": "ml.m5.large",
        "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 2},
    }
    aws(
        *("sagemaker", "create-endpoint-config", "--endpoint-config-name", "c"),
        *("--production-variants", json.dumps([variant])),
    )
    aws("sagemaker", "create-endpoint", "--endpoint-name", "e", "--endpoint-config-name", "c")
    aws("sagemaker", "wait", "endpoint-in-service", "--endpoint-name", "e")
    (directory / "body.json").write_text('{"values": [1, 2]}')
    invoked = told(
        *("sagemaker-runtime", "invoke-endpoint", "--endpoint-name", "e"),
        *("--content-type", "application/json", "--body", f"fileb://{directory / 'body.json'}"),
        str(directory / "answer.json"),
    )
    assert invoked["InvokedProductionVariant"] == "AllTraffic"
    assert json.loads((directory / "answer.json").read_text()) == {"products": [2.0, 4.0]}
    assert told("sagemaker", "describe-endpoint", "--endpoint-name", "e")["EndpointStatus"] == (
        "InService"
    )
    aws("sagemaker", "delete-endpoint", "--endpoint-name", "e")
    aws("sagemaker", "wait", "endpoint-deleted", "--endpoint-name", "e")
    aws("sagemaker", "delete-endpoint-config", "--endpoint-config-name", "c")
    aws("sagemaker", "delete-model", "--model-name", "m")


def main() -> None:
    """Go through all of it."""
    assert told("sts", "get-caller-identity")["Account"] == "123456789012"
    with tempfile.TemporaryDirectory() as directory:
        in_buckets(Path(directory))
        with_endpoint(Path(directory))
    aws("s3", "rb", f"s3://{BUCKET}", "--force")
    print(aws("--version").strip() or "aws", "passed")


main()
