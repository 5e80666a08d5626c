"""Jobs handed in at zero replicas, and drained through two kill -9 of the server.

``COLDSPARK_SHOWN_JOBS=10000`` (``make shown-jobs``) plays it in full; without, with a tenth.
"""

import io
import json
import os
import sqlite3
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from real_server import POLL_S, Server

from coldspark.sdk.transport import Transport

JOBS = int(os.environ.get("COLDSPARK_SHOWN_JOBS", "1000"))
NAME = "drain"
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

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]


class Webhook(BaseHTTPRequestHandler):
    """Counts whom it is told of."""

    protocol_version = "HTTP/1.1"
    told: Counter[str] = Counter()
    lock = threading.Lock()

    def do_POST(self) -> None:
        """Take a notice."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = json.loads(body["Message"])
        if message["eventName"] == "InferenceResult":
            with self.lock:
                self.told[message["inferenceId"]] += 1
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[str]:
    """A webhook on this machine."""
    Webhook.told = Counter()
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


def deploy(server: Server, hook: str, effects: Path) -> None:
    """Make the endpoint; it runs nothing yet."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("code/inference.py")
        info.size = len(HANDLER)
        archive.addfile(info, io.BytesIO(HANDLER))
    s3, sagemaker = client("s3", server), client("sagemaker", server)
    s3.create_bucket(Bucket=NAME)
    s3.put_object(Bucket=NAME, Key="model.tar.gz", Body=packed.getvalue())
    container = {
        "Image": "coldspark/python",
        "ModelDataUrl": f"s3://{NAME}/model.tar.gz",
        "Environment": {"EFFECTS": str(effects)},
    }
    sagemaker.create_model(ModelName=NAME, PrimaryContainer=container)
    variant = {
        "VariantName": "AllTraffic",
        "ModelName": NAME,
        "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 8},
    }
    output = {
        "S3OutputPath": f"s3://{NAME}/out",
        "NotificationConfig": {"SuccessTopic": hook, "ErrorTopic": hook},
    }
    sagemaker.create_endpoint_config(
        EndpointConfigName=NAME,
        ProductionVariants=[variant],
        AsyncInferenceConfig={
            "OutputConfig": output,
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4},
        },
    )
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)


def hand_in(server: Server) -> dict[str, str]:
    """Hand all jobs in over a few connections; return each job's body by its output's URL."""
    taken: dict[str, str] = {}

    def call(first: int) -> None:
        transport = Transport(server.url)
        for number in range(first, JOBS, CALLERS):
            headers = {
                "x-amzn-sagemaker-inference-id": f"job-{number}",
                "x-amzn-sagemaker-content-type": "application/octet-stream",
            }
            reply = transport.exchange(
                "POST",
                f"/endpoints/{NAME}/async-invocations",
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
    assert len(taken) == JOBS
    return taken


def ended(data: Path) -> int:
    """Count the jobs that have a final state, as they are on disk."""
    with closing(sqlite3.connect(f"file:{data}/coldspark.db?mode=ro", uri=True)) as database:
        query = "SELECT count(*) FROM jobs WHERE finished_ms IS NOT NULL"
        return int(database.execute(query).fetchone()[0])


def wait_for(data: Path, count: int) -> None:
    """Wait until so many jobs have ended."""
    pause = threading.Event()
    end_s = time.monotonic() + 240
    while ended(data) < count:
        assert time.monotonic() < end_s, f"{ended(data)} of {count} jobs have ended"
        pause.wait(POLL_S * 5)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """Whoever is started last is ended, come what may."""
    started: list[Server] = []
    yield started
    if started and started[-1].process.poll() is None:
        started[-1].process.terminate()
        started[-1].process.wait(60)


def test_jobs_survive_two_kills_of_the_server(
    tmp_path: Path, hook: str, servers: list[Server]
) -> None:
    """Each has one final state, one answer and at least one notice; the handler may run twice."""
    data, effects = tmp_path / "data", tmp_path / "effects"
    servers.append(Server(data))
    deploy(servers[-1], hook, effects)
    assert servers[-1].replicas(NAME) == 0
    began_s = time.monotonic()
    taken = hand_in(servers[-1])
    handed_s = time.monotonic() - began_s
    downtime_s = 0.0
    for share in (3, 2):
        wait_for(data, JOBS - JOBS * share // 4)
        servers[-1].kill()
        killed_s = time.monotonic()
        servers.append(Server(data))
        downtime_s += time.monotonic() - killed_s
    wait_for(data, JOBS)
    drained_s = time.monotonic() - began_s
    _check_answers(servers[-1], taken)
    _wait_for_notices()
    told_s = time.monotonic() - began_s
    servers[-1].stop()
    repeated = _check_ends(data, effects)
    print(
        f"\n{JOBS} jobs: handed in at {JOBS / handed_s:.0f}/s, all ended after {drained_s:.1f} s"
        f" (of which {downtime_s:.1f} s without a server), all told after {told_s:.1f} s;"
        f" {repeated} were run again, {sum(Webhook.told.values()) - JOBS} told again"
    )


def _check_answers(server: Server, taken: dict[str, str]) -> None:
    s3 = client("s3", server)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=NAME, Prefix="out/")
    sizes = {
        f"s3://{NAME}/{found['Key']}": found["Size"]
        for page in pages
        for found in page.get("Contents", ())
    }
    assert sizes == {url: len(f"done {body}") for url, body in taken.items()}
    for url, body in list(taken.items())[:: max(1, JOBS // 50)]:
        found = s3.get_object(Bucket=NAME, Key=url.removeprefix(f"s3://{NAME}/"))
        assert found["Body"].read() == f"done {body}".encode()


def _wait_for_notices() -> None:
    pause = threading.Event()
    end_s = time.monotonic() + 120
    while len(Webhook.told) < JOBS:
        assert time.monotonic() < end_s, f"{len(Webhook.told)} jobs were told of"
        pause.wait(POLL_S)
    assert set(Webhook.told) == {f"job-{number}" for number in range(JOBS)}


def _check_ends(data: Path, effects: Path) -> int:
    """Check the final states; return how many jobs a handler ran more than once."""
    with closing(sqlite3.connect(data / "coldspark.db")) as database:
        states = database.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        left = database.execute("SELECT count(*) FROM notices").fetchone()[0]
    assert states == [("completed", JOBS)]
    assert left == 0
    runs = Counter(effects.read_text().split())
    assert set(runs) == {str(number) for number in range(JOBS)}
    return sum(count > 1 for count in runs.values())
