"""The S3 door over TCP, on the gateway's own server in a thread, with real buckets on this disk."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from fake_services import FakeKeys
from gateway_fakes import FakePlatform
from starlette.applications import Starlette
from xml_model import problems

from coldspark import clock
from coldspark.database.database import Database
from coldspark.doors.aws.s3.bucket_names import ReservedNames
from coldspark.doors.aws.s3.routes import with_s3
from coldspark.http.auth.authentication import Authentication
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.context import HttpContext
from coldspark.http.counters import RequestCounters
from coldspark.http.door_match import DoorMatcher
from coldspark.http.server import serve
from coldspark.objects.local_buckets import LocalBuckets
from coldspark.platform.ports import Key
from coldspark.server.doors import DOORS

KEY = Key(id="CSKEY", name="me", scopes=("deploy",), created_ms=1)


@dataclass
class Door:
    """A running door."""

    url: str
    root: Path
    own: LocalBuckets

    def client(self, *, key: str = "CSKEY", secret: str | None = None, **config: Any) -> Any:
        """Return boto3's client, unmodified."""
        made = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret or f"secret of {key}",
            config=Config(retries={"total_max_attempts": 1}, **config),
        )
        made.meta.events.register("after-call.s3", _check)
        return made

    def files(self) -> list[Path]:
        """Return all files that hold bytes, or begin to."""
        return [path for path in (self.root / "buckets").rglob("*") if path.is_file()]


@contextmanager
def listening(root: Path, keys: Iterable[Key] = ()) -> Iterator[Door]:
    """Serve the door over a data directory; without keys, everybody is let in."""
    found: list[Door] = []
    is_up, is_over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def listen() -> None:
        database = Database.open(root / "coldspark.db")
        own = LocalBuckets(database, root / "buckets", clock.wall_ms)
        await own.open()
        gate = Authentication(Authenticator(FakeKeys(keys)))
        context = HttpContext(
            platform=FakePlatform(),
            door_matcher=DoorMatcher([]),
            authentication=gate,
            app=with_s3(own, gate, Starlette(), ReservedNames(DOORS.reserved_names)),
            counters=RequestCounters(),
        )
        try:
            async with serve(context, "127.0.0.1", 0, grace_s=1.0) as where:
                found.append(Door(where.url, root, own))
                is_up.set()
                await is_over.wait()
        finally:
            database.close()

    thread = threading.Thread(target=loop.run_until_complete, args=[listen()])
    thread.start()
    try:
        assert is_up.wait(10)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(is_over.set)
        thread.join(10)
        loop.close()


def _check(http_response: Any, model: Any, **_: object) -> None:
    """Hold one answer against the service model: a boto3 event handler."""
    assert http_response.headers["x-amz-request-id"], model.name
    if http_response.status_code < 300 and not model.has_streaming_output:
        assert problems(model, http_response.content) == []


def told(error: ClientError) -> tuple[int, str]:
    """Return status and code of what boto3 raised."""
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status, error.response["Error"]["Code"]
