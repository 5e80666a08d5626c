"""The router's own work for one warm request: client bytes in, reply bytes out, no sockets.

    python -m benchmarks.whole_path [rounds]

Everything is real but the sockets: the gateway's connection, door and gate, controller, fleet,
meter, the journal on disk, and the way to the replica and back (HTTP/1.1, or the channel).
Concurrency 64: all callers are read, then all replicas answer. Prints microseconds of CPU, the
median and the best of the rounds; the machine may be shared.
"""

import asyncio
import itertools
import json
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvloop

from coldspark.billing.journal import Journal
from coldspark.billing.journal_writer import JournalWriter
from coldspark.billing.ledger_lines import usage_line
from coldspark.billing.usage import IdleUsage, Usage
from coldspark.doors.native.invocations import NativeDoor
from coldspark.http.auth.authentication import Authentication
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.connection import Connection
from coldspark.http.context import HttpContext
from coldspark.http.counters import RequestCounters
from coldspark.http.door import InvocationDoor
from coldspark.http.door_match import DoorMatcher
from coldspark.node.transport.channel import Channel
from coldspark.node.transport.http_connection import HttpConnection
from coldspark.node.transport.http_upstream import HttpUpstream
from coldspark.node.worker.frames import REPLY, encode_headed
from coldspark.platform.controller import Controller
from coldspark.platform.ports import Flow, Invocation, Key, ReplySink, Sink, StartOrder, Ticket
from coldspark.spec.messages import NodeJoined
from coldspark.spec.types import (
    Command,
    EndpointName,
    NodeId,
    ReplicaId,
    Revision,
    RevisionId,
    ScalePolicy,
    Spec,
    VariantName,
)

BODY = json.dumps({"text": "x" * 1_000}).encode()
CONCURRENCY = 64
TURNS = 100
ROUNDS = 15
REQUEST = (
    b"POST /v1/endpoints/e/invoke HTTP/1.1\r\nHost: 127.0.0.1:7117\r\n"
    b"content-type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
HTTP_REPLY = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 24 Nov 2026 07:44:24 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%b"
    % (len(BODY), BODY)
)
REPLY_HEAD = b'{"status": 200, "headers": [["content-type", "application/json"]], "handler_us": 9}'
_NUMBER = struct.Struct(">I")


class Wire:
    """A transport that gives what is written to whoever asked for it."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.write = take

    def writelines(self, pieces: tuple[bytes, ...]) -> None:
        """Join as the loop would."""
        self.write(b"".join(pieces))

    def is_closing(self) -> bool:
        """Never."""
        return False


class _RecordedLedger:
    """The ledger less its database: the journal on disk."""

    is_writable = True

    def __init__(self, folder: Path) -> None:
        self._writer = JournalWriter(Journal(folder, 1, segment_bytes=1 << 40))

    def record_then(self, usage: Usage, done: Callable[[], None]) -> None:
        """Write a line with the others of this turn, then call ``done``."""
        self._writer.write_then(usage_line(usage), done)

    def record_idle(self, holdings: list[IdleUsage]) -> None:
        """Nothing is settled here."""


class Replica:
    """An engine with one replica that is ready at once."""

    def __init__(self) -> None:
        self.upstream: HttpUpstream | Channel | None = None
        self.started: ReplicaId | None = None

    def start(self, order: StartOrder) -> None:
        """Remember whom to call ready."""
        self.started = order.replica

    def call(
        self, replica: ReplicaId, invocation: Invocation, deadline_s: float, sink: ReplySink
    ) -> Flow:
        """Send it."""
        assert self.upstream is not None
        return self.upstream.call(invocation, sink)


class Front:
    """The platform's front over one hosted fleet."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        spec = Spec(
            command=Command(argv=("serve",)),
            scale=ScalePolicy(replicas_min=1, replicas_max=1, concurrency=256),
        )
        revision = Revision(id=RevisionId("0123456789abcdef"), spec=spec)
        self._fleet = controller.open_fleet(EndpointName("e"), VariantName("main"), revision)

    def submit(self, invocation: Invocation, sink: Sink) -> Ticket:
        """Hand it on."""
        return self._controller.submit(self._fleet, invocation, sink)


class NoKeys:
    """Everybody may come in."""

    def is_empty(self) -> bool:
        """Yes."""
        return True

    def by_bearer(self, token: str) -> Key | None:
        """Nobody."""

    def secret(self, key_id: str) -> str | None:
        """Nobody."""

    def by_id(self, key_id: str) -> Key | None:
        """Nobody."""


class Bench:
    """One router whose callers and replica are in this process."""

    def __init__(
        self,
        folder: Path,
        way: str,
        requests: Iterator[bytes] | None = None,
        door: InvocationDoor | None = None,
    ) -> None:
        self._requests = requests or itertools.repeat(REQUEST)
        self._engine = Replica()
        self._ledger = _RecordedLedger(folder)
        controller = Controller(
            engine=cast(Any, self._engine),
            ledger=cast(Any, self._ledger),
            node=NodeJoined(node=NodeId("n"), memory_bytes=1 << 40, vcpus=64.0),
            rate_nanos_per_hour=360_000_000,
            boot=1,
            smallest_type=lambda resources: None,
            on_rollback=lambda fleet, revision: None,
        )
        front = Front(controller)
        assert self._engine.started is not None
        controller.on_ready(self._engine.started)
        self._asked: list[Callable[[], None]] = []
        self._engine.upstream = self._http() if way == "http" else self._channel()
        self.sent = 0
        self._context = HttpContext(
            platform=cast(Any, front),
            door_matcher=DoorMatcher([door or NativeDoor()]),
            authentication=Authentication(Authenticator(NoKeys())),
            app=cast(Any, None),
            counters=RequestCounters(),
        )
        self._context.renew_date()
        self._callers = [self._caller() for _ in range(CONCURRENCY)]

    def _caller(self) -> Connection:
        connection = Connection(self._context)
        connection.connection_made(cast(Any, Wire(self._count)))
        return connection

    def _count(self, data: bytes) -> None:
        self.sent += 1

    def _http(self) -> HttpUpstream:
        upstream = HttpUpstream(8080, "/invocations", 256, cast(Any, None))
        for _ in range(CONCURRENCY):
            connection = HttpConnection(upstream, upstream._heads)
            wire = Wire(partial(self._ask, partial(connection.data_received, HTTP_REPLY)))
            connection.connection_made(cast(Any, wire))
            upstream.on_free(connection)
        return upstream

    def _ask(self, answer: Callable[[], None], data: bytes) -> None:
        self._asked.append(answer)

    def _channel(self) -> Channel:
        channel = Channel(cast(Any, None), lambda flush: flush())

        def take(data: bytes) -> None:
            (number,) = _NUMBER.unpack_from(data, 5)
            frame = encode_headed(REPLY, number, REPLY_HEAD, BODY)
            self._asked.append(lambda: channel.data_received(frame))

        channel.connection_made(cast(Any, Wire(take)))
        return channel

    async def turn(self) -> None:
        """One request of every caller."""
        for caller in self._callers:
            caller.data_received(next(self._requests))
        asked, self._asked = self._asked, []
        for answer in asked:
            answer()
        # The end of the turn: lines are written, replies leave.
        await asyncio.sleep(0)

    async def play(self) -> float:
        """Return microseconds for a request."""
        self.sent = 0
        begun = time.process_time()
        for _ in range(TURNS):
            await self.turn()
        elapsed = time.process_time() - begun
        assert self.sent == TURNS * CONCURRENCY
        return elapsed * 1e6 / self.sent


async def measure(way: str, rounds: int) -> list[float]:
    """Time one way to the replica."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), way)
        await bench.play()
        return [await bench.play() for _ in range(rounds)]


def main() -> None:
    """Print both ways."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for way in ("http", "channel"):
        runs = uvloop.run(measure(way, rounds))
        print(f"{way:10} median {statistics.median(runs):6.2f} us  min {min(runs):6.2f} us")


if __name__ == "__main__":
    main()
