"""How fast the gateway is by itself: a platform that answers at once, raw sockets as clients.

    python benchmarks/gateway_alone.py [seconds]

The server runs in a process of its own, pinned to one core; the load in this one, on the other.
Its callers keep their connections and repeat one head, as clients do that sign nothing: the gateway
knows such a head again; one that never comes twice costs about 5 us more. Beside it, in the same
rounds: uvicorn with a Starlette route that reads the body and returns it.
"""

import asyncio
import json
import multiprocessing
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import uvloop

BODY = json.dumps({"text": "x" * 1000}).encode()
CONCURRENCIES = (1, 64)
ROUNDS = 5


def gateway_server(port: int) -> None:
    """Serve the gateway over a platform that echoes inside ``submit``."""
    from coldspark.billing.usage import Usage
    from coldspark.doors.native.invocations import NativeDoor
    from coldspark.http.auth.authentication import Authentication
    from coldspark.http.auth.authenticator import Authenticator
    from coldspark.http.context import HttpContext
    from coldspark.http.counters import RequestCounters
    from coldspark.http.door_match import DoorMatcher
    from coldspark.http.server import serve
    from coldspark.platform.ports import Invocation, Key, Receipt, Sink
    from coldspark.spec.types import ReplicaId, RevisionId, VariantName
    from coldspark.spec.waterfall import Waterfall

    fall = Waterfall(received_us=12, queued_us=8, inferred_us=15, returned_us=3, unaccounted_us=5)
    headers = [("content-type", "application/json")]

    class Ticket:
        def cancel(self) -> None: ...
        def pause(self) -> None: ...
        def resume(self) -> None: ...

    ticket = Ticket()

    class Echo:
        def submit(self, invocation: Invocation, sink: Sink) -> Ticket:
            usage = Usage(
                request=invocation.request,
                endpoint=invocation.endpoint,
                variant=VariantName("main"),
                revision=RevisionId("0123456789abcdef"),
                replica=ReplicaId("r-1"),
                gpu=None,
                gpu_count=0.0,
                is_simulated=False,
                arrived_ms=0,
                duration_ms=0,
                busy_ms=0,
                bytes_in=len(invocation.body),
                bytes_out=0,
                status=200,
                error=None,
                is_cold=False,
                key=None,
                busy_nanos=1_234,
                waterfall=fall,
            )
            sink.reply(200, headers, invocation.body, Receipt(usage=usage, cost_nanos=1_234))
            return ticket

    class NoKeys:
        def is_empty(self) -> bool:
            return True

        def by_bearer(self, token: str) -> Key | None: ...
        def secret(self, key_id: str) -> str | None: ...
        def by_id(self, key_id: str) -> Key | None: ...

    async def app(scope: object, receive: object, send: object) -> None: ...

    async def main() -> None:
        context = HttpContext(
            platform=Echo(),  # type: ignore[arg-type]
            door_matcher=DoorMatcher([NativeDoor()]),
            authentication=Authentication(Authenticator(NoKeys())),
            app=app,
            counters=RequestCounters(),
        )
        async with serve(context, "127.0.0.1", port):
            await asyncio.Event().wait()

    uvloop.run(main())


def starlette_server(port: int) -> None:
    """Serve the same echo on plain uvicorn with Starlette."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type="application/json")

    app = Starlette(routes=[Route("/v1/endpoints/{name}/invoke", echo, methods=["POST"])])
    uvicorn.run(app, port=port, log_level="error", loop="uvloop", http="httptools")


class Caller(asyncio.Protocol):
    """One connection that sends a request whenever the last one was answered."""

    def __init__(self, request: bytes, until_s: float, done: Callable[[], None]) -> None:
        self._request = request
        self._until_s = until_s
        self._done = done
        self._rest = b""
        self.times: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head, end, body = self._rest.partition(b"\r\n\r\n")
        if not end or len(body) < len(BODY):
            return
        assert head.startswith(b"HTTP/1.1 200"), head
        self._rest = b""
        now_s = time.perf_counter()
        self.times.append(now_s - self._sent_s)
        if now_s < self._until_s:
            self._send()
        else:
            self._transport.close()
            self._done()


@dataclass
class Measured:
    """One round of load."""

    rps: float
    p50_us: float
    p99_us: float
    cpu_us: float


async def load(port: int, concurrency: int, seconds: float, pid: int) -> Measured:
    """Keep ``concurrency`` connections busy."""
    request = (
        b"POST /v1/endpoints/churn/invoke HTTP/1.1\r\nhost: localhost:7117\r\n"
        b"user-agent: load\r\naccept: */*\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
    )
    loop, left, ended = asyncio.get_running_loop(), concurrency, asyncio.Event()

    def done() -> None:
        nonlocal left
        left -= 1
        if not left:
            ended.set()

    began_s, cpu_s = time.perf_counter(), _cpu_s(pid)
    until_s = began_s + seconds
    callers = [Caller(request, until_s, done) for _ in range(concurrency)]
    for caller in callers:
        await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", port)  # type: ignore[misc]
    await ended.wait()
    elapsed_s, cpu_s = time.perf_counter() - began_s, _cpu_s(pid) - cpu_s
    times = sorted(took for caller in callers for took in caller.times)
    count = len(times)
    return Measured(
        rps=count / elapsed_s,
        p50_us=times[count // 2] * 1e6,
        p99_us=times[count * 99 // 100] * 1e6,
        cpu_us=cpu_s / count * 1e6,
    )


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _start(target: Callable[[int], None]) -> tuple[multiprocessing.process.BaseProcess, int]:
    with socket.socket() as handle:
        handle.bind(("127.0.0.1", 0))
        port = handle.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=target, args=(port,), daemon=True)
    process.start()
    assert process.pid is not None
    os.sched_setaffinity(process.pid, {0})
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return process, port


def main() -> None:
    """Measure both, round by round, and print medians."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    servers = {"gateway": _start(gateway_server), "uvicorn+starlette": _start(starlette_server)}
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rounds: dict[tuple[str, int], list[Measured]] = {}
    for _ in range(ROUNDS):
        for concurrency in CONCURRENCIES:
            for name, (process, port) in servers.items():
                assert process.pid is not None
                measured = uvloop.run(load(port, concurrency, seconds, process.pid))
                rounds.setdefault((name, concurrency), []).append(measured)
    print(f"{os.cpu_count()} cores, median of {ROUNDS} rounds of {seconds:g} s, 1 KB body")
    for (name, concurrency), found in rounds.items():
        rps, p50, p99, cpu = (
            statistics.median(getattr(one, field) for one in found)
            for field in ("rps", "p50_us", "p99_us", "cpu_us")
        )
        print(
            f"{name:18} c={concurrency:<3} {rps:8.0f} rps"
            f"  p50 {p50:6.0f} us  p99 {p99:6.0f} us  server CPU {cpu:5.1f} us/request"
        )
    for process, _ in servers.values():
        process.terminate()


if __name__ == "__main__":
    main()
