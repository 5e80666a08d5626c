"""Endpoints that take jobs on a real server: made, handed jobs in, and checked to the end."""

import io
import json
import sqlite3
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from real_server import POLL_S, Server

from coldspark.sdk.transport import Transport

BUCKET = "drain"
CALLERS = 4
HANDLER = b"""
import os

def model_fn(model_dir):
    return os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def input_fn(data, content_type):
    return data

def predict_fn(data, effects):
    os.write(effects, data + b"\\n")
    return b"done " + data

def output_fn(prediction, accept):
    return prediction, "application/octet-stream"
"""

Taken = dict[str, str]
"""From an output's URL to the job's body."""


class Webhook(BaseHTTPRequestHandler):
    """Counts whom it is told of."""

    protocol_version = "HTTP/1.1"
    told: Counter[str] = Counter()
    alarms: list[str] = []
    lock = threading.Lock()

    def do_POST(self) -> None:
        """Take a notice."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = json.loads(body["Message"])
        with self.lock:
            if "AlarmName" in message:
                self.alarms.append(message["AlarmName"])
            elif message["eventName"] == "InferenceResult":
                self.told[message["inferenceId"]] += 1
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def listening() -> Iterator[str]:
    """Serve a webhook on this machine."""
    Webhook.told, Webhook.alarms = Counter(), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()


def client(service: str, server: Server) -> Any:
    """Return boto3's client on a server."""
    return boto3.client(
        service,
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def deploy(
    server: Server,
    hook: str,
    effects: Path,
    names: Sequence[str],
    *,
    handler: bytes = HANDLER,
    concurrency_max: int = 8,
    bucket: str = BUCKET,
) -> None:
    """Make endpoints; they run nothing yet."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("code/inference.py")
        info.size = len(handler)
        archive.addfile(info, io.BytesIO(handler))
    s3, sagemaker = client("s3", server), client("sagemaker", server)
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="model.tar.gz", Body=packed.getvalue())
    container = {
        "Image": "coldspark/python",
        "ModelDataUrl": f"s3://{bucket}/model.tar.gz",
        "Environment": {"EFFECTS": str(effects)},
    }
    for name in names:
        sagemaker.create_model(ModelName=name, PrimaryContainer=container)
        variant = {
            "VariantName": "AllTraffic",
            "ModelName": name,
            "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": concurrency_max},
        }
        output = {
            "S3OutputPath": f"s3://{bucket}/out",
            "NotificationConfig": {"SuccessTopic": hook, "ErrorTopic": hook},
        }
        sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[variant],
            AsyncInferenceConfig={
                "OutputConfig": output,
                "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4},
            },
        )
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)


def hand_in(server: Server, names: Sequence[str], jobs: int) -> Taken:
    """Hand jobs in over a few connections, to each endpoint in turn."""
    taken: Taken = {}

    def call(first: int) -> None:
        transport = Transport(server.url)
        for number in range(first, jobs, CALLERS):
            headers = {
                "x-amzn-sagemaker-inference-id": f"job-{number}",
                "x-amzn-sagemaker-content-type": "application/octet-stream",
            }
            reply = transport.exchange(
                "POST",
                f"/endpoints/{names[number % len(names)]}/async-invocations",
                headers=headers,
                body=b"%d" % number,
                timeout_s=30.0,
            )
            assert (reply.status, json.loads(reply.read())) == (
                202,
                {"InferenceId": f"job-{number}"},
            )
            taken[reply.headers["x-amzn-sagemaker-outputlocation"]] = str(number)
        transport.close()

    threads = [threading.Thread(target=call, args=[first]) for first in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == jobs
    return taken


def ended(data: Path) -> int:
    """Count the jobs that have a final state, as they are on disk."""
    with closing(sqlite3.connect(f"file:{data}/coldspark.db?mode=ro", uri=True)) as database:
        query = "SELECT count(*) FROM jobs WHERE finished_ms IS NOT NULL"
        return int(database.execute(query).fetchone()[0])


def left(data: Path) -> int:
    """Count the notices that are still to be sent, as they are on disk."""
    with closing(sqlite3.connect(f"file:{data}/coldspark.db?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM notices").fetchone()[0])


def wait_for(data: Path, count: int) -> None:
    """Wait until so many jobs have ended."""
    pause = threading.Event()
    end_s = time.monotonic() + 240
    while ended(data) < count:
        assert time.monotonic() < end_s, f"{ended(data)} of {count} jobs have ended"
        pause.wait(POLL_S * 5)


def wait_for_notices(jobs: int) -> None:
    """Wait until the webhook was told of every job."""
    pause = threading.Event()
    end_s = time.monotonic() + 120
    while len(Webhook.told) < jobs:
        assert time.monotonic() < end_s, f"{len(Webhook.told)} jobs were told of"
        pause.wait(POLL_S)
    assert set(Webhook.told) == {f"job-{number}" for number in range(jobs)}


def check_answers(server: Server, taken: Mapping[str, str]) -> None:
    """Each job has its answer at its place, and there is no other."""
    s3 = client("s3", server)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="out/")
    sizes = {
        f"s3://{BUCKET}/{found['Key']}": found["Size"]
        for page in pages
        for found in page.get("Contents", ())
    }
    assert sizes == {url: len(f"done {body}") for url, body in taken.items()}
    for url, body in list(taken.items())[:: max(1, len(taken) // 50)]:
        found = s3.get_object(Bucket=BUCKET, Key=url.removeprefix(f"s3://{BUCKET}/"))
        assert found["Body"].read() == f"done {body}".encode()


def check_ends(data: Path, effects: Path, jobs: int) -> int:
    """Check the final states; return how many jobs a handler ran more than once."""
    with closing(sqlite3.connect(data / "coldspark.db")) as database:
        states = database.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        left = database.execute("SELECT count(*) FROM notices").fetchone()[0]
    assert states == [("completed", jobs)]
    assert left == 0
    runs = Counter(effects.read_text().split())
    assert set(runs) == {str(number) for number in range(jobs)}
    return sum(count > 1 for count in runs.values())
