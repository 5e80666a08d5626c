"""Calls to a replica's own HTTP server, against a server that says exactly what a test wants."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from msgspec import structs

from coldspark.core.types import EndpointName, Failure, FailureKind, RequestId
from coldspark.runtime.body_stream import HELD_BYTES_MAX, BodyStream
from coldspark.runtime.health import status, until_healthy
from coldspark.runtime.http_upstream import HttpUpstream, head
from coldspark.runtime.ports import Invocation
from coldspark.runtime.tasks import Tasks

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


async def echo(visit: Visit) -> None:
    """Answer every request with its body, for as long as the connection lives."""
    while True:
        _, body = await visit.request()
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def test_calls_share_a_kept_connection() -> None:
    """A reply with its length comes whole, and the next call finds the connection open."""

    async def scenario() -> None:
        async with Rig(echo) as rig:
            for number in range(5):
                sink = await rig.call(request(body=b"%d" % number))
                assert (sink.heard, sink.status, sink.body) == (["reply"], 200, b"%d" % number)
            assert rig.connections == 1
            assert rig.upstream.open_calls == 0

    play(scenario)


def streamed(body: BodyStream, name: str = "q") -> Invocation:
    """Return a request whose body is still coming."""
    return structs.replace(request(name, body=b""), stream=body)


def test_a_streamed_body_is_sent_as_it_comes_with_its_length_if_that_is_known() -> None:
    """Content-Length where the caller said it, chunks where not."""

    async def serve(visit: Visit) -> None:
        head = (await visit.reader.readuntil(b"\r\n\r\n")).decode()
        if "transfer-encoding: chunked\r\n" in head:
            assert "content-length" not in head
            got = await visit.reader.readuntil(b"0\r\n\r\n")
        else:
            assert "content-length: 6\r\n" in head
            got = await visit.reader.readexactly(6)
        await visit.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(got), got))

    async def scenario() -> None:
        async with Rig(serve) as rig:
            for size, expected in ((6, b"abcdef"), (None, b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")):
                body, sink = BodyStream(size, 100, lambda: None), Answers()
                rig.upstream.call(streamed(body), sink)
                body.feed(b"abc")
                await asyncio.sleep(0)
                body.feed(b"def")
                body.end()
                await ended(sink)
                assert sink.body in (expected, b"6\r\nabcdef\r\n0\r\n\r\n")

    play(scenario)


def test_a_server_that_does_not_read_holds_the_feeder_up() -> None:
    """The stream stays full until the server reads; then all of it arrives."""
    size = 64 * HELD_BYTES_MAX
    reads = asyncio.Event()
    waits = asyncio.Event()

    async def serve(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        await reads.wait()
        got = len(await visit.reader.readexactly(size))
        await visit.say(f"HTTP/1.1 200 OK\r\nContent-Length: {len(str(got))}\r\n\r\n{got}")

    async def scenario() -> None:
        async with Rig(serve) as rig:
            room = asyncio.Event()
            body, sink = BodyStream(size, size, room.set), Answers()
            rig.upstream.call(streamed(body), sink)
            feeding = asyncio.ensure_future(feed(body, room))
            await waits.wait()
            reads.set()
            await feeding
            await ended(sink)
            assert sink.body == str(size).encode()

    async def feed(body: BodyStream, room: asyncio.Event) -> None:
        while body.fed_bytes < size:
            body.feed(b"x" * HELD_BYTES_MAX)
            if body.is_full:
                room.clear()
                waits.set()
                await room.wait()
        body.end()

    play(scenario)


def test_a_reply_that_comes_before_the_body_is_sent_ends_the_connection() -> None:
    """The rest of the body is not sent, and no other call meets it."""

    async def serve(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        await visit.say("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await visit.reader.read()

    async def scenario() -> None:
        async with Rig(serve) as rig:
            for _ in range(2):
                body, sink = BodyStream(6, 100, lambda: None), Answers()
                body.feed(b"abc")
                rig.upstream.call(streamed(body), sink)
                await ended(sink)
                body.feed(b"def")
                body.end()
                assert (sink.status, sink.body) == (403, b"no")
            assert rig.connections == 2

    play(scenario)


def test_a_streamed_body_is_never_sent_twice() -> None:
    """It goes out on a fresh connection; one that breaks unanswered has failed, and says so."""

    async def serve(visit: Visit) -> None:
        text, _ = await visit.request()
        if visit.number == 1:
            await visit.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await visit.reader.read()
        assert "content-length: 6\r\n" in text

    async def scenario() -> None:
        async with Rig(serve) as rig:
            await rig.call(request(body=b"kept open"))
            body, sink = BodyStream(6, 100, lambda: None), Answers()
            rig.upstream.call(streamed(body), sink)
            body.feed(b"abcdef")
            await ended(sink)
            assert sink.failure is not None
            assert sink.failure.kind is FailureKind.HANDLER_FAILED
            assert rig.connections == 2

    play(scenario)


def test_only_what_the_caller_said_is_sent() -> None:
    """Host, type, length and the invocation's own headers; hop-by-hop ones are dropped."""
    headers = (("x-a", "b"), ("connection", "close"), ("host", "evil"), ("x-b", "1\r\nx-c: 2"))

    text = head(request(path="/v1/a b?c=d", headers=headers), "/v1/a b?c=d", 80).decode()

    assert text == (
        "POST /v1/a%20b?c=d HTTP/1.1\r\nhost: 127.0.0.1:80\r\ncontent-type: text/plain\r\n"
        "content-length: 2\r\nx-a: b\r\nx-b: 1  x-c: 2\r\n\r\n"
    )
    assert "content-length" not in head(request(method="GET", body=b""), "/", 80).decode()


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            b"abcde",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + "x" * 2_000_000, b"x" * 2_000_000),
    ],
    ids=["chunked", "until close", "large"],
)
def test_other_replies_are_streamed(reply: str, body: bytes) -> None:
    """Chunked, ended by the connection's end, or longer than 1 MiB."""

    async def serve(visit: Visit) -> None:
        await visit.request()
        await visit.say(reply)

    async def scenario() -> None:
        async with Rig(serve) as rig:
            sink = await rig.call(request())
            assert sink.heard == ["head", "end"]
            assert sink.body == body
            assert not {"content-length", "transfer-encoding"} & dict(sink.headers).keys()

    play(scenario)


def test_interim_and_empty_replies() -> None:
    """A 1xx is no reply; 204 and HEAD have no body whatever their length says."""

    async def serve(visit: Visit) -> None:
        _, body = await visit.request()
        interim = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        rest = {
            b"204": "HTTP/1.1 204 No Content\r\nx-a: b\r\n\r\n",
            b"": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx-a: b\r\n\r\n",
        }
        await visit.say(interim + rest[body])

    async def scenario() -> None:
        async with Rig(serve) as rig:
            for asked in (request(body=b"204"), request(method="HEAD", body=b"")):
                sink = await rig.call(asked)
                assert (sink.heard, sink.body) == (["reply"], b"")
                assert sink.headers == [("x-a", "b")]

    play(scenario)


def test_a_stale_connection_is_tried_once_more() -> None:
    """A kept connection that the server closed meanwhile costs the caller nothing."""

    async def serve(visit: Visit) -> None:
        await visit.request()
        await visit.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        if visit.number == 1:
            # Take the next request, and close instead of answering it.
            await visit.reader.readexactly(1)
            return
        await visit.request()

    async def scenario() -> None:
        async with Rig(serve) as rig:
            assert (await rig.call(request())).heard == ["reply"]
            assert (await rig.call(request())).heard == ["reply"]
            assert rig.connections == 2

    play(scenario)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "in the middle of the reply"),
        ("", "before it replied"),
        ("SSH-2.0-OpenSSH_9\r\n", "no HTTP reply"),
    ],
)
def test_a_broken_reply_fails_the_call_and_says_how(reply: str, words: str) -> None:
    """The server lives, so it is the handler's failure."""

    async def serve(visit: Visit) -> None:
        await visit.request()
        await visit.say(reply)

    async def scenario() -> None:
        async with Rig(serve) as rig:
            sink = await rig.call(request())
            assert sink.heard == ["failure"]
            assert sink.failure is not None
            assert sink.failure.kind is FailureKind.HANDLER_FAILED
            assert words in sink.failure.message

    play(scenario)


def test_nobody_listening_is_said_with_the_port() -> None:
    """A server that closed its port while its process lives."""

    async def scenario() -> None:
        async with Rig(echo) as rig:
            rig._server.close()
            await rig._server.wait_closed()
            sink = await rig.call(request())
            assert sink.failure is not None
            assert str(rig.port) in sink.failure.message

    play(scenario)


def test_void_silences_a_broken_call() -> None:
    """The process died: its exit speaks, and the broken connection does not."""

    async def serve(visit: Visit) -> None:
        await visit.request()

    async def scenario() -> None:
        async with Rig(serve) as rig:
            sink = Answers()
            rig.upstream.call(request(), sink)
            # The broken connection is known once the verdict waits, which nothing else tells.
            while not rig.upstream._timers:  # noqa: ASYNC110
                await asyncio.sleep(0)
            rig.upstream.void()
            assert sink.heard == []
            assert rig.upstream.open_calls == 0

    play(scenario)


def test_an_abort_hangs_up_and_says_cancelled() -> None:
    """The server sees its connection end; the sink hears one word."""
    gone = asyncio.Event()

    async def serve(visit: Visit) -> None:
        await visit.request()
        await visit.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        try:
            await visit.reader.read()
        finally:
            gone.set()

    async def scenario() -> None:
        async with Rig(serve) as rig:
            sink = Answers()
            rig.upstream.call(request(), sink)
            await sink.begun.wait()
            rig.upstream.abort(RequestId("q"))
            await ended(sink)
            await gone.wait()
            assert sink.heard == ["head", "failure"]
            assert sink.failure is not None
            assert sink.failure.kind is FailureKind.CANCELLED

    play(scenario)


def test_an_abort_before_the_connection_is_made() -> None:
    """Nothing is sent for a caller who is gone already."""

    async def scenario() -> None:
        async with Rig(echo) as rig:
            sink = Answers()
            rig.upstream.call(request(), sink)
            rig.upstream.abort(RequestId("q"))
            await ended(sink)
            assert sink.failure is not None
            assert sink.failure.kind is FailureKind.CANCELLED

    play(scenario)


def test_a_paused_call_makes_the_server_wait() -> None:
    """Back-pressure reaches the server's own socket, and resuming brings all the rest."""
    size = 32 * 1024 * 1024
    written = 0

    async def serve(visit: Visit) -> None:
        nonlocal written
        await visit.request()
        await visit.say(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
        for _ in range(32):
            await visit.say(b"x" * (size // 32))
            written += size // 32

    async def scenario() -> None:
        async with Rig(serve) as rig:
            sink = Answers()
            flow = rig.upstream.call(request(), sink)
            await sink.begun.wait()
            flow.pause()
            flow.pause()
            before = -1
            while before != written:
                before = written
                await asyncio.sleep(0.05)
            assert written < size
            flow.resume()
            await ended(sink)
            assert len(sink.body) == size

    play(scenario)


def test_health_waits_for_200() -> None:
    """Refused, 503 and 204 are not yet up."""
    replies = iter(("503 Busy", "204 Loading", "200 OK"))

    async def serve(visit: Visit) -> None:
        await visit.request()
        await visit.say(f"HTTP/1.1 {next(replies)}\r\ncontent-length: 0\r\n\r\n")

    async def scenario() -> None:
        async with Rig(serve) as rig:
            await until_healthy(rig.port, "/ping")
            assert rig.connections == 3
        assert await status(rig.port, "/ping") is None

    play(scenario)
