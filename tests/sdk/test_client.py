"""The client's own words: answers, refusals, timing."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from coldspark.sdk import Client, ReplyBroken, ServerRefused, deploy
from coldspark.sdk.client import parse_server_timing


class Handler(BaseHTTPRequestHandler):
    """Answers each path as it is told to, and keeps what was sent."""

    protocol_version = "HTTP/1.1"
    replies: dict[str, tuple[int, dict[str, str], bytes]]
    seen: list[tuple[str, bytes]]

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        self.seen.append((f"{self.command} {self.path}", body))
        status, headers, content = self.replies.get(
            f"{self.command} {path}", (200, {}, body or b"{}")
        )
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Any]:
    """Serve on a free port."""
    handler = type("Told", (Handler,), {"replies": {}, "seen": []})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    handler.url = f"http://127.0.0.1:{http.server_address[1]}"  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield handler
    http.shutdown()
    http.server_close()
    thread.join()


def test_an_answer_tells_cost_time_and_warmth(server: Any) -> None:
    """From the reply's headers."""
    server.replies["POST /v1/endpoints/echo/invoke"] = (
        200,
        {
            "Server-Timing": "booted;dur=14.0, total;dur=20.5",
            "X-Coldspark-Cost": "0.000000123",
            "X-Coldspark-Cold": "true",
            "X-Coldspark-Request-Id": "r1",
            "Content-Type": "application/json; charset=utf-8",
        },
        b'{"ok": true}',
    )
    answer = Client(server.url).invoke("echo", {"a": [1]})
    assert answer.json() == {"ok": True}
    assert answer.content_type == "application/json"
    assert (answer.cost_dollars, answer.is_cold, answer.request_id) == ("0.000000123", True, "r1")
    assert answer.stages_ms == {"booted": 14.0, "total": 20.5}
    assert server.seen == [("POST /v1/endpoints/echo/invoke", b'{"a": [1]}')]


def test_bytes_are_sent_as_they_are(server: Any) -> None:
    """Nothing is encoded."""
    assert Client(server.url).invoke("echo", b"\x00\xff").content == b"\x00\xff"


def test_a_refusal_carries_the_servers_words(server: Any) -> None:
    """Code, status, field, log lines, when to come back."""
    detail = {
        "code": "StartFailed",
        "message": "model file missing",
        "field": "model",
        "log_tail": ["a", "b"],
        "retry_after_s": 3,
    }
    body = json.dumps({"error": detail}).encode()
    server.replies["GET /v1/endpoints/x"] = (502, {"X-Coldspark-Request-Id": "r2"}, body)
    with pytest.raises(ServerRefused) as refused:
        Client(server.url).endpoint("x")
    error = refused.value
    assert (error.code, error.http_status, error.message) == ("StartFailed", 502, detail["message"])
    assert (error.field, error.log_tail, error.retry_after_s) == ("model", ("a", "b"), 3)
    assert error.request_id == "r2"
    assert ServerRefused.code == "Internal"


def test_what_does_not_speak_json_is_no_coldspark_server(server: Any) -> None:
    """Some other program answers at the address."""
    server.replies["GET /v1/endpoints/x"] = (200, {}, b"<html>")
    with pytest.raises(ReplyBroken, match="does not speak coldspark's API"):
        Client(server.url).endpoint("x")


def test_deploy_from_python_uploads_only_what_is_new(server: Any, tmp_path: Path) -> None:
    """The archive's name is its hash."""
    (tmp_path / "inference.py").write_text("def predict_fn(data): return data\n")
    (tmp_path / "coldspark.toml").write_text("name = 'mine'\n")
    client = Client(server.url)
    deploy(client, tmp_path, {"gpu": "T4"})
    first = [line.split()[0] for line, _ in server.seen]
    assert first == ["HEAD", "PUT"]
    sha = server.seen[0][0].rpartition("/")[2]
    server.replies[f"HEAD /v1/artifacts/{sha}"] = (404, {}, b"")
    server.replies[f"PUT /v1/artifacts/{sha}"] = (201, {}, b"")
    server.seen.clear()
    deploy(client, tmp_path, {"gpu": "T4"})
    assert [line for line, _ in server.seen] == [
        f"HEAD /v1/artifacts/{sha}",
        f"PUT /v1/artifacts/{sha}",
        "PUT /v1/endpoints/mine",
    ]
    assert json.loads(server.seen[2][1])["code"] == sha


@pytest.mark.parametrize(
    ("value", "stages"),
    [
        ("", {}),
        ("booted;dur=1.5;desc=x, total;dur=2", {"booted": 1.5, "total": 2.0}),
        ("cache;desc=hit, x;dur=abc", {}),
    ],
)
def test_server_timing_is_read_leniently(value: str, stages: dict[str, float]) -> None:
    """A proxy may have added entries of its own."""
    assert parse_server_timing(value) == stages
