"""Notices: delivered at least once, signed, to nobody that may not be called."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from job_rig import ECHO, Measures

from coldspark import clock
from coldspark.database.database import Database
from coldspark.database.group_commit import GroupCommit
from coldspark.errors import InvalidRequest
from coldspark.jobs import webhook_client
from coldspark.jobs.outbox import WebhookEventTable
from coldspark.jobs.ports import JobCounter, WebhookEvent
from coldspark.jobs.webhook_client import (
    AddressPolicy,
    WebhookNotDelivered,
    check_url,
    signing_secret,
)
from coldspark.jobs.webhook_sender import WebhookSender

pytestmark = pytest.mark.seconds

SECRET = signing_secret(b"k" * 32)
LOOPBACK = AddressPolicy(allows_loopback=True)


@dataclass
class Receiver:
    """A small HTTP server that answers with the statuses it was given, then with 200."""

    statuses: list[int]
    url: str = ""
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(size))
        status = self.statuses.pop(0) if self.statuses else 200
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        self.came.set()


@asynccontextmanager
async def receiving(*statuses: int) -> AsyncIterator[Receiver]:
    """Listen on this machine."""
    receiver = Receiver(list(statuses))
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    receiver.url = f"http://127.0.0.1:{port}/hook?a=1"
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()


class _Heard(WebhookEventTable):
    """Notices that say when one is dropped."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, GroupCommit(database))
        self.dropped = asyncio.Event()

    async def drop(self, id: str) -> None:
        """Drop it, and say so."""
        await super().drop(id)
        self.dropped.set()


class Telling:
    """A notifier over a real database."""

    def __init__(self, path: Path, policy: AddressPolicy = LOOPBACK) -> None:
        self.database = Database.open(path / "coldspark.db")
        self.store = _Heard(self.database)
        self.measures = Measures()

        async def post(url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> int:
            return await webhook_client.post(url, headers, body, policy)

        self.notifier = WebhookSender(self.store, post, SECRET, self.measures)

    async def __aenter__(self) -> "Telling":
        self.notifier.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.notifier.close()
        self.database.close()

    async def tell(self, url: str, id: str = "n1") -> None:
        """Keep a notice and send it."""
        now_ms = clock.wall_ms()
        notice = WebhookEvent(
            id=id,
            endpoint=ECHO,
            url=url,
            headers=(("x-kind", "test"),),
            body=b'{"a": 1}',
            created_ms=now_ms,
            due_ms=now_ms,
        )
        await self.notifier.publish(notice)

    async def emptied(self) -> None:
        """Wait until nothing is left to tell."""
        async with asyncio.timeout(20):
            while await self.store.due(1):
                self.store.dropped.clear()
                await self.store.dropped.wait()


def test_a_notice_is_delivered_signed_and_then_forgotten(tmp_path: Path) -> None:
    """A receiver can check who sent it, and when."""

    async def play() -> None:
        async with receiving() as receiver, Telling(tmp_path) as telling:
            await telling.tell(receiver.url)
            await telling.emptied()

            (head,), (body,) = receiver.heads, receiver.bodies
            assert head.startswith("POST /hook?a=1 HTTP/1.1\r\n")
            assert "x-kind: test\r\n" in head
            signed = head.partition("X-Coldspark-Signature: ")[2].partition("\r\n")[0]
            at, _, mac = signed.partition(",v1=")
            wanted = hmac.new(SECRET.encode(), f"{at[2:]}.".encode() + body, hashlib.sha256)
            assert mac == wanted.hexdigest()
            assert abs(int(at[2:]) - clock.wall_ms() // 1_000) < 60

    asyncio.run(play())


def test_a_receiver_that_fails_is_tried_again(tmp_path: Path) -> None:
    """Until it takes the notice: the same one, with the same body."""

    async def play() -> None:
        async with receiving(503, 429) as receiver, Telling(tmp_path) as telling:
            await telling.tell(receiver.url)
            await telling.emptied()
            assert receiver.bodies == [b'{"a": 1}'] * 3
            assert telling.measures.counted == []

    asyncio.run(play())


def test_a_receiver_that_refuses_is_not_asked_again(tmp_path: Path) -> None:
    """404 will be 404: it is counted, and given up."""

    async def play() -> None:
        async with receiving(404) as receiver, Telling(tmp_path) as telling:
            await telling.tell(receiver.url)
            await telling.emptied()
            assert len(receiver.bodies) == 1
            assert telling.measures.counted == [JobCounter.NOTICE_FAILED]

    asyncio.run(play())


def test_a_notice_that_a_killed_server_left_is_told_by_the_next(tmp_path: Path) -> None:
    """It is on disk until somebody took it."""

    async def play() -> None:
        async with receiving() as receiver:
            left = Telling(tmp_path)
            now_ms = clock.wall_ms()
            await left.store.add(
                WebhookEvent(
                    id="n1",
                    endpoint=ECHO,
                    url=receiver.url,
                    body=b"left",
                    created_ms=now_ms,
                    due_ms=now_ms,
                )
            )
            left.database.close()
            async with Telling(tmp_path) as telling:
                await telling.emptied()
            assert receiver.bodies == [b"left"]

    asyncio.run(play())


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[fd00::1]"])
def test_private_addresses_are_not_called_unless_allowed(host: str) -> None:
    """A server that others can call must not be their way past a firewall."""
    with pytest.raises(InvalidRequest, match="allow_private"):
        check_url(f"http://{host}/hook", AddressPolicy())
    check_url(f"http://{host}/hook", AddressPolicy(allows_private=True))


def test_a_name_is_judged_by_the_address_that_it_leads_to() -> None:
    """localhost is a name like any other."""

    async def play() -> None:
        check_url("http://localhost:1/hook", AddressPolicy())
        with pytest.raises(WebhookNotDelivered, match="not a public address"):
            await webhook_client.post("http://localhost:1/hook", (), b"", AddressPolicy())

    asyncio.run(play())


@pytest.mark.parametrize("url", ["ftp://a/", "http://", "http://u:p@a/", "http://a/\u00e4", "a"])
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    """With the value."""
    with pytest.raises(InvalidRequest):
        check_url(url, LOOPBACK)
