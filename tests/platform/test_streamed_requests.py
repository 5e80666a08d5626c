"""Bodies that are sent to a replica's own HTTP server while they come."""

import asyncio

from http_rig import Answers, Rig, Visit, ended, play, request
from msgspec import structs

from coldspark.platform.body_stream import HELD_BYTES_MAX, BodyStream
from coldspark.platform.ports import Invocation
from coldspark.spec.types import FailureKind


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
