"""CloudWatch Logs over TCP at the gateway's own server, for boto3 as it comes.

The store and the log files are real; every answer is held against botocore's model.
"""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from fake_services import FakeKeys
from gateway_fakes import REPLICA, FakePlatform, definition
from service_model import error_problems, problems
from starlette.applications import Starlette
from starlette.routing import Route

from coldspark.database.database import Database
from coldspark.doors.aws.logs.operations import cloudwatch_logs
from coldspark.doors.aws.protocol.routes import aws_endpoint
from coldspark.http.auth.authentication import Authentication
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.context import HttpContext
from coldspark.http.counters import RequestCounters
from coldspark.http.door_match import DoorMatcher
from coldspark.http.server import serve
from coldspark.node.logs.replica_logs import ReplicaLogs
from coldspark.platform.ports import Key
from coldspark.spec.types import FleetId, ReplicaId
from coldspark.telemetry.log_store import LogRetention, LogStore

PREFIX = "/aws/sagemaker/Endpoints/"


@dataclass
class Served:
    """What stands behind the door, and the way to it."""

    url: str
    loop: asyncio.AbstractEventLoop
    platform: FakePlatform
    store: LogStore
    logs: ReplicaLogs

    def client(self, key: str = "ANYKEY") -> Any:
        """Return boto3's client."""
        client = boto3.client(
            "logs",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=f"secret of {key}",
            config=Config(
                retries={"mode": "standard", "total_max_attempts": 1}, inject_host_prefix=False
            ),
        )
        client.meta.events.register("after-call.logs", _check)
        return client

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def printed(self, *lines: str, replica: str = "r-1", fleet: str = "echo/main") -> None:
        """Let a replica print lines."""
        log = self.logs._living.get(ReplicaId(replica)) or self.logs.open(
            ReplicaId(replica), FleetId(fleet), 10_000_000
        )
        log.writer("stdout")("".join(f"{line}\n" for line in lines).encode())

    def deploy(self, name: str, *replicas: str) -> None:
        """Have an endpoint with replicas that live."""
        self.platform._replicas = tuple(
            replace(REPLICA, replica=ReplicaId(replica)) for replica in replicas
        )
        self.run(self.platform.deploy(definition(name)))

    def enforce(self) -> None:
        """Remove what is due."""
        self.run(LogRetention(self.store, self.platform).enforce())


def refusal(call: Any, **members: Any) -> tuple[str, str]:
    """Return code and message of a call that is refused."""
    try:
        call(**members)
    except ClientError as error:
        told = error.response["Error"]
        return told["Code"], told["Message"]
    raise AssertionError("it was not refused")


def _check(http_response: Any, model: Any, **_: object) -> None:
    assert http_response.headers["content-type"] == "application/x-amz-json-1.1"
    if http_response.status_code >= 400:
        assert error_problems("logs", http_response) == []
    else:
        body = json.loads(http_response.content) if http_response.content else None
        assert problems(model.name, body, service="logs") == []


@contextmanager
def served(path: Path, keys: Iterable[Key] = ()) -> Iterator[Served]:
    """Serve CloudWatch Logs in a thread with a loop of its own."""
    found: list[Served] = []
    is_up, is_over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    database = Database.open(path / "coldspark.db")
    store, platform = LogStore.of(database, path / "logs"), FakePlatform()

    async def listen() -> None:
        gate = Authentication(Authenticator(FakeKeys(keys)))
        endpoint = aws_endpoint([cloudwatch_logs(platform, store)], gate.identify)
        context = HttpContext(
            platform=platform,
            door_matcher=DoorMatcher([]),
            authentication=gate,
            app=Starlette(routes=[Route("/", endpoint, methods=["POST"])]),
            counters=RequestCounters(),
        )
        async with serve(context, "127.0.0.1", 0, grace_s=1.0) as listening:
            logs = ReplicaLogs(path / "logs")
            found.append(Served(listening.url, loop, platform, store, logs))
            is_up.set()
            await is_over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[listen()])
    thread.start()
    try:
        assert is_up.wait(20)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join(20)
        loop.close()
        database.close()
