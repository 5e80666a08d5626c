"""Long bodies at the gateway: handed on as they come, held up, proved, and given up in time."""

import asyncio
import hashlib
import socket
import struct
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from fake_services import FakeKeys
from gateway_fakes import FakePlatform, FakeTicket, definition, hold, receipt, view
from wires import INVOKE, Client, context, gateway, run

from coldspark.http.body_spool import SpoolQuota
from coldspark.platform.body_stream import HELD_BYTES_MAX, BodyStream
from coldspark.platform.ports import Key

LONG = bytes(range(256)) * (4 * HELD_BYTES_MAX // 256)
CALLER = Key(id="CSKCALLER", name="caller", scopes=("invoke:churn",), created_ms=0)


class Arrivals(FakePlatform):
    """A platform whose replica takes a stream when the test does."""

    def __init__(self) -> None:
        super().__init__(hold)
        self.views["churn"] = view(definition(body_bytes_max=2**30))
        self.arrived: asyncio.Queue[FakeTicket] = asyncio.Queue()
        self.on_submit = self.arrived.put_nowait

    def _gather(self, ticket: FakeTicket, stream: BodyStream) -> None:
        """Take nothing."""


async def take_all(stream: BodyStream) -> bytes:
    """Take a stream to its end."""
    more, got = asyncio.Event(), bytearray()
    stream.attach(more.set)
    while not stream.is_over:
        if piece := stream.take(2**20):
            got += piece
        else:
            await more.wait()
            more.clear()
    return bytes(got)


def signed(body: bytes, *, is_named: bool, secret: str = "") -> bytes:
    """Return the head of a request that botocore signed; ``is_named``: with the body's hash."""
    url = "http://localhost/v1/endpoints/churn/invoke"
    request = AWSRequest("POST", url, data=body, headers={"host": "localhost"})
    if is_named:
        request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
    keys = FakeKeys([CALLER])
    credentials = Credentials(CALLER.id, secret or keys.secret(CALLER.id))
    SigV4Auth(credentials, "sagemaker", "us-east-1").add_auth(request)
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    head = f"POST /v1/endpoints/churn/invoke HTTP/1.1\r\n{lines}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode()


def test_a_long_body_is_submitted_before_its_end_and_a_short_one_after() -> None:
    """From ``HELD_BYTES_MAX`` on the replica gets it as it comes."""

    async def main() -> None:
        platform = Arrivals()
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            client.send(INVOKE + b"content-length: %d\r\n\r\n" % len(LONG) + LONG[:-1])
            ticket = await platform.arrived.get()
            stream = ticket.invocation.stream
            assert stream is not None
            assert (stream.size_bytes, ticket.invocation.body) == (len(LONG), b"")
            taking = asyncio.ensure_future(take_all(stream))
            client.send(LONG[-1:])
            assert await taking == LONG
            ticket.sink.reply(200, [], b"done", receipt(ticket.invocation))
            assert (await client.answer()).body == b"done"

            client.send(INVOKE + b"content-length: 4\r\n\r\nshrt")
            assert (await platform.arrived.get()).invocation.body == b"shrt"

    run(main())


def test_a_caller_is_not_read_while_nobody_takes_its_body() -> None:
    """What is held is bounded by one read and ``HELD_BYTES_MAX``; it goes on when taken."""

    async def main() -> None:
        platform = Arrivals()
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            size = 64 * 2**20
            client.send(INVOKE + b"content-length: %d\r\n\r\n" % size + bytes(size))
            stream = (await platform.arrived.get()).invocation.stream
            assert stream is not None
            more = asyncio.Event()
            stream.attach(more.set)
            while not stream.is_full:
                more.clear()
                await more.wait()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.writer.drain(), 0.5)
            assert stream.fed_bytes < 2**20
            taking = asyncio.ensure_future(take_all(stream))
            await client.writer.drain()
            assert len(await taking) == size

    run(main())


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_caller_who_hangs_up_while_not_read_is_noticed(is_reset: bool) -> None:
    """Nothing is read from it when it goes, and the call is cancelled all the same.

    An end that is no reset travels behind what was sent before it, so that has to fit.
    """

    async def main() -> None:
        platform = Arrivals()
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            sent = LONG if is_reset else LONG[: HELD_BYTES_MAX + 1]
            client.send(INVOKE + b"content-length: %d\r\n\r\n" % 2**30 + sent)
            ticket = await platform.arrived.get()
            said: asyncio.Queue[str] = asyncio.Queue()
            ticket.on_said = said.put_nowait
            if is_reset:
                reset_when_closed(client)
            client.close()
            assert await said.get() == "cancel"

    run(main())


def reset_when_closed(client: Client) -> None:
    """Let the kernel drop what is unsent and say so."""
    descriptor = client.writer.get_extra_info("socket").fileno()
    with socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM) as handle:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_body_that_waits_its_turn_is_not_read_meanwhile() -> None:
    """A long body behind an unanswered request is begun, held, and submitted in its turn."""

    async def main() -> None:
        platform = Arrivals()
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            client.send(INVOKE + b"content-length: 1\r\n\r\na")
            first = await platform.arrived.get()
            client.send(INVOKE + b"content-length: %d\r\n\r\n" % len(LONG) + LONG)
            client.send(INVOKE + b"content-length: 1\r\n\r\nb")
            assert platform.arrived.empty()
            first.sink.reply(200, [], b"1", receipt(first.invocation))
            second = await platform.arrived.get()
            if second.invocation.stream is None:
                assert second.invocation.body == LONG
            else:
                assert await take_all(second.invocation.stream) == LONG
            second.sink.reply(200, [], b"2", receipt(second.invocation))
            third = await platform.arrived.get()
            third.sink.reply(200, [], b"3", receipt(third.invocation))
            assert [(await client.answer()).body for _ in range(3)] == [b"1", b"2", b"3"]

    run(main())


def test_an_answer_before_the_end_of_the_body_closes_the_connection() -> None:
    """What the caller still sends would be read as its next request."""

    async def main() -> None:
        platform = Arrivals()
        async with gateway(context(platform)) as wired:
            client = await wired.connect()
            client.send(INVOKE + b"content-length: %d\r\n\r\n" % (2 * len(LONG)) + LONG)
            ticket = await platform.arrived.get()
            ticket.sink.reply(403, [], b"no", receipt(ticket.invocation))
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (403, "close")
            assert await client.is_closed()

    run(main())


@pytest.mark.parametrize("is_named", [False, True])
def test_a_signed_long_body_arrives(is_named: bool) -> None:
    """With its hash named it streams; without it is known only when all of it is here."""

    async def main() -> None:
        platform = Arrivals()
        async with gateway(context(platform, keys=FakeKeys([CALLER]))) as wired:
            client = await wired.connect()
            client.send(signed(LONG, is_named=is_named) + LONG[:-1])
            if is_named:
                ticket = await platform.arrived.get()
                client.send(LONG[-1:])
            else:
                client.send(LONG[-1:])
                ticket = await platform.arrived.get()
            assert ticket.invocation.key == CALLER.id
            stream = ticket.invocation.stream
            assert stream is not None
            assert await take_all(stream) == LONG
            ticket.sink.reply(200, [], b"done", receipt(ticket.invocation))
            assert (await client.answer()).body == b"done"

    run(main())


def test_a_body_that_is_not_the_signed_one_is_never_whole() -> None:
    """Its replica cannot have taken the end of it when the call is broken off."""

    async def main() -> None:
        platform = Arrivals()
        async with gateway(context(platform, keys=FakeKeys([CALLER]))) as wired:
            client = await wired.connect()
            client.send(signed(LONG, is_named=True) + LONG[:-1])
            ticket = await platform.arrived.get()
            stream = ticket.invocation.stream
            assert stream is not None
            taking = asyncio.ensure_future(take_all(stream))
            client.send(b"!")
            answer = await client.answer()
            assert answer.status == 401
            assert b"x-amz-content-sha256" in answer.body
            assert ticket.said[0] == "break_off"
            assert not stream.is_ended
            assert not taking.done()
            taking.cancel()

    run(main())


@pytest.mark.parametrize(("body", "secret"), [(LONG[:-1] + b"!", ""), (LONG, "wrong")])
def test_a_body_without_a_proof_reaches_nobody(body: bytes, secret: str) -> None:
    """Signed by a client that names no hash: the platform does not hear of a forged one."""

    async def main() -> None:
        platform = Arrivals()
        made = context(platform, keys=FakeKeys([CALLER]))
        async with gateway(made) as wired:
            client = await wired.connect()
            client.send(signed(LONG, is_named=False, secret=secret) + body)
            assert (await client.answer()).status == 401
            assert platform.arrived.empty()

    run(main())


class WatchedRoom(SpoolQuota):
    """Says when bytes are counted, and when they are counted back."""

    def __init__(self, directory: Path, bytes_max: int) -> None:
        super().__init__(directory, bytes_max)
        self.taken, self.given_back = asyncio.Event(), asyncio.Event()

    def take(self, size_bytes: int) -> None:
        super().take(size_bytes)
        self.taken.set()

    def give_back(self, size_bytes: int) -> None:
        super().give_back(size_bytes)
        self.given_back.set()


def test_bodies_that_wait_for_their_proof_are_bounded_together(tmp_path: Path) -> None:
    """One over the bound is refused; what a caller leaves behind is counted back."""

    async def main() -> None:
        platform = Arrivals()
        made = context(platform, keys=FakeKeys([CALLER]))
        made.spool_quota = room = WatchedRoom(tmp_path, bytes_max=len(LONG) + HELD_BYTES_MAX)
        async with gateway(made) as wired:
            client = await wired.connect()
            client.send(signed(3 * LONG, is_named=False) + 3 * LONG)
            assert (await client.answer()).status == 507

            room.taken.clear()
            leaves = await wired.connect()
            leaves.send(signed(2 * LONG, is_named=False) + LONG)
            await room.taken.wait()
            room.given_back.clear()
            leaves.close()
            await room.given_back.wait()
            client = await wired.connect()
            client.send(signed(LONG, is_named=False) + LONG)
            stream = (await platform.arrived.get()).invocation.stream
            assert stream is not None
            assert await take_all(stream) == LONG
        assert room.used_bytes == 0

    run(main())
    assert list(tmp_path.iterdir()) == []
