"""A server that says exactly what a test wants, and an upstream that calls it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from coldspark.node.transport.http_upstream import HttpUpstream
from coldspark.platform.ports import Invocation
from coldspark.spec.types import EndpointName, Failure, RequestId
from coldspark.tasks import Tasks

Serve = Callable[["Visit"], Awaitable[None]]


class Visit:
    """One connection as the server sees it."""

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[str, bytes]:
        """Read one request: its head, and its body by Content-Length."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        lines = [line for line in text.split("\r\n") if line.startswith("content-length: ")]
        size = int(lines[0].split(": ")[1]) if lines else 0
        return text, await self.reader.readexactly(size)

    async def say(self, text: str | bytes) -> None:
        """Write, and wait until the socket took it."""
        self.writer.write(text.encode() if isinstance(text, str) else text)
        await self.writer.drain()


class Answers:
    """A ReplySink whose end can be awaited."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""
        self.failure: Failure | None = None
        self.over = asyncio.Event()
        self.begun = asyncio.Event()

    def on_waited(self, waited_us: int) -> None:
        raise AssertionError("an HTTP server batches on its own")

    def on_reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, handler_us: int | None
    ) -> None:
        self.heard.append("reply")
        self.status, self.headers, self.body = status, list(headers), body
        self.over.set()

    def on_head(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        self.heard.append("head")
        self.status, self.headers = status, list(headers)

    def on_chunk(self, chunk: bytes) -> None:
        self.body += chunk
        self.begun.set()

    def on_end(self, handler_us: int | None) -> None:
        self.heard.append("end")
        self.over.set()

    def on_failure(self, failure: Failure) -> None:
        self.heard.append("failure")
        self.failure = failure
        self.over.set()


def request(
    name: str = "q",
    *,
    method: str = "POST",
    path: str | None = None,
    body: bytes = b"in",
    headers: tuple[tuple[str, str], ...] = (),
) -> Invocation:
    """Return an invocation."""
    return Invocation(
        endpoint=EndpointName("e"),
        request=RequestId(name),
        method=method,
        path=path,
        body=body,
        headers=headers,
        content_type="text/plain",
        started_s=0.0,
    )


class Rig:
    """A server that runs ``serve`` for every connection, and an upstream that calls it."""

    def __init__(self, serve: Serve, concurrency: int = 2) -> None:
        self._serve = serve
        self._concurrency = concurrency
        self._tasks = Tasks()
        self.connections = 0

    async def __aenter__(self) -> "Rig":
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.upstream = HttpUpstream(
            self.port, "/invocations", self._concurrency, self._tasks.spawn
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.upstream.void()
        self._server.close()
        await self._tasks.close(5)

    async def call(self, invocation: Invocation) -> Answers:
        sink = Answers()
        self.upstream.call(invocation, sink)
        await ended(sink)
        return sink

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._serve(Visit(self.connections, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def ended(sink: Answers) -> None:
    """Wait for the end of a call."""
    async with asyncio.timeout(10):
        await sink.over.wait()


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario with a deadline."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())
