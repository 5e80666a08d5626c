"""Stand in for the supervisor and the router: drive a real template over real sockets.

``COLDSPARK_WORKER_PYTHON`` names another interpreter to run the templates with (3.9 or newer).
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coldspark.node.worker import control, frames

BOOTSTRAP = Path(frames.__file__).with_name("bootstrap.py")
INTERPRETER = os.environ.get("COLDSPARK_WORKER_PYTHON", sys.executable)
SAFE_PATH = subprocess.run([INTERPRETER, "-P", "-c", ""], capture_output=True).returncode == 0
COMMAND = [INTERPRETER, *(["-P"] if SAFE_PATH else []), str(BOOTSTRAP)]
DEADLINE_S = 15.0


def await_readable(fileno: int, deadline_s: float = DEADLINE_S) -> None:
    """Wait until there is something to read, or fail."""
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    assert poll.poll(deadline_s * 1000), f"nothing came within {deadline_s} s"


def await_true(claim: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until a fact about other processes holds: there is no event for it to wait on."""
    end_s = time.monotonic() + deadline_s
    while not claim():
        assert time.monotonic() < end_s, f"{what}: not within {deadline_s} s"
        select.poll().poll(5)


def is_alive(pid: int) -> bool:
    """Say whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Channel:
    """The router's end of a replica's channel."""

    def __init__(self, sock: socket.socket, pid: int, output: tuple[int, int]) -> None:
        self.sock = sock
        self.pid = pid
        self.stdout, self.stderr = output
        self._decoder = frames.Decoder()
        self._frames: list[tuple[int, int, bytes]] = []

    def frame(self) -> tuple[int, int, bytes]:
        """Return the next frame."""
        while not self._frames:
            await_readable(self.sock.fileno())
            data = self.sock.recv(1 << 20)
            if not data:
                raise EOFError
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    def expect(self, kind: int, call: int = 0) -> Any:
        """Return the JSON of the next frame, which must be of this kind."""
        got, number, payload = self.frame()
        assert (got, number) == (kind, call), (got, number, payload[:2000])
        return json.loads(payload)

    def ready(self) -> "Channel":
        """Wait until the replica serves."""
        self.expect(frames.BOOTED)
        self.expect(frames.READY)
        return self

    def send(self, frame: bytes) -> None:
        """Send one frame."""
        self.sock.sendall(frame)

    def call(self, number: int, body: bytes = b"null", more: bool = False, **head: Any) -> None:
        """Send a call."""
        whole = {
            "path": "/invocations",
            "method": "POST",
            "content_type": "application/json",
            "accept": None,
            "headers": [],
            "request": f"request-{number}",
            "more": 2**31 if more else 0,
            **head,
        }
        self.send(frames.encode_headed(frames.CALL, number, json.dumps(whole).encode(), body))

    def reply(self, number: int) -> tuple[dict[str, Any], bytes]:
        """Return head and body of the whole reply that must come next."""
        kind, call, payload = self.frame()
        assert (kind, call) == (frames.REPLY, number), (kind, call, payload[:2000])
        head, body = frames.split_headed(payload)
        return json.loads(head), body

    def answer(self, number: int, body: bytes = b"null", **head: Any) -> Any:
        """Call, and return the JSON that is replied."""
        self.call(number, body, **head)
        return json.loads(self.reply(number)[1])

    def end(self) -> None:
        """Wait for the end of the channel."""
        try:
            while True:
                self.frame()
        except (EOFError, ConnectionResetError):
            return

    def close(self) -> None:
        """Let go of everything."""
        self.sock.close()
        for descriptor in (self.stdout, self.stderr):
            os.close(descriptor)

    def printed(self, descriptor: int) -> str:
        """Return all that was printed, once the replica is gone."""
        parts = []
        while True:
            await_readable(descriptor)
            data = os.read(descriptor, 1 << 16)
            if not data:
                return b"".join(parts).decode()
            parts.append(data)


class Rig:
    """A template that runs, and the supervisor's end of its socket."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [*COMMAND, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self.channels: list[Channel] = []
        self._events: list[dict[str, Any]] = []

    def tell(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        """Send one order."""
        socket.send_fds(self.control, [json.dumps(message).encode()], list(descriptors))

    def event(self, name: str) -> dict[str, Any]:
        """Return the next event of this name; others stay for later."""
        while True:
            for index, event in enumerate(self._events):
                if event["event"] == name:
                    return self._events.pop(index)
            await_readable(self.control.fileno())
            data = self.control.recv(control.PACKET_MAX_BYTES)
            assert data, f"the template ended before it said {name}: {self._events}"
            self._events.append(json.loads(data))

    def prepare(self, program: Path | None) -> dict[str, Any]:
        """Have a program imported."""
        paths = [] if program is None else [str(program.parent)]
        path = None if program is None else str(program)
        self.tell({"op": "prepare", "program": path, "paths": paths})
        return self.event("prepared")

    def fork(self, replica: str = "r1", **fields: Any) -> Channel:
        """Have a replica started."""
        ours, theirs = socket.socketpair()
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        order = {
            "op": "fork",
            "replica": replica,
            "argv": None,
            "environment": {},
            "cwd": "/",
            "model_dir": None,
            "concurrency": 1,
            "cgroups": [],
            "uid": None,
            "processes_max": 100,
            **fields,
        }
        ends = [out_end, err_end] + ([theirs.fileno()] if order["argv"] is None else [])
        self.tell(order, tuple(ends))
        theirs.close()
        os.close(out_end)
        os.close(err_end)
        channel = Channel(ours, self.event("forked")["pid"], (out, err))
        self.channels.append(channel)
        return channel

    def signal(self, replica: str, number: int) -> None:
        """Have a replica's group signalled."""
        self.tell({"op": "signal", "replica": replica, "signal": number})

    def close(self) -> None:
        """Hang up, and see the template end with all it started."""
        self.control.close()
        for channel in self.channels:
            channel.close()
        try:
            self.process.wait(DEADLINE_S)
        finally:
            if self.process.returncode is None:
                self.process.send_signal(signal.SIGKILL)
                self.process.wait()
