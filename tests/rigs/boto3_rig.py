"""boto3 as it comes, pointed at the AWS door: in this process, or over TCP at the real gateway.

Every answer that a client reads is also held against botocore's own model: boto3 itself would drop
what it does not know, and overlook what is missing.
"""

import asyncio
import io
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from aws_door import BASE_URL, Door
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from fake_services import FakeDocuments, FakeKeys, Rig
from sagemaker_fakes import AnsweringPlatform
from service_model import error_problems, problems
from starlette.testclient import TestClient

from coldspark.doors.aws.sagemaker.runtime.door import SageMakerDoor
from coldspark.http.auth.authentication import Authentication
from coldspark.http.context import HttpContext
from coldspark.http.counters import RequestCounters
from coldspark.http.door_match import DoorMatcher
from coldspark.http.server import serve
from coldspark.platform.ports import Key

WAYS = ("in-process", "tcp")

_SESSION = boto3.Session(
    aws_access_key_id="ANYKEY", aws_secret_access_key="any", region_name="us-east-1"
)


@dataclass
class Aws:
    """A door, and the two clients that boto3 has for it."""

    door: Door
    url: str
    is_local: bool

    def client(
        self,
        service: str = "sagemaker",
        *,
        key: str = "ANYKEY",
        secret: str | None = None,
        region: str = "us-east-1",
        attempts: int = 1,
        **config: Any,
    ) -> Any:
        """Return a client of boto3's, unmodified; ``attempts`` is how often it sends at most."""
        client = _SESSION.client(
            service,
            endpoint_url=self.url,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key=secret or f"secret of {key}",
            config=Config(retries={"mode": "standard", "total_max_attempts": attempts}, **config),
        )
        if self.is_local:
            client.meta.events.register("before-send", self._send_here)
        return judged(client, service)

    @property
    def platform(self) -> AnsweringPlatform:
        """Return what runs behind the door."""
        return self.door.platform

    @property
    def documents(self) -> FakeDocuments:
        """Return what the door keeps."""
        return self.door.documents

    def _send_here(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Answer without a socket: botocore sends a request only if no hook answers it."""
        headers = {name: _text(value) for name, value in request.headers.items()}
        response = TestClient(self.door.app, base_url=BASE_URL).request(
            request.method, request.url, content=request.body, headers=headers
        )
        raw = _Raw(response.content)
        return AWSResponse(request.url, response.status_code, dict(response.headers), raw)


def judged(client: Any, service: str) -> Any:
    """Hold every answer that a client reads against botocore's own model."""
    client.meta.events.register(f"after-call.{service}", _check)
    return client


class _Raw(io.BytesIO):
    """What botocore reads a response from."""

    def stream(self, **_: object) -> Iterator[bytes]:
        """Yield the whole body, as urllib3's response does in pieces."""
        yield self.read()


@contextmanager
def reached(way: str, keys: Iterable[Key] = ()) -> Iterator[Aws]:
    """Reach a fresh door in one of ``WAYS``."""
    door = Door(keys)
    if way == "in-process":
        yield Aws(door, BASE_URL, is_local=True)
        return
    with _listening(door) as url:
        yield Aws(door, url, is_local=False)


@contextmanager
def _listening(door: Door) -> Iterator[str]:
    """Serve a door on the gateway's own server, in a thread with a loop of its own."""
    context = HttpContext(
        platform=door.platform,
        door_matcher=DoorMatcher([SageMakerDoor()]),
        authentication=Authentication(door.authenticator),
        app=door.app,
        counters=RequestCounters(),
    )
    with _serving(context) as url:
        yield url


@contextmanager
def served(keys: Iterable[Key] = ()) -> Iterator[str]:
    """Serve every door on the gateway's own server, over fakes; yield the address."""
    context = Rig(keys=FakeKeys(keys)).context()
    with _serving(context) as url:
        yield url


@contextmanager
def _serving(context: HttpContext) -> Iterator[str]:
    found: list[str] = []
    is_up, is_over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def listen() -> None:
        async with serve(context, "127.0.0.1", 0, grace_s=1.0) as listening:
            found.append(listening.url)
            is_up.set()
            await is_over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=[listen()])
    thread.start()
    try:
        assert is_up.wait(10)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join(10)
        loop.close()


def refusal(error: ClientError) -> tuple[int, str, str]:
    """Return status, code and message of what boto3 raised."""
    told = error.response["Error"]
    return error.response["ResponseMetadata"]["HTTPStatusCode"], told["Code"], told["Message"]


def _check(http_response: Any, model: Any, **_: object) -> None:
    """Hold one answer against the service model: a boto3 event handler."""
    service = model.service_model.service_name
    assert http_response.headers["x-amzn-requestid"], model.name
    if http_response.status_code >= 400:
        assert error_problems(service, http_response) == []
    elif service == "sagemaker":
        assert http_response.headers["content-type"] == "application/x-amz-json-1.1"
        body = json.loads(http_response.content) if http_response.content else None
        assert problems(model.name, body) == []


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
