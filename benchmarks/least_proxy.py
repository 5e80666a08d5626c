"""The least that a proxy in Python costs: the limit that the router's own work comes on top of.

    python -m benchmarks.least_proxy [rounds]

One uvloop ``Protocol`` on either side, no parser, no decision and no ledger: a request is looked
through for its length and passed to a free upstream connection, and its reply is passed back.
nginx is the worker, and as a proxy it is measured in the same rounds. Needs ``nginx`` and ``wrk``.
Prints microseconds of the proxy's CPU for a request, by concurrency.
"""

import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import nginx
from benchmarks.load import Address, put
from benchmarks.servers import cpu_s, free_port, process, until_open
from benchmarks.warm_path import BODY, OTHER_CORE, ROUTER_CORE

CONCURRENCIES = (1, 64)
SECONDS = 2
ROUNDS = 5


class Side(asyncio.Protocol):
    """A connection whose messages all have a Content-Length, and what it is joined to."""

    def __init__(self, free: "list[Side]", worker: int | None) -> None:
        self._free = free
        self._worker = worker
        """Where upstream connections go to; None for one of these."""
        self._buffer = b""
        self.peer: Side | None = None

    def connection_made(self, transport: Any) -> None:
        """Take the transport."""
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        """Pass a whole message on."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n") + 4
        at = self._buffer.lower().find(b"content-length: ", 0, end) + 16
        if end < 4 or len(self._buffer) < end + int(
            self._buffer[at : self._buffer.find(b"\r", at)]
        ):
            return
        message, self._buffer = self._buffer, b""
        if self._worker is None:
            assert self.peer is not None
            self.peer.write(message)
            self._free.append(self)
        elif self._free:
            upstream = self._free.pop()
            upstream.peer = self
            upstream.write(message)
        else:
            self._connecting = asyncio.ensure_future(self._connect(message, self._worker))

    async def _connect(self, message: bytes, worker: int) -> None:
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(
            lambda: Side(self._free, None), "127.0.0.1", worker
        )
        upstream.peer = self
        upstream.write(message)


def serve(port: int, worker: int) -> None:
    """Run the proxy."""

    async def forever() -> None:
        free: list[Side] = []
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: Side(free, worker), "127.0.0.1", port)
        await asyncio.Event().wait()

    uvloop.run(forever())


def measure(proxies: dict[str, tuple[int, int]], rounds: int) -> None:
    """Put the same load on each in turn, and print medians. ``proxies``: port and pid."""
    costs: dict[tuple[int, str], list[float]] = {}
    for _ in range(rounds):
        for concurrency in CONCURRENCIES:
            for name, (port, pid) in proxies.items():
                before = cpu_s(pid)
                address = Address(port=port, path="/", body=BODY)
                given = put(address, concurrency, SECONDS, OTHER_CORE)
                assert given.count
                cost = (cpu_s(pid) - before) / given.count * 1e6
                costs.setdefault((concurrency, name), []).append(cost)
    for (concurrency, name), values in sorted(costs.items()):
        print(f"{name:14} c={concurrency:<3} {statistics.median(values):6.1f} us/request")


def _on(core: int) -> list[str]:
    return ["taskset", "-c", str(core), "nginx", "-c"]


def main() -> None:
    """Start a worker, both proxies, and measure."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    worker, proxy, least = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "worker").write_text(
            nginx.ANSWERS.format(folder=folder, port=worker, body=BODY.decode())
        )
        (folder / "proxy").write_text(
            nginx.PASSES_ON.format(folder=folder, port=proxy, worker=worker)
        )
        with (
            process([*_on(OTHER_CORE), str(folder / "worker")]),
            process([*_on(ROUTER_CORE), str(folder / "proxy")]) as front,
        ):
            ours = multiprocessing.get_context("spawn").Process(target=serve, args=(least, worker))
            ours.start()
            assert ours.pid is not None
            for port in (worker, proxy, least):
                until_open(port)
            os.sched_setaffinity(ours.pid, {ROUTER_CORE})
            children = Path(f"/proc/{front.pid}/task/{front.pid}/children").read_text()
            try:
                measure({"nginx": (proxy, int(children)), "least proxy": (least, ours.pid)}, rounds)
            finally:
                ours.terminate()


if __name__ == "__main__":
    main()
