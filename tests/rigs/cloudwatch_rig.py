"""CloudWatch over TCP at the gateway's own server, for boto3 as it comes, in either protocol.

botocore from 1.44 on speaks JSON; told that the service knows nothing but query, the same client
speaks as all before it did. Every answer in JSON is held against botocore's model.
"""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore import serialize
from botocore.config import Config
from gateway_fakes import FakePlatform
from keepers import Kept, keeping
from service_model import error_problems, problems
from starlette.applications import Starlette
from starlette.routing import Route

from coldspark.database.documents import Documents
from coldspark.doors.aws.cloudwatch.operations import cloudwatch
from coldspark.doors.aws.protocol.routes import CBOR_PATH, aws_endpoint
from coldspark.http.auth.authentication import Authentication
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.context import HttpContext
from coldspark.http.counters import RequestCounters
from coldspark.http.door_match import DoorMatcher
from coldspark.http.server import serve

PROTOCOLS = ("json", "query")


class NoKeys:
    """Nobody has a key: whoever comes from this machine is let in."""

    def is_empty(self) -> bool:
        """Return True."""
        return True


@dataclass
class Watched:
    """What stands behind the door, and the way to it."""

    kept: Kept
    url: str
    loop: asyncio.AbstractEventLoop

    def client(self, protocol: str = "json", region: str = "us-east-1") -> Any:
        """Return boto3's client."""
        client = boto3.client(
            "cloudwatch",
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id="ANYKEY",
            aws_secret_access_key="any",
            config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
        )
        if protocol != "json":
            client.meta.service_model.__dict__["resolved_protocol"] = protocol
            client._serializer = serialize.create_serializer(protocol)
        client.meta.events.register("after-call.cloudwatch", _check)
        return client

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


def _check(http_response: Any, model: Any, **_: object) -> None:
    if http_response.headers["content-type"] == "text/xml":
        return
    assert http_response.headers["content-type"] == "application/x-amz-json-1.0"
    if http_response.status_code >= 400:
        assert error_problems("cloudwatch", http_response) == []
    else:
        body = json.loads(http_response.content) if http_response.content else None
        assert problems(model.name, body, service="cloudwatch") == []


@contextmanager
def watched(path: Path) -> Iterator[Watched]:
    """Serve CloudWatch in a thread with a loop of its own."""
    found: list[Watched] = []
    is_up, is_over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def listen() -> None:
        async with keeping(path) as kept:
            documents = Documents(kept.database, lambda: kept.now_ms)
            gate = Authentication(Authenticator(NoKeys()))
            service = cloudwatch(kept.metrics, kept.alarms, documents, lambda: kept.now_ms)
            door = aws_endpoint([service], gate.identify)
            routes = [Route(path, door, methods=["POST"]) for path in ("/", CBOR_PATH)]
            context = HttpContext(
                platform=FakePlatform(),
                door_matcher=DoorMatcher([]),
                authentication=gate,
                app=Starlette(routes=routes),
                counters=RequestCounters(),
            )
            async with serve(context, "127.0.0.1", 0, grace_s=1.0) as listening:
                found.append(Watched(kept, listening.url, loop))
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
