"""Bodies of 100 MB through a real server: little is held, a slow side slows the other down.

Real processes and sockets; the router's memory is read where the kernel keeps it.
"""

import hashlib
import http.client
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from coldspark.sdk.client import Client
from coldspark.sdk.deploy import deploy

from real_server import Server, until  # isort: skip  (conftest makes it importable)

pytestmark = pytest.mark.process

MIB = 2**20
SIZE = 100 * MIB
GROWTH_MAX = 50 * MIB
PIECE = bytes(range(256)) * 256

MEDIA = "content-type: application/octet-stream\r\n"

HANDLER = """
import os

def model_fn(model_dir):
    return None

def transform_fn(model, data, content_type, accept):
    if os.environ.get("RAN"):
        open(os.environ["RAN"], "a").write(f"{len(data)}\\n")
    return data, "application/octet-stream"
"""
ECHO = """
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        if "content-length" not in self.headers:
            # In chunks, of which this program wants to see the last before it says anything.
            while size := int(self.rfile.readline() or b"0", 16):
                self.rfile.read(size + 2)
            self.close_connection = True
            return
        left = int(self.headers["content-length"])
        while self.path == "/hold" and not os.path.exists(os.environ["GATE"]):
            time.sleep(0.02)
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
LIMITS = '[limits]\nbody = "128MiB"\nrequest_timeout = "2m"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the endpoints' programs are, and what they write."""
    made = tmp_path_factory.mktemp("bodies")
    (made / "inference.py").write_text(HANDLER)
    (made / "echo.py").write_text(ECHO)
    return made


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with ``handler``, which gathers its request, and ``command``, which does not."""
    found = Server(tmp_path_factory.mktemp("served") / "data")
    put(found.client, folder, "handler", 'handler = "inference.py"')
    put(found.client, folder, "command", 'command = ["python", "echo.py"]')
    yield found
    found.stop()


def put(client: Client, folder: Path, name: str, program: str, rest: str = LIMITS) -> None:
    """Deploy one of the programs."""
    environment = f'[environment]\nGATE = "{folder / "gate"}"\nRAN = "{folder / name}.ran"\n'
    settings = f'name = "{name}"\nmemory = "2GiB"\n{program}\n{rest}{environment}'
    (folder / "coldspark.toml").write_text(settings)
    deploy(client, folder)


def memory(pid: int, field: str) -> int:
    """Return a field of a process's memory in bytes: VmRSS now, VmHWM the most there was."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def connected(server: Server) -> socket.socket:
    """Open a connection."""
    host, _, port = server.url.rpartition("//")[2].partition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def head(path: str, size: int | None) -> bytes:
    """Return the head of a request with a body, chunked if its size is None."""
    framing = "transfer-encoding: chunked" if size is None else f"content-length: {size}"
    return f"POST {path} HTTP/1.1\r\nhost: localhost\r\n{MEDIA}{framing}\r\n\r\n".encode()


def answer(client: socket.socket) -> http.client.HTTPResponse:
    """Return a response whose head was read."""
    response = http.client.HTTPResponse(client)
    response.begin()
    return response


def send(client: socket.socket, size: int) -> None:
    """Send a body of so many whole pieces."""
    for _ in range(size // len(PIECE)):
        client.sendall(PIECE)


def send_until_stalled(client: socket.socket) -> int:
    """Return how many bytes went out until no more were taken."""
    sent = 0
    try:
        while sent < SIZE:
            sent += client.send(PIECE)
    except TimeoutError:
        pass
    return sent


def latest(server: Server, name: str) -> dict[str, Any]:
    """Return the newest line of the ledger, once it is there."""
    until(lambda: bool(server.client.requests(name, 1)), f"{name} has a line in the ledger")
    return server.client.requests(name, 1)[0]


@pytest.mark.parametrize("path", ["/v1/endpoints/{}/invoke", "/endpoints/{}/invocations"])
@pytest.mark.parametrize("name", ["handler", "command"])
def test_100_mb_in_and_out_add_little_to_the_router(server: Server, name: str, path: str) -> None:
    """Every byte comes back, and the server's process held but a part of them at any time."""
    pid = server.process.pid
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    before = memory(pid, "VmRSS")
    with connected(server) as client:
        client.sendall(head(path.format(name), SIZE))
        sender = threading.Thread(target=send, args=(client, SIZE))
        sender.start()
        response = answer(client)
        got, seen = 0, hashlib.sha256()
        while piece := response.read(MIB):
            got += len(piece)
            seen.update(piece)
        sender.join()
    assert (response.status, got) == (200, SIZE)
    sent = hashlib.sha256()
    for _ in range(SIZE // len(PIECE)):
        sent.update(PIECE)
    assert seen.digest() == sent.digest()
    assert memory(pid, "VmHWM") - before < GROWTH_MAX
    line = latest(server, name)
    assert (line["bytes_in"], line["bytes_out"], line["error"]) == (SIZE, SIZE, None)


def test_a_worker_that_does_not_read_stops_its_caller(server: Server, folder: Path) -> None:
    """The caller's socket takes no more; once the worker reads, all of it arrives."""
    pid = server.process.pid
    before = memory(pid, "VmRSS")
    with connected(server) as client:
        client.sendall(head("/v1/endpoints/command/invoke/hold", SIZE))
        client.settimeout(0.5)
        sent = send_until_stalled(client)
        assert sent < GROWTH_MAX
        assert memory(pid, "VmRSS") - before < GROWTH_MAX
        (folder / "gate").touch()
        client.settimeout(60)
        sender = threading.Thread(target=client.sendall, args=(bytes(SIZE - sent),))
        sender.start()
        response = answer(client)
        assert response.status == 200
        assert sum(map(len, iter(lambda: response.read(MIB), b""))) == SIZE
        sender.join()


@pytest.mark.parametrize("name", ["handler", "command"])
def test_a_caller_who_hangs_up_in_mid_body_frees_the_slot(server: Server, name: str) -> None:
    """The handler is not run, and the only slot takes the next call."""
    path, ran = f"/v1/endpoints/{name}/invoke", MIB
    with connected(server) as client:
        client.sendall(head(path, 2 * MIB))
        send(client, ran)

    assert (
        server.client.invoke(name, b"next", content_type="application/octet-stream").status == 200
    )

    def taken() -> dict[Any, int]:
        return {line["error"]: line["bytes_in"] for line in server.client.requests(name, 2)}

    until(lambda: taken().keys() == {None, "Cancelled"}, "both are in the ledger")
    assert 0 < taken()["Cancelled"] <= ran
    assert taken()[None] == 4


@pytest.mark.parametrize(
    ("path", "word"),
    [("/v1/endpoints/{}/invoke", "BodyTooLarge"), ("/endpoints/{}/invocations", "ValidationError")],
)
@pytest.mark.parametrize("name", ["handler", "command"])
def test_a_chunked_body_over_the_limit_is_refused_when_it_is(
    server: Server, folder: Path, name: str, path: str, word: str
) -> None:
    """In the door's own words; the replica never had it whole, and is free again."""
    small = f"{name}-small"
    (folder / f"{small}.ran").unlink(missing_ok=True)
    program = 'handler = "inference.py"' if name == "handler" else 'command = ["python", "echo.py"]'
    put(server.client, folder, small, program, '[limits]\nbody = "1MiB"\n')
    with connected(server) as client:
        client.sendall(head(path.format(small), None))
        chunk = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
        client.sendall(chunk * (MIB // len(PIECE) + 1))
        response = answer(client)
        assert response.status in (400, 413), response.read()
        assert word in response.read().decode() + str(response.headers)
    assert latest(server, small)["error"] == "BodyTooLarge"
    assert not (folder / f"{small}.ran").exists()
    with connected(server) as client:
        client.sendall(head(path.format(small), 3) + b"abc")
        assert answer(client).status in (200, 500)


def test_a_body_waits_for_a_replica_that_is_not_there_yet(server: Server, folder: Path) -> None:
    """From zero: it is begun, waits in the caller's socket, and arrives whole."""
    put(server.client, folder, "asleep", 'handler = "inference.py"')
    size = 16 * MIB
    with connected(server) as client:
        client.sendall(head("/v1/endpoints/asleep/invoke", size))
        send(client, size)
        response = answer(client)
        assert (response.status, len(response.read())) == (200, size)
    line = latest(server, "asleep")
    assert (line["is_cold"], line["bytes_in"]) == (True, size)


def test_signed_bodies_are_proved_before_a_handler_runs(folder: Path, tmp_path: Path) -> None:
    """Unmodified boto3 sends 20 MB; a body that is not the signed one runs nothing."""
    guarded = Server(tmp_path / "data")
    try:
        put(guarded.client, folder, "guarded", 'handler = "inference.py"')
        made = guarded.client.create_key("ci", ["admin"])
        ran = folder / "guarded.ran"
        pid = guarded.process.pid
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        before = memory(pid, "VmRSS")
        body = os.urandom(20 * MIB)
        assert invoke_by_boto3(guarded, made, body) == body
        assert memory(pid, "VmHWM") - before < len(body)
        assert ran.read_text().split() == [str(len(body))]

        forged = b"!" + body[1:]
        for is_named in (True, False):
            status, told = invoke_signed(guarded, made, body, forged, is_named=is_named)
            assert (status, b"ignature" in told or b"sha256" in told) == (403, True)
        assert invoke_signed(guarded, made, body, body, is_named=True) == (200, body)
        assert ran.read_text().split() == [str(len(body))] * 2
    finally:
        guarded.stop()


def invoke_by_boto3(server: Server, made: dict[str, Any], body: bytes) -> bytes:
    """Send a body as AWS's client does."""
    runtime = boto3.client(
        "sagemaker-runtime",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=made["id"],
        aws_secret_access_key=made["secret_access_key"],
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )
    media = "application/octet-stream"
    got: bytes = runtime.invoke_endpoint(EndpointName="guarded", Body=body, ContentType=media)[
        "Body"
    ].read()
    return got


def invoke_signed(
    server: Server, made: dict[str, Any], signed: bytes, sent: bytes, *, is_named: bool
) -> tuple[int, bytes]:
    """Sign one body and send another; ``is_named``: with the hash of the signed one."""
    url = f"{server.url}/endpoints/guarded/invocations"
    media = {"content-type": "application/octet-stream"}
    request = AWSRequest("POST", url, data=signed, headers=media)
    if is_named:
        request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(signed).hexdigest()
    credentials = Credentials(made["id"], made["secret_access_key"])
    SigV4Auth(credentials, "sagemaker", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=60)
    connection.request("POST", "/endpoints/guarded/invocations", sent, dict(request.headers))
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content
