"""What the worker's own end costs: a handler that returns its body, calls over a socket pair.

    python -m benchmarks.worker_alone [rounds]

The worker runs in a forked child; this process keeps as many calls open as the replica's
concurrency allows. Prints microseconds of the child's CPU a call, and calls a second.
"""

import json
import os
import resource
import signal
import socket
import statistics
import sys
import time
from types import ModuleType

from coldspark.node.worker import frames
from coldspark.node.worker.handler import ProgramHandler
from coldspark.node.worker.server import HandlerServer

BODY = json.dumps({"text": "x" * 1_000}).encode()
CALLS = 20_000
ROUNDS = 5
DEPTHS = (1, 64)
HEAD = (
    b'{"path":null,"method":"POST","content_type":"application/json","accept":null,'
    b'"headers":[["user-agent","load"]],'
    b'"request":"0f9619ff-8b86-4011-b42d-00cf4fc9%04x","more":0}'
)


def serve(channel: socket.socket, concurrency: int) -> None:
    """Serve the echo until the channel ends."""
    module = ModuleType("echo")
    module.transform_fn = lambda model, data, content_type, accept: (data, accept)  # type: ignore[attr-defined]
    module.model_fn = lambda model_dir: None  # type: ignore[attr-defined]
    handler = ProgramHandler(module)
    handler.load("")
    HandlerServer(channel, handler, concurrency).run()


def play(ours: socket.socket, depth: int) -> None:
    """Keep ``depth`` calls open until all are answered."""
    decoder = frames.Decoder()
    sent = answered = 0
    while answered < CALLS:
        while sent < CALLS and sent - answered < depth:
            sent += 1
            head = HEAD % (sent % 65_536)
            ours.sendall(frames.encode_headed(frames.CALL, sent, head, BODY))
        for kind, _, _ in decoder.feed(ours.recv(256 * 1024)):
            assert kind == frames.REPLY
            answered += 1


def timed(depth: int) -> tuple[float, float]:
    """Return microseconds of the child's CPU for a call, and calls a second."""
    ours, theirs = socket.socketpair()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    pid = os.fork()
    if not pid:
        ours.close()
        serve(theirs, depth)
    theirs.close()
    begun = time.perf_counter()
    play(ours, depth)
    elapsed_s = time.perf_counter() - begun
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used_s * 1e6 / CALLS, CALLS / elapsed_s


def main() -> None:
    """Print both depths."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    for depth in DEPTHS:
        runs = [timed(depth) for _ in range(rounds)]
        cpu, rate = (statistics.median(values) for values in zip(*runs, strict=True))
        least = min(cpu for cpu, _ in runs)
        print(f"concurrency {depth:<3} CPU {cpu:6.2f} us (min {least:6.2f})  {rate:8.0f} calls/s")


if __name__ == "__main__":
    main()
