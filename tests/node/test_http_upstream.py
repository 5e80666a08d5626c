"""Calls to a replica's own HTTP server, against a server that says exactly what a test wants."""

import asyncio

import pytest
from http_rig import Answers, Rig, Visit, ended, play, request

from coldspark.node.transport.health_check import status, wait_until_healthy
from coldspark.node.transport.http_upstream import request_head
from coldspark.spec.types import FailureKind, RequestId


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


def test_only_what_the_caller_said_is_sent() -> None:
    """Host, type, length and the invocation's own headers; hop-by-hop ones are dropped."""
    headers = (("x-a", "b"), ("connection", "close"), ("host", "evil"), ("x-b", "1\r\nx-c: 2"))

    text = request_head(request(path="/v1/a b?c=d", headers=headers), "/v1/a b?c=d", 80).decode()

    assert text == (
        "POST /v1/a%20b?c=d HTTP/1.1\r\nhost: 127.0.0.1:80\r\ncontent-type: text/plain\r\n"
        "content-length: 2\r\nx-a: b\r\nx-b: 1  x-c: 2\r\n\r\n"
    )
    assert "content-length" not in request_head(request(method="GET", body=b""), "/", 80).decode()


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
            await wait_until_healthy(rig.port, "/ping")
            assert rig.connections == 3
        assert await status(rig.port, "/ping") is None

    play(scenario)
