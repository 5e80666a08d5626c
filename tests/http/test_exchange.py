"""An invocation over HTTP: what the platform is given, and what the caller gets back."""

import asyncio
import re
import uuid

import pytest
from gateway_fakes import COLD, FakePlatform, FakeTicket, definition, fail, hold, receipt, view
from wires import INVOKE, context, gateway, run

from coldspark.platform.ports import Invocation, Sink
from coldspark.spec.types import FailureKind


def post(body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in headers)
    return INVOKE + lines + b"content-length: %d\r\n\r\n" % len(body) + body


def test_a_reply_tells_its_cost_time_replica_and_request() -> None:
    """Every whole reply carries the platform's own headers."""

    async def main() -> None:
        platform = FakePlatform()
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            client.send(post(b'{"x": 1}', b"content-type: application/json"))
            answer = await client.answer()
        assert answer.status == 200
        assert answer.body == b'{"x": 1}'
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-coldspark-cost"] == "0.000012345"
        assert answer.headers["x-coldspark-cold"] == "false"
        assert answer.headers["x-coldspark-replica"] == "r-1"
        identity = uuid.UUID(answer.headers["x-coldspark-request-id"])
        assert identity.version == 7
        assert str(identity) == platform.invocations[0].request
        assert answer.headers["server-timing"] == (
            "received;dur=0.012, queued;dur=0.008, inferred;dur=1.5, returned;dur=0.03, "
            "unaccounted;dur=0.15, total;dur=1.7"
        )
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", answer.headers["date"])

    run(main())


def test_the_platform_gets_the_request_without_credentials_or_hop_by_hop_headers() -> None:
    """A replica sees the caller's headers, but neither the key nor the connection's."""

    async def main() -> None:
        platform = FakePlatform()
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            client.send(
                post(
                    b"x",
                    b"Content-Type: text/plain",
                    b"Accept: text/csv",
                    b"Authorization: Bearer csk_secret",
                    b"X-Api-Key: secret",
                    b"X-Coldspark-Path: /forged",
                    b"Connection: keep-alive, x-hop",
                    b"X-Hop: 1",
                    b"X-Trace: abc",
                )
            )
            await client.answer()
        (invocation,) = platform.invocations
        assert invocation.endpoint == "churn"
        assert invocation.path is None
        assert invocation.content_type == "text/plain"
        assert invocation.accept == "text/csv"
        assert invocation.headers == (("x-trace", "abc"),)

    run(main())


def test_any_path_and_method_passes_through_to_a_command() -> None:
    """What follows /invoke is the path on the command's own server, with its query."""

    async def main() -> None:
        platform = FakePlatform()
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            client.send(
                b"GET /v1/endpoints/web/invoke/a%20b/c?d=e HTTP/1.1\r\nhost: localhost\r\n\r\n"
            )
            await client.answer()
        (invocation,) = platform.invocations
        assert (invocation.method, invocation.path) == ("GET", "/a%20b/c?d=e")

    run(main())


def test_head_gets_the_length_and_no_body() -> None:
    """A reply to HEAD has no body; the next reply is not misread."""

    async def main() -> None:
        def script(invocation: Invocation, sink: Sink) -> None:
            sink.reply(200, [], b"hello", receipt(invocation))

        async with gateway(context(FakePlatform(script))) as wired:
            client = await wired.connect()
            request = b" /v1/endpoints/web/invoke/x HTTP/1.1\r\nhost: localhost\r\n\r\n"
            client.send(b"HEAD" + request + b"GET" + request)
            first = await client.answer("HEAD")
            second = await client.answer("GET")
        assert first.headers["content-length"] == "5"
        assert second.body == b"hello"

    run(main())


def test_a_stream_ends_in_trailers_with_its_cost() -> None:
    """Chunks leave as they come; cost and time follow as announced trailers."""

    async def main() -> None:
        platform = FakePlatform(hold)
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            ticket = await submitted(platform, client, post(b""))
            ticket.sink.begin(200, [("content-type", "text/event-stream")])
            status, headers = await client.head()
            ticket.sink.write(b"data: 1\n\n")
            first = await client.chunk()
            ticket.sink.write(b"")
            ticket.sink.write(b"data: 2\n\n")
            second = await client.chunk()
            ticket.sink.end(receipt(ticket.invocation, waterfall=COLD))
            assert await client.chunk() == b""
            trailers = await client.fields()
            client.send(post(b""))
            await until_tickets(platform, 2)
        assert status == 200
        assert headers["transfer-encoding"] == "chunked"
        assert (first, second) == (b"data: 1\n\n", b"data: 2\n\n")
        assert set(headers["trailer"].split(", ")) == set(trailers)
        assert trailers["x-coldspark-cost"] == "0.000012345"
        assert trailers["x-coldspark-cold"] == "true"
        assert "booted;dur=14.0" in trailers["server-timing"]

    run(main())


async def submitted(platform: FakePlatform, client: object, request: bytes) -> FakeTicket:
    """Send a request and wait until the platform has it."""
    client.send(request)  # type: ignore[attr-defined]
    await until_tickets(platform, len(platform.tickets) + 1)
    return platform.tickets[-1]


async def until_tickets(platform: FakePlatform, count: int) -> None:
    """Wait until so many requests were submitted."""
    arrived = asyncio.Event()

    def check(_: FakeTicket) -> None:
        if len(platform.tickets) >= count:
            arrived.set()

    platform.on_submit = check
    if len(platform.tickets) < count:
        await arrived.wait()


def test_a_declared_length_is_kept_and_the_connection_lives_on() -> None:
    """A replica that declares Content-Length gets it passed on, without chunks."""

    async def main() -> None:
        def script(invocation: Invocation, sink: Sink) -> None:
            sink.begin(200, [("Content-Length", "6")])
            sink.write(b"abc")
            sink.write(b"def")
            sink.end(receipt(invocation))

        async with gateway(context(FakePlatform(script))) as wired:
            client = await wired.connect()
            client.send(post(b"") + post(b""))
            answers = [await client.answer(), await client.answer()]
        assert [answer.body for answer in answers] == [b"abcdef", b"abcdef"]
        assert "trailer" not in answers[0].headers

    run(main())


@pytest.mark.parametrize("pieces", [[b"abc"], [b"abcdef", b"gh"]])
def test_a_wrong_declared_length_breaks_the_connection(pieces: list[bytes]) -> None:
    """Too little or too much never reaches the next reply."""

    async def main() -> None:
        def script(invocation: Invocation, sink: Sink) -> None:
            sink.begin(200, [("content-length", "6")])
            for piece in pieces:
                sink.write(piece)
            sink.end(receipt(invocation))

        async with gateway(context(FakePlatform(script))) as wired:
            client = await wired.connect()
            client.send(post(b""))
            await client.head()
            body = await client.reader.read()
        assert body == b"".join(pieces)[:6]

    run(main())


def test_a_stream_that_fails_is_broken_off() -> None:
    """The caller gets the last words and a stream without an end, never a clean one."""

    async def main() -> None:
        def script(invocation: Invocation, sink: Sink) -> None:
            sink.begin(200, [("content-type", "text/event-stream")])
            sink.write(b"data: 1\n\n")
            fail(FailureKind.REPLICA_DIED, "killed by signal 9")(invocation, sink)

        async with gateway(context(FakePlatform(script))) as wired:
            client = await wired.connect()
            client.send(post(b""))
            await client.head()
            rest = await client.reader.read()
        assert b"event: error" in rest
        assert b"killed by signal 9" in rest
        assert not rest.endswith(b"0\r\n\r\n")

    run(main())


def test_an_old_client_gets_a_reset_from_a_broken_stream() -> None:
    """HTTP/1.0 reads until the end: a failure must not look like one."""

    async def main() -> None:
        platform = FakePlatform(hold)
        request = b"POST /v1/endpoints/churn/invoke HTTP/1.0\r\ncontent-length: 0\r\n\r\n"
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            ticket = await submitted(platform, client, request)
            ticket.sink.begin(200, [])
            ticket.sink.write(b"abc")
            await client.head()
            assert await client.reader.readexactly(3) == b"abc"
            fail(FailureKind.REPLICA_DIED)(ticket.invocation, ticket.sink)
            with pytest.raises(ConnectionResetError):
                await client.reader.read()

    run(main())


def test_an_old_client_reads_a_stream_until_the_end() -> None:
    """HTTP/1.0 knows no chunks."""

    async def main() -> None:
        def script(invocation: Invocation, sink: Sink) -> None:
            sink.begin(200, [])
            sink.write(b"abc")
            sink.write(b"def")
            sink.end(receipt(invocation))

        request = b"POST /v1/endpoints/churn/invoke HTTP/1.0\r\ncontent-length: 0\r\n\r\n"
        async with gateway(context(FakePlatform(script))) as wired:
            client = await wired.connect()
            client.send(request)
            answer = await client.answer()
        assert answer.body == b"abcdef"
        assert answer.headers["connection"] == "close"

    run(main())


def test_hanging_up_cancels_the_request() -> None:
    """The slot is freed and the cost stops; what still comes is dropped."""

    async def main() -> None:
        platform = FakePlatform(hold)
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            ticket = await submitted(platform, client, post(b"x"))
            cancelled = asyncio.Event()
            ticket.on_said = lambda word: cancelled.set()
            client.close()
            await cancelled.wait()
            assert ticket.said == ["cancel"]
            fail(FailureKind.CANCELLED)(ticket.invocation, ticket.sink)
            ticket.sink.reply(200, [], b"late", receipt(ticket.invocation))

    run(main())


def test_a_slow_reader_pauses_its_replica() -> None:
    """Back-pressure reaches the ticket, and lets go once the caller reads."""

    async def main() -> None:
        platform = FakePlatform(hold)
        async with gateway(context(platform)) as wired:
            client = await wired.connect(receive_buffer=4096)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            ticket = await submitted(platform, client, post(b""))
            said: asyncio.Queue[str] = asyncio.Queue()
            ticket.on_said = said.put_nowait
            ticket.sink.begin(200, [])
            ticket.sink.write(b"x" * 8_000_000)
            assert await said.get() == "pause"
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            status, _ = await client.head()
            assert len(await client.chunk()) == 8_000_000
            assert await said.get() == "resume"
            ticket.sink.end(receipt(ticket.invocation))
        assert status == 200

    run(main())


def test_failures_have_the_class_s_status_and_the_log() -> None:
    """A refusal is JSON with code, message, log and what to wait."""

    async def main() -> None:
        script = fail(
            FailureKind.QUEUE_FULL, "1000 requests wait", retry_after_s=1.2, log_tail=("a", "b")
        )
        async with gateway(context(FakePlatform(script))) as wired:
            client = await wired.connect()
            client.send(post(b""))
            answer = await client.answer()
        assert answer.status == 429
        assert answer.headers["retry-after"] == "2"
        assert answer.headers["x-coldspark-cost"] == "0.000012345"
        assert b'"code":"QueueFull"' in answer.body
        assert b'"log_tail":["a","b"]' in answer.body

    run(main())


def test_no_such_endpoint_is_404() -> None:
    """A failure without a receipt says that the endpoint does not exist."""

    async def main() -> None:
        from coldspark.spec.types import Failure

        def script(invocation: Invocation, sink: Sink) -> None:
            sink.fail(Failure(kind=FailureKind.NOT_FOUND, message="no 'churn'"), None)

        platform = FakePlatform(script)
        made = context(platform)
        async with gateway(made) as wired:
            client = await wired.connect()
            client.send(post(b""))
            answer = await client.answer()
        assert answer.status == 404
        assert b'"code":"NotFound"' in answer.body
        assert made.counters.requests == {("", 404): 1}

    run(main())


def test_a_bug_is_an_internal_error_and_the_server_goes_on() -> None:
    """One broken request answers 500 in the door's shape."""

    async def main() -> None:
        def script(invocation: Invocation, sink: Sink) -> None:
            if invocation.body:
                raise ZeroDivisionError
            sink.reply(200, [], b"fine", receipt(invocation))

        async with gateway(context(FakePlatform(script))) as wired:
            client = await wired.connect()
            client.send(post(b"x") + post(b""))
            answers = [await client.answer(), await client.answer()]
        assert [answer.status for answer in answers] == [500, 200]
        assert b'"code":"Internal"' in answers[0].body

    run(main())


def test_a_replica_cannot_write_headers_of_its_own_making() -> None:
    """Line ends are stripped, false names dropped, and the platform's words are its own."""

    async def main() -> None:
        def script(invocation: Invocation, sink: Sink) -> None:
            headers = [
                ("x-good", "1\r\nx-evil: 1\r\n\r\nbody"),
                ("bad name", "1"),
                ("transfer-encoding:chunked, x", "1"),
                ("Transfer-Encoding", "chunked"),
                ("Content-Length", "999"),
                ("X-Coldspark-Cost", "0.0"),
                ("Server-Timing", "lie;dur=1"),
                ("Connection", "x-hop"),
                ("X-Hop", "1"),
                ("X-Snow", "☃"),
                ("Set-Cookie", "a=1"),
                ("Set-Cookie", "b=2"),
            ]
            sink.reply(200, headers, b"ok", receipt(invocation))

        async with gateway(context(FakePlatform(script))) as wired:
            client = await wired.connect()
            client.send(post(b""))
            answer = await client.answer()
        assert answer.body == b"ok"
        assert "x-evil" not in answer.headers
        assert answer.headers["x-good"].startswith("1")
        assert answer.headers["x-coldspark-cost"] == "0.000012345"
        assert answer.headers["x-snow"] == "?"
        assert answer.headers["set-cookie"] == "b=2"
        names = set(answer.headers)
        assert not names & {
            "bad name",
            "transfer-encoding",
            "x-hop",
            "transfer-encoding:chunked, x",
        }

    run(main())


@pytest.mark.parametrize("status", [99, 101, 600, 1000])
def test_a_status_that_is_none_becomes_502(status: int) -> None:
    """Only final statuses leave."""

    async def main() -> None:
        def script(invocation: Invocation, sink: Sink) -> None:
            sink.reply(status, [], b"ok", receipt(invocation))

        async with gateway(context(FakePlatform(script))) as wired:
            client = await wired.connect()
            client.send(post(b""))
            assert (await client.answer()).status == 502

    run(main())


def test_the_tally_counts_answers_and_wakes() -> None:
    """Requests by endpoint and status, and how long cold ones waited for a start."""

    async def main() -> None:
        def script(invocation: Invocation, sink: Sink) -> None:
            sink.reply(200, [], b"", receipt(invocation, waterfall=COLD))

        made = context(FakePlatform(script))
        async with gateway(made) as wired:
            client = await wired.connect()
            client.send(post(b"") + post(b""))
            await client.answer()
            await client.answer()
        assert made.counters.requests == {("churn", 200): 2}
        assert made.counters.wakes[2] == 2
        assert made.counters.wake_s_sum == pytest.approx(0.04)

    run(main())


def test_a_body_over_the_endpoint_s_limit_is_refused_before_it_is_sent() -> None:
    """Content-Length alone is enough for 413; the connection ends."""

    async def main() -> None:
        platform = FakePlatform()
        platform.views["churn"] = view(definition(body_bytes_max=2_000_000))
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            client.send(INVOKE + b"content-length: 2000001\r\n\r\nxxx")
            answer = await client.answer()
            assert await client.is_closed()
        assert answer.status == 413
        assert answer.headers["connection"] == "close"
        assert b'"code":"BodyTooLarge"' in answer.body
        assert not platform.invocations

    run(main())


def test_a_chunked_body_over_the_limit_is_refused_while_it_is_sent() -> None:
    """Without Content-Length the bytes are counted."""

    async def main() -> None:
        platform = FakePlatform()
        platform.views["churn"] = view(definition(body_bytes_max=2_000_000))
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            client.send(INVOKE + b"transfer-encoding: chunked\r\n\r\n")
            for _ in range(3):
                client.send(b"%x\r\n" % 1_000_000 + b"x" * 1_000_000 + b"\r\n")
            answer = await client.answer()
        assert answer.status == 413
        assert platform.tickets[0].said == ["break_off"]

    run(main())
