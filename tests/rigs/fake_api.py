"""A small server that speaks the native API's shapes, for tests of the command line."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TIMING = "booted;dur=14.0, loaded;dur=5.5, inferred;dur=8.25, unaccounted;dur=0.3, total;dur=28.05"


class FakeApi:
    """Endpoints in a dictionary, and everything that was asked."""

    def __init__(self) -> None:
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, bytes] = {}
        self.keys: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.sent: list[tuple[str, dict[str, str], bytes]] = []
        self.replies: dict[str, tuple[int, Any]] = {}
        """Replies for a path, in place of what would be said."""
        self.url = ""

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        """Return status and JSON."""
        if path in self.replies:
            return self.replies[path]
        parts = [unquote(part) for part in path.strip("/").split("/")[1:]]
        match method, *parts:
            case "GET", "endpoints":
                return 200, {"endpoints": [self.endpoints[n] for n in sorted(self.endpoints)]}
            case "PUT", "endpoints", name:
                return self._put(name, json.loads(body), is_dry="dry_run" in query)
            case "GET", "endpoints", name:
                found = self.endpoints.get(name)
                return (200, found) if found else _error(404, "NotFound", f"no endpoint {name!r}")
            case "DELETE", "endpoints", name:
                self.endpoints.pop(name, None)
                return 204, None
            case "HEAD", "artifacts", sha:
                return (200 if sha in self.artifacts else 404), None
            case "PUT", "artifacts", sha:
                self.artifacts[sha] = body
                return 201, {"id": sha}
            case "POST", "keys":
                made = json.loads(body) | {"id": "CSK1", "token": "csk_1", "created_ms": 1}
                self.keys.append(made)
                return 201, made
            case "GET", "keys":
                return 200, {
                    "keys": [{k: v for k, v in r.items() if k != "token"} for r in self.keys]
                }
            case "DELETE", "keys", key_id:
                self.keys = [row for row in self.keys if row["id"] != key_id]
                return 204, None
        return _error(404, "NotFound", f"{method} {path} does not exist")

    def _put(self, name: str, definition: dict[str, Any], *, is_dry: bool) -> tuple[int, Any]:
        old = self.endpoints.get(name)
        is_same = old is not None and old["definition"] == definition
        action = "unchanged" if is_same else "update" if old else "create"
        if is_dry:
            before = {} if old is None else old["definition"]
            changes = [
                {"field": key, "old": before.get(key), "new": value}
                for key, value in definition.items()
                if before.get(key) != value
            ]
            return 200, {"action": action, "changes": changes}
        self.endpoints[name] = endpoint(name) | {"definition": definition}
        return 200, self.endpoints[name]


def endpoint(name: str) -> dict[str, Any]:
    """Return an endpoint with one replica."""
    replica = {
        "replica": "r-1",
        "revision": "0123456789abcdef",
        "state": "ready",
        "running": 1,
        "age_s": 12.5,
        "idle_s": None,
        "node": "here",
        "devices": ["A10G (simulated)"],
        "template": "fork of template 7",
    }
    decision = {"at_ms": 1_764_000_000_000, "what": "start 1", "reason": "one request waits"}
    variant = {
        "name": "main",
        "weight": 1.0,
        "status": "Ready",
        "queued": 2,
        "gpu": "A10G",
        "memory": 512_000_000,
        "scale": {"max": 4, "idle_timeout_s": 60.0},
        "limits": {"body_bytes_max": 67_108_864},
        "replicas": [replica],
        "decisions": [decision],
        "warmth": {"rung": "busy", "why": None, "idle_s": None, "template": None},
    }
    return {
        "name": name,
        "status": "Ready",
        "failure": None,
        "source": "native",
        "created_ms": 1_764_000_000_000,
        "updated_ms": 1_764_000_000_000,
        "variants": [variant],
    }


def _error(status: int, code: str, message: str) -> tuple[int, Any]:
    return status, {"error": {"code": code, "message": message}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: FakeApi

    def _serve(self) -> None:
        split = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.api.asked.append(f"{self.command} {self.path}")
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.api.sent.append((f"{self.command} {split.path}", headers, body))
        if "/invoke" in split.path and split.path not in self.api.replies:
            self._stream([body[i : i + 5] for i in range(0, len(body), 5)])
            return
        query = {key: values[0] for key, values in parse_qs(split.query).items()}
        if "follow" in query:
            _, lines = self.api.replies[split.path]
            self._stream([json.dumps(line).encode() + b"\n" for line in lines["lines"]])
            return
        status, answer = self.api.answer(self.command, split.path, query, body)
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _stream(self, pieces: list[bytes]) -> None:
        self.send_response(200)
        self.send_header("content-type", self.headers.get("content-type") or "text/plain")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("x-coldspark-request-id", "req-1")
        self.end_headers()
        for piece in filter(None, pieces):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        trailers = (
            f"x-coldspark-cost: 0.000001234\r\nx-coldspark-cold: true\r\nserver-timing: {TIMING}"
        )
        self.wfile.write(f"0\r\n{trailers}\r\n\r\n".encode())

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def running() -> Iterator[FakeApi]:
    """Serve a fake on a free port."""
    api = FakeApi()
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
