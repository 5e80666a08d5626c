"""100 MB in and 100 MB out: how fast, and what of it the router holds.

The router's memory is its peak over what it had when idle, of the process that listens; the
replicas' is their own. ``handler`` is a Python function, which needs a request whole and so gathers
it in its own process; ``command`` is an HTTP server that sends each piece back as it comes.
"""

import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.report import Report
from benchmarks.servers import Platform, platform
from coldspark.sdk.deploy import deploy

MIB = 2**20
SIZE_BYTES = 100 * MIB
PIECE = b"\0" * 65_536
ROUNDS = 3

HANDLER = """
def model_fn(model_dir):
    return None

def transform_fn(model, data, content_type, accept):
    return data, "application/octet-stream"
"""

ECHO = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        left = int(self.headers["content-length"])
        self.send_response(200)
        self.send_header("content-type", "application/octet-stream")
        self.send_header("content-length", str(left))
        self.end_headers()
        while left and (piece := self.rfile.read1(min(left, 262_144))):
            left -= len(piece)
            self.wfile.write(piece)

    def log_message(self, *words):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()
"""


def measure(report: Report) -> None:
    """Measure both kinds of replica through the native and the SageMaker route."""
    with TemporaryDirectory() as folder, platform() as server:
        for name in _deployed(server, Path(folder)):
            for route, path in (
                ("native", f"/v1/endpoints/{name}/invoke"),
                ("InvokeEndpoint", f"/endpoints/{name}/invocations"),
            ):
                _measure_route(report, server, f"{name}, {route}", path)


def _deployed(server: Platform, folder: Path) -> Iterator[str]:
    (folder / "inference.py").write_text(HANDLER)
    (folder / "echo.py").write_text(ECHO)
    for name, runtime in (
        ("handler", 'handler = "inference.py"'),
        ("command", 'command = ["python", "echo.py"]'),
    ):
        limits = '[scale]\nmin = 1\n[limits]\nbody = "256MiB"\nrequest_timeout = "2m"\n'
        (folder / "coldspark.toml").write_text(f'name = "{name}"\n{runtime}\n{limits}')
        deploy(server.client, folder, {"memory": "2GiB"})
        yield name


def _measure_route(report: Report, server: Platform, what: str, path: str) -> None:
    rates = []
    before = forget_peak(server.pid)
    send(server.port, path, MIB)
    for _ in range(ROUNDS):
        started = time.perf_counter()
        send(server.port, path, SIZE_BYTES)
        rates.append(SIZE_BYTES / 1e6 / (time.perf_counter() - started))
    report.add(f"{what}: 100 MB in and out", "MB/s", rates)
    extra = memory_bytes(server.pid, "VmHWM") - before
    report.add(f"{what}: the router's memory over idle", "MB", [extra / 1e6])


def send(port: int, path: str, size_bytes: int) -> None:
    """Send a body and read one of the same length, both at once."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.putrequest("POST", path)
    connection.putheader("content-type", "application/octet-stream")
    connection.putheader("content-length", str(size_bytes))
    connection.endheaders()
    assert connection.sock is not None
    sender = threading.Thread(target=_send_pieces, args=(connection.sock, size_bytes))
    sender.start()
    try:
        reply = connection.getresponse()
        got = 0
        while piece := reply.read(MIB):
            got += len(piece)
    finally:
        sender.join()
        connection.close()
    if reply.status != 200 or got != size_bytes:
        raise RuntimeError(f"{path} answered {reply.status} with {got} bytes")


def _send_pieces(handle: socket.socket, size_bytes: int) -> None:
    # Not by the connection: it forgets its socket once a reply says that it will be closed.
    for _ in range(size_bytes // len(PIECE)):
        handle.sendall(PIECE)


def forget_peak(pid: int) -> int:
    """Let the peak of a process's memory begin anew; return what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return memory_bytes(pid, "VmRSS")


def memory_bytes(pid: int, field: str) -> int:
    """Return a field of a process's memory: VmRSS now, VmHWM the most there was."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
