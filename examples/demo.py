"""The main job on real models: deploy, wake from zero by unmodified boto3, bill, sleep, wake again.

Everything runs on this machine and is stopped at the end. ``make demo`` runs it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3

from coldspark.sdk.client import Client

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
RESTS = {"COLDSPARK_IDLE_TIMEOUT": "2", "COLDSPARK_PARK_TIMEOUT": "3"}
QUESTION = {
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 40,
    "temperature": 0,
}


def main() -> None:
    """Start a server in a directory of its own, run the show, stop the server."""
    data = Path(os.environ.get("COLDSPARK_DEMO_DATA", ".demo/data")).absolute()
    server = subprocess.Popen(
        [str(BIN / "coldspark"), "up", "--port", "0", "--data", str(data), "--simulate", "A10G:2",
         "--log-level", "warning"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        url = line.split()[-1]
        print(f"{line.strip()} (data in {data}; the A10G devices are simulated: CPU computes)")
        show(url)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    print("\nThe server is stopped and nothing is left running. To keep one up:")
    print("  .venv/bin/coldspark up          then: .venv/bin/coldspark deploy examples/chat")


def show(url: str) -> None:
    """Deploy both models through the SageMaker API and use them."""
    client = Client(url)
    options: dict[str, Any] = {
        "endpoint_url": url,
        "region_name": "us-east-1",
        "aws_access_key_id": "demo",
        "aws_secret_access_key": "demo",
    }
    sagemaker = boto3.client("sagemaker", **options)
    runtime = boto3.client("sagemaker-runtime", **options)
    create(sagemaker, "chat", handler_environment())
    create(sagemaker, "embed", handler_environment())
    texts = {"texts": ["a cat sat on the mat", "a kitten rests on a rug"]}
    for name, body in (("chat", QUESTION), ("embed", texts)):
        ask(runtime, name, "1. from zero replicas", body)
        ask(runtime, name, "2. warm", body)
    wait_until_all(client, {"parked"})
    print("\nidle for 2 s: parked (frozen; no processor, no device, memory alone)")
    ask(runtime, "chat", "3. from parked", QUESTION)
    ask(runtime, "embed", "3. from parked", texts)
    wait_until_all(client, set())
    print("\nidle for 2 s, parked for 3 s: back to zero replicas")
    ask(runtime, "chat", "4. from zero again", QUESTION)
    ask(runtime, "embed", "4. from zero again", texts)
    bills(client)
    for name in ("chat", "embed"):
        sagemaker.delete_endpoint(EndpointName=name)
        sagemaker.delete_endpoint_config(EndpointConfigName=name)
        sagemaker.delete_model(ModelName=name)


def handler_environment() -> dict[str, str]:
    """Return the handler's settings."""
    return RESTS


def create(sagemaker: Any, name: str, environment: dict[str, str]) -> None:
    """Create model, endpoint config and endpoint, as on AWS."""
    archive = archive_of(name)
    sagemaker.create_model(
        ModelName=name,
        PrimaryContainer={
            "Image": "coldspark/python",
            "ModelDataUrl": f"file://{archive}",
            "Environment": environment,
        },
        ExecutionRoleArn="arn:aws:iam::123456789012:role/demo",
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": name,
                "InstanceType": "A10G",
                "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
            }
        ],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name)
    print(f"created endpoint {name}: InService, no process yet")


def archive_of(name: str) -> Path:
    """Pack an example as SageMaker wants it: code/ inside a model.tar.gz."""
    folder = Path(tempfile.mkdtemp(prefix="coldspark-demo-"))
    archive = folder / "model.tar.gz"
    subprocess.run(
        ["tar", "czf", str(archive), "--transform", "s,^\\./,code/,", "-C", str(HERE / name), "."],
        check=True,
    )
    return archive


def ask(runtime: Any, name: str, turn: str, body: dict[str, Any]) -> None:
    """Invoke an endpoint and print answer, waterfall and cost."""
    begun = time.monotonic()
    reply = runtime.invoke_endpoint(
        EndpointName=name, ContentType="application/json", Body=json.dumps(body)
    )
    answer = json.loads(reply["Body"].read())
    wall_ms = (time.monotonic() - begun) * 1000
    headers = reply["ResponseMetadata"]["HTTPHeaders"]
    print(f"\n{name}, {turn}: {wall_ms:.0f} ms, ${headers.get('x-coldspark-cost', '?')}")
    print(f"  {digest(answer)}")
    print(f"  {headers.get('server-timing', '')}")


def digest(answer: dict[str, Any]) -> str:
    """Return the answer in one line."""
    if "choices" in answer:
        return str(answer["choices"][0]["message"]["content"]).strip().replace("\n", " ")[:160]
    first, second = answer["embeddings"]
    cosine = sum(a * b for a, b in zip(first, second, strict=True))
    return f"{len(first)} dimensions; cosine of the two sentences {cosine:.3f}"


def wait_until_all(client: Client, states: set[str]) -> None:
    """Wait until the replicas of all endpoints are in these states, or gone."""
    until = time.monotonic() + 60
    while states_of(client) - states:
        if time.monotonic() > until:
            raise TimeoutError(f"after 60 s replicas are still {states_of(client) - states}")
        time.sleep(0.2)


def states_of(client: Client) -> set[str]:
    """Return the states of all replicas."""
    variants = [variant for endpoint in client.endpoints() for variant in endpoint["variants"]]
    return {replica["state"] for variant in variants for replica in variant["replicas"]}


def bills(client: Client) -> None:
    """Print the bill by what the machine costs, and by the guide's prices."""
    for book in ("own", "guide-2026-03"):
        subprocess.run(
            [str(BIN / "coldspark"), "bill", "--url", client.url, "--prices", book], check=False
        )


if __name__ == "__main__":
    main()
