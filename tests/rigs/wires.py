"""A gateway on a loopback socket, and raw bytes to and from it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import uvloop
from fake_services import FakeKeys
from gateway_fakes import FakePlatform
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from coldspark.doors.native.invocations import NativeDoor
from coldspark.doors.openai.invocations import OpenAIDoor
from coldspark.http.auth.authentication import Authentication
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.context import HttpContext, HttpLimits
from coldspark.http.counters import RequestCounters
from coldspark.http.door_match import DoorMatcher
from coldspark.http.server import serve
from coldspark.platform.ports import ApiKeys

T = TypeVar("T")
INVOKE = b"POST /v1/endpoints/churn/invoke HTTP/1.1\r\nhost: localhost\r\n"


def run(main: Coroutine[object, object, T]) -> T:
    """Run a test on the loop that the server uses, within 20 seconds."""

    async def bounded() -> T:
        async with asyncio.timeout(20):
            return await main

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


async def _hello(request: Request) -> Response:
    body = await request.body()
    return PlainTextResponse(f"app {request.method} {request.url.path} {len(body)}")


def small_app() -> ASGIApp:
    """Return an app that says what it was asked."""
    methods = ["GET", "POST"]
    return Starlette(routes=[Route("/{path:path}", _hello, methods=methods)])


def context(
    platform: FakePlatform,
    *,
    keys: ApiKeys | None = None,
    bounds: HttpLimits | None = None,
    app: ASGIApp | None = None,
) -> HttpContext:
    """Return a gateway with the native and the OpenAI door."""
    return HttpContext(
        platform=platform,
        door_matcher=DoorMatcher([NativeDoor(), OpenAIDoor()]),
        authentication=Authentication(Authenticator(keys or FakeKeys())),
        app=app or small_app(),
        counters=RequestCounters(),
        limits=bounds or HttpLimits(),
    )


@dataclass
class Answer:
    """A response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    trailers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)


class Client:
    """A connection that sends what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read a status line and headers."""
        line = await self.reader.readline()
        if not line:
            raise EOFError
        return int(line.split()[1]), await self.fields()

    async def fields(self) -> dict[str, str]:
        """Read header lines up to the empty one."""
        found: dict[str, str] = {}
        while (line := await self.reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").rstrip("\r\n").partition(": ")
            assert name not in found or name == "set-cookie", f"{name} twice"
            found[name.lower()] = value
        return found

    async def answer(self, method: str = "POST") -> Answer:
        """Read a whole response."""
        status, headers = await self.head()
        if status == 100:
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return await self._chunked(status, headers)
        if method == "HEAD" or status in (204, 304):
            return Answer(status, headers, b"")
        if "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return Answer(status, headers, body)

    async def chunk(self) -> bytes:
        """Read one chunk; the last one is empty."""
        size = int((await self.reader.readline()).strip(), 16)
        if size == 0:
            return b""
        data = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return data

    async def _chunked(self, status: int, headers: dict[str, str]) -> Answer:
        chunks: list[bytes] = []
        while data := await self.chunk():
            chunks.append(data)
        trailers = await self.fields()
        return Answer(status, headers, b"".join(chunks), trailers, chunks)

    async def is_closed(self) -> bool:
        """Wait for the other side's end; nothing else may come."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


@dataclass
class Wired:
    """A running gateway."""

    context: HttpContext
    port: int
    clients: list[Client] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def connect(self, *, receive_buffer: int | None = None) -> Client:
        """Open a connection."""
        handle = socket.socket()
        if receive_buffer is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        handle.setblocking(False)
        await asyncio.get_running_loop().sock_connect(handle, ("127.0.0.1", self.port))
        client = Client(*await asyncio.open_connection(sock=handle, limit=2**20))
        self.clients.append(client)
        return client


@asynccontextmanager
async def gateway(context: HttpContext, *, grace_s: float = 0.0) -> AsyncIterator[Wired]:
    """Serve on a free port."""
    async with serve(context, "127.0.0.1", 0, grace_s=grace_s) as listening:
        wired = Wired(context, listening.port)
        try:
            yield wired
        finally:
            for client in wired.clients:
                client.close()
