"""100 MB pass the gateway without being gathered, and a slow side slows the other down.

The server runs in a process of its own, so that its memory can be told from the client's.
An invocation's request body is no part of this: the platform takes it whole.
"""

import asyncio
import multiprocessing
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import uvloop
from gateway_fakes import FakePlatform, FakeTicket, receipt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from wires import INVOKE, context

from coldspark.http.server import serve

MIB = 2**20
SIZE = 100 * MIB
PIECE = b"x" * 65_536
GROWTH_MAX = 50 * MIB

pytestmark = pytest.mark.process


class Streamer:
    """Writes pieces while its caller keeps up, as a replica's connection does."""

    def __init__(self, ticket: FakeTicket, pipe: Connection) -> None:
        self._ticket = ticket
        self._pipe = pipe
        self._left = SIZE
        self._is_paused = False
        ticket.on_said = self._on_said
        ticket.sink.begin(200, [("content-type", "application/octet-stream")])
        asyncio.get_running_loop().call_soon(self._go_on)

    def _on_said(self, word: str) -> None:
        self._is_paused = word == "pause"
        self._pipe.send(word)
        if word == "resume":
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        while self._left and not self._is_paused:
            self._left -= len(PIECE)
            self._ticket.sink.write(PIECE)
            if not self._left:
                self._ticket.sink.end(receipt(self._ticket.invocation))


def serve_large(pipe: Connection) -> None:
    """Serve both directions until the process is ended."""

    async def upload(request: Request) -> Response:
        await asyncio.to_thread(pipe.recv)
        size = 0
        async for piece in request.stream():
            size += len(piece)
        return PlainTextResponse(str(size))

    async def main() -> None:
        platform = FakePlatform(script=lambda invocation, sink: None)
        platform.on_submit = lambda ticket: setattr(ticket, "streamer", Streamer(ticket, pipe))
        app = Starlette(routes=[Route("/upload", upload, methods=["PUT"])])
        async with serve(context(platform, app=app), "127.0.0.1", 0) as listening:
            pipe.send(listening.port)
            await asyncio.Event().wait()

    uvloop.run(main())


@contextmanager
def served() -> Iterator[tuple[int, Connection, socket.socket]]:
    """Run a server; yield its process id, its pipe, and a connection to it."""
    spawn = multiprocessing.get_context("spawn")
    pipe, far = spawn.Pipe()
    process = spawn.Process(target=serve_large, args=(far,), daemon=True)
    process.start()
    try:
        assert pipe.poll(30), "the server did not start"
        assert process.pid is not None
        with socket.create_connection(("127.0.0.1", pipe.recv()), timeout=30) as client:
            # Forget the peak of its start.
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")
            yield process.pid, pipe, client
    finally:
        process.kill()
        process.join()


def memory(pid: int, field: str) -> int:
    """Return a field of a process's memory in bytes: VmRSS now, VmHWM the most there was."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def send_until_stalled(client: socket.socket) -> int:
    """Return how many bytes went out until no more were taken."""
    sent = 0
    try:
        while sent < SIZE:
            sent += client.send(PIECE)
    except TimeoutError:
        pass
    return sent


def test_a_streamed_reply_of_100_mb_passes_through() -> None:
    """The platform is told to wait for a caller who does not read, and to go on when he does."""
    with served() as (pid, pipe, client):
        before = memory(pid, "VmRSS")
        client.sendall(INVOKE + b"content-length: 0\r\n\r\n")
        assert pipe.poll(10), "nobody slowed the platform down"
        assert pipe.recv() == "pause"
        size, end = 0, b""
        while not end.endswith(b"\r\n\r\n") or b"\r\n0\r\n" not in end:
            piece = client.recv(MIB)
            assert piece
            size += len(piece)
            end = (end + piece)[-1_000:]
        assert SIZE < size < SIZE * 1.01
        assert pipe.recv() == "resume"
        assert memory(pid, "VmHWM") - before < GROWTH_MAX


def test_an_upload_of_100_mb_passes_through() -> None:
    """While the app does not read, the client cannot send: the gateway holds only so much."""
    with served() as (pid, pipe, client):
        before = memory(pid, "VmRSS")
        client.sendall(b"PUT /upload HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % SIZE)
        client.settimeout(0.5)
        sent = send_until_stalled(client)
        assert sent < GROWTH_MAX
        pipe.send("read")
        client.settimeout(30)
        client.sendall(bytes(SIZE - sent))
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read().endswith(b"\r\n\r\n%d" % SIZE)
        assert memory(pid, "VmHWM") - before < GROWTH_MAX
