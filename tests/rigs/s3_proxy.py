"""S3 on loopback: moto's server, and before it a proxy that counts, holds back and cuts short."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import boto3

_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}
HOLD_S = 60.0


def options(endpoint: str) -> dict[str, str]:
    """Return the S3 options of a server that believes everybody."""
    return {
        "endpoint": endpoint,
        "region": "us-east-1",
        "allow_http": "true",
        "access_key_id": "test",
        "secret_access_key": "test",
    }


class S3:
    """A bucket named ``models``."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.options = options(endpoint)
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self._client.create_bucket(Bucket="models")

    def put(self, key: str, content: bytes, **metadata: str) -> None:
        """Store an object."""
        self._client.put_object(Bucket="models", Key=key, Body=content, Metadata=metadata)


@dataclass
class Proxy:
    """What passes, and what shall happen to it. Only ranges of objects count."""

    upstream: str
    options: dict[str, str] = field(default_factory=dict)
    bytes_sent: int = 0
    reads: list[str] = field(default_factory=list)
    at_once_max: int = 0
    hold_from: int = 10**9
    """This read and later ones get no answer until ``release``."""
    held: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released once for each that waits."""
    release: threading.Event = field(default_factory=threading.Event)
    cuts: int = 0
    """So many answers break off in the middle."""
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, path: str) -> bool:
        """Count a read, and wait if it is to be held; return whether to cut it short."""
        with self._lock:
            self.reads.append(path)
            self._at_once += 1
            self.at_once_max = max(self.at_once_max, self._at_once)
            is_held = len(self.reads) >= self.hold_from and not self.release.is_set()
            is_cut = self.cuts > 0
            self.cuts -= is_cut
        if is_held:
            self.held.release()
            self.release.wait(HOLD_S)
        return is_cut

    def end(self, sent: int) -> None:
        """Count what a read was sent."""
        with self._lock:
            self._at_once -= 1
            self.bytes_sent += sent

    def forward(self, handler: BaseHTTPRequestHandler) -> http.client.HTTPResponse:
        """Ask the server behind."""
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=HOLD_S)
        connection.request(handler.command, handler.path, headers=dict(handler.headers))
        return connection.getresponse()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def do_HEAD(self) -> None:
        self._pass()

    def do_GET(self) -> None:
        if "Range" not in self.headers:
            self._pass()
            return
        is_cut, sent = self.proxy.begin(self.path.partition("?")[0]), 0
        try:
            sent = self._pass(is_cut)
        finally:
            self.proxy.end(sent)

    def _pass(self, is_cut: bool = False) -> int:
        answer = self.proxy.forward(self)
        body = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body[: len(body) // 2] if is_cut else body)
        except OSError:
            # Its client was killed.
            self.close_connection = True
            return 0
        self.close_connection = is_cut
        return len(body) // 2 if is_cut else len(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    """Run a proxy before a server."""
    proxy = Proxy(upstream)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    proxy.options = options(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.release.set()
        server.shutdown()
        server.server_close()
