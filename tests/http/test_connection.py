"""HTTP/1.1 at its edges: order, framing, limits and what is no HTTP at all."""

import asyncio
import itertools

import pytest
from example_counts import examples
from gateway_fakes import FakePlatform, FakeTicket, hold, receipt
from hypothesis import given, settings
from hypothesis import strategies as st
from wires import INVOKE, context, gateway, run

from coldspark import clock
from coldspark.http.context import HttpLimits
from coldspark.platform.ports import Invocation, Sink


def post(body: bytes) -> bytes:
    return INVOKE + b"content-length: %d\r\n\r\n" % len(body) + body


def chunked(*pieces: bytes) -> bytes:
    body = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return INVOKE + b"transfer-encoding: chunked\r\n\r\n" + body + b"0\r\nx-trailer: 1\r\n\r\n"


HELLO = b"GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n"


def test_pipelined_requests_are_answered_in_order() -> None:
    """Invocations and the app's routes share a connection; the first holds up the rest."""

    async def main() -> None:
        platform = FakePlatform(hold)
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            arrived: asyncio.Queue[FakeTicket] = asyncio.Queue()
            platform.on_submit = arrived.put_nowait
            client.send(post(b"1") + HELLO + post(b"2"))
            first = await arrived.get()
            assert arrived.empty()
            first.sink.reply(200, [], b"one", receipt(first.invocation))
            assert (await client.answer()).body == b"one"
            assert (await client.answer()).body == b"app GET /hello 0"
            second = await arrived.get()
            second.sink.reply(200, [], b"two", receipt(second.invocation))
            assert (await client.answer()).body == b"two"

    run(main())


def test_thousands_of_pipelined_requests_do_not_recurse() -> None:
    """Turns that end within their beginning are a loop, not a stack."""

    async def main() -> None:
        async with gateway(context(FakePlatform())) as wired:
            client = await wired.connect()
            client.send(post(b"x") * 3_000)
            for _ in range(3_000):
                assert (await client.answer()).status == 200

    run(main())


def test_a_connection_with_too_many_waiting_requests_is_read_no_further() -> None:
    """What waits is bounded; everything is answered in the end."""

    async def main() -> None:
        platform = FakePlatform(hold)
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            arrived: asyncio.Queue[FakeTicket] = asyncio.Queue()
            platform.on_submit = arrived.put_nowait
            client.send(post(b"x" * 1000) * 100)
            for _ in range(100):
                ticket = await arrived.get()
                ticket.sink.reply(200, [], b"", receipt(ticket.invocation))
                assert (await client.answer()).status == 200

    run(main())


STREAM = [
    (post(b"one"), b"one"),
    (chunked(b"tw", b"o" * 300), b"two" + b"o" * 299),
    (HELLO, b"app GET /hello 0"),
    (b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody", b"app POST /upload 4"),
    (post(b""), b""),
]


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(st.integers(1, sum(len(sent) for sent, _ in STREAM)), max_size=12))
def test_however_the_bytes_are_split_the_answers_are_the_same(cuts: list[int]) -> None:
    """A byte stream has no packets."""
    data = b"".join(sent for sent, _ in STREAM)
    edges = [0, *sorted(set(cuts)), len(data)]

    async def main() -> None:
        made = context(FakePlatform())
        async with gateway(made) as wired:
            client = await wired.connect()
            for low, high in itertools.pairwise(edges):
                client.send(data[low:high])
                await asyncio.sleep(0)
            assert [(await client.answer()).body for _ in STREAM] == [body for _, body in STREAM]

    run(main())


def test_every_byte_alone() -> None:
    """The slowest split there is."""

    async def main() -> None:
        from coldspark.http.connection import Connection

        data = b"".join(sent for sent, _ in STREAM if b"/upload" not in sent and sent != HELLO)
        connection, transport = Connection(context(FakePlatform())), Transport()
        connection.connection_made(transport)
        for at in range(len(data)):
            connection.data_received(data[at : at + 1])
        assert transport.written.count(b"HTTP/1.1 200 OK") == 3

    run(main())


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.calls: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.calls.append("close")

    def abort(self) -> None:
        self.calls.append("abort")

    def write_eof(self) -> None:
        self.calls.append("write_eof")

    def is_closing(self) -> bool:
        return "close" in self.calls or "abort" in self.calls

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")

    def get_write_buffer_size(self) -> int:
        return self.unsent


def test_a_caller_that_asks_first_is_told_to_continue() -> None:
    """Expect: 100-continue is answered before the body, on both paths."""

    async def main() -> None:
        async with gateway(context(FakePlatform())) as wired:
            client = await wired.connect()
            client.send(INVOKE + b"content-length: 2\r\nexpect: 100-continue\r\n\r\n")
            assert (await client.head())[0] == 100
            client.send(b"hi")
            assert (await client.answer()).body == b"hi"
            client.send(
                b"POST /up HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
            )
            assert (await client.head())[0] == 100
            client.send(b"hi")
            assert (await client.answer()).body == b"app POST /up 2"

    run(main())


@pytest.mark.parametrize(
    "data",
    [
        b"this is not http\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
        INVOKE + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        INVOKE + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        INVOKE + b"content-length: -1\r\n\r\n",
        INVOKE + b"content-length: 99999999999999999999999\r\n\r\n",
        INVOKE + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_400_and_the_end(data: bytes) -> None:
    """Malformed requests never reach the platform."""

    async def main() -> None:
        platform = FakePlatform()
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            client.send(data)
            answer = await client.answer()
            assert await client.is_closed()
        assert answer.status == 400
        assert not platform.invocations

    run(main())


def test_garbage_behind_a_request_waits_for_its_answer() -> None:
    """The refusal is in its turn."""

    async def main() -> None:
        platform = FakePlatform(hold)
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            arrived: asyncio.Queue[FakeTicket] = asyncio.Queue()
            platform.on_submit = arrived.put_nowait
            client.send(post(b"1") + b"garbage\r\n\r\n")
            ticket = await arrived.get()
            ticket.sink.reply(200, [], b"one", receipt(ticket.invocation))
            assert (await client.answer()).body == b"one"
            assert (await client.answer()).status == 400
            assert await client.is_closed()

    run(main())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"CONNECT example.com:80 HTTP/1.1\r\nhost: x\r\n\r\n", 405),
        (b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 70_000, 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000, 431),
        (INVOKE + b"transfer-encoding: chunked\r\n\r\n1;" + b"x" * 200_000, 431),
    ],
)
def test_heads_out_of_bounds_are_refused(data: bytes, status: int) -> None:
    """Bounded in size, in version and in what is asked."""

    async def main() -> None:
        async with gateway(context(FakePlatform())) as wired:
            client = await wired.connect()
            client.send(data)
            answer = await client.answer()
            assert answer.status == status
            assert await client.is_closed()

    run(main())


def test_an_upgrade_is_ignored() -> None:
    """Java's client asks for h2c by default and goes on in HTTP/1.1."""

    async def main() -> None:
        upgrade = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"
        async with gateway(context(FakePlatform())) as wired:
            client = await wired.connect()
            one = INVOKE + upgrade + b"content-length: 3\r\n\r\none"
            get = b"GET /get HTTP/1.1\r\nhost: x\r\n" + upgrade + b"\r\n"
            client.send(one + get + one + post(b"two"))
            bodies = [(await client.answer()).body for _ in range(4)]
        assert bodies == [b"one", b"app GET /get 0", b"one", b"two"]

    run(main())


@pytest.mark.parametrize("is_old", [True, False])
def test_keep_alive_is_as_the_caller_asks(is_old: bool) -> None:
    """HTTP/1.0 must ask to stay, HTTP/1.1 to go."""

    async def main() -> None:
        line = b"POST /v1/endpoints/churn/invoke HTTP/1." + (b"0" if is_old else b"1") + b"\r\n"
        stay = line + b"host: localhost\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n"
        go = line + b"host: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        async with gateway(context(FakePlatform())) as wired:
            client = await wired.connect()
            client.send(stay)
            first = await client.answer()
            client.send(go)
            second = await client.answer()
            assert await client.is_closed()
        assert first.headers.get("connection") == ("keep-alive" if is_old else None)
        assert second.headers["connection"] == "close"

    run(main())


def test_absolute_urls_are_understood() -> None:
    """RFC 9112 wants servers to take them."""

    async def main() -> None:
        platform = FakePlatform()
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            client.send(
                b"POST http://x/v1/endpoints/churn/invoke HTTP/1.1\r\nhost: localhost\r\n"
                b"content-length: 0\r\n\r\nOPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n"
            )
            assert (await client.answer()).status == 200
            assert (await client.answer()).status == 404

    run(main())


def test_time_limits() -> None:
    """Idle connections close; half a head is told 408; half a body is cut off."""

    async def main() -> None:
        platform = FakePlatform()
        made = context(platform)
        async with gateway(made) as wired:
            idle, head, body, busy = [await wired.connect() for _ in range(4)]
            idle.send(post(b""))
            assert (await idle.answer()).status == 200
            head.send(HELLO + b"GET / HT")
            await head.answer()
            body.send(HELLO + INVOKE + b"content-length: 9\r\n\r\nhalf")
            await body.answer()
            platform.script = hold
            busy.send(HELLO + post(b"x"))
            await busy.answer()
            made.sweep(clock.monotonic_s() + 29)
            made.sweep(clock.monotonic_s() + 76)
            assert await idle.is_closed()
            assert (await head.answer()).status == 408
            assert await body.is_closed()
            ticket = platform.tickets[-1]
            ticket.sink.reply(200, [], b"", receipt(ticket.invocation))
            assert (await busy.answer()).status == 200

    run(main())


def test_a_client_that_reads_is_not_idle() -> None:
    """A long reply may take longer than the idle limit, as long as it gets shorter."""

    async def main() -> None:
        from coldspark.http.connection import Connection

        connection, transport = Connection(context(FakePlatform())), Transport()
        connection.connection_made(transport)
        connection.data_received(post(b"x"))
        now_s = clock.monotonic_s()
        for transport.unsent in (3000, 2000, 1000):
            now_s += 100
            connection.expire(now_s)
        assert not transport.calls
        connection.expire(now_s + 100)
        assert transport.calls == ["abort"]

    run(main())


def test_too_many_connections_are_refused() -> None:
    """The bound is told, not felt."""

    async def main() -> None:
        made = context(FakePlatform(), bounds=HttpLimits(connections_max=1))
        async with gateway(made) as wired:
            first, second = await wired.connect(), await wired.connect()
            assert (await second.answer()).status == 503
            assert await second.is_closed()
            first.send(post(b""))
            assert (await first.answer()).status == 200

    run(main())


def test_leaving_finishes_what_runs_and_closes_what_is_idle() -> None:
    """A graceful end: no new connection, no request lost, the last reply says close."""

    async def main() -> None:
        platform = FakePlatform(hold)
        made = context(platform)
        arrived: asyncio.Queue[FakeTicket] = asyncio.Queue()
        platform.on_submit = arrived.put_nowait
        async with gateway(made, grace_s=15) as wired:
            idle, busy = await wired.connect(), await wired.connect()
            idle.send(HELLO)
            await idle.answer()
            busy.send(post(b"x"))
            ticket = await arrived.get()
            asyncio.get_running_loop().call_later(0, answer_when_idle_is_gone, made, ticket)
            wired.clients.clear()
        answer = await busy.answer()
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert await idle.is_closed()
        assert await busy.is_closed()

    def answer_when_idle_is_gone(made: object, ticket: FakeTicket) -> None:
        if len(made.connections) > 1:  # type: ignore[attr-defined]
            asyncio.get_running_loop().call_soon(answer_when_idle_is_gone, made, ticket)
        else:
            ticket.sink.reply(200, [], b"", receipt(ticket.invocation))

    run(main())


def test_leaving_cuts_off_what_does_not_end() -> None:
    """The grace is bounded, and the platform hears of it."""

    async def main() -> None:
        platform = FakePlatform(hold)
        arrived: asyncio.Queue[FakeTicket] = asyncio.Queue()
        platform.on_submit = arrived.put_nowait
        async with gateway(context(platform), grace_s=0) as wired:
            client = await wired.connect()
            client.send(post(b"x"))
            ticket = await arrived.get()
            wired.clients.clear()
        assert ticket.said == ["cancel"]
        assert await client.is_closed()

    run(main())


def test_a_client_that_does_not_read_gets_no_second_answer() -> None:
    """Replies to pipelined requests are not piled up in memory."""

    async def main() -> None:
        def script(invocation: Invocation, sink: Sink) -> None:
            sink.reply(200, [], b"x" * 4_000_000, receipt(invocation))

        platform = FakePlatform(script)
        arrived: asyncio.Queue[FakeTicket] = asyncio.Queue()
        platform.on_submit = arrived.put_nowait
        async with gateway(context(platform)) as wired:
            client = await wired.connect(receive_buffer=4096)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            client.send(post(b"") * 8)
            await arrived.get()
            other = await wired.connect()
            other.send(HELLO)
            await other.answer()
            assert len(platform.tickets) < 4
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(8):
                assert len((await client.answer()).body) == 4_000_000

    run(main())


def test_the_deadline_is_infinite_while_a_request_runs() -> None:
    """The platform owns the request's deadline, not the sweep."""

    async def main() -> None:
        from coldspark.http.connection import Connection

        connection, transport = Connection(context(FakePlatform(hold))), Transport()
        connection.connection_made(transport)
        connection.data_received(post(b"x"))
        connection.expire(clock.monotonic_s() + 1e6)
        assert not transport.calls

    run(main())
