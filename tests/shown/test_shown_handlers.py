"""What handlers do to a platform, on a real server: print without end, fork, raise."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_server import Server, is_running, until

from coldspark.sdk.client import Client, ServerRefused
from coldspark.sdk.deploy import deploy

PRINTED_BYTES = 100 * 1000**2
LOG_BYTES_MAX = 16 * 1024**2
HANDLER = """
import os, signal, sys

def predict_fn(data, model):
    if data.get("print"):
        block = "x" * 999 + "\\n"
        for _ in range(data["print"] // 1000):
            sys.stdout.write(block)
        print("printed it all", flush=True)
    if data.get("fork"):
        return {"children": [child(at) for at in range(data["fork"])]}
    if data.get("fail"):
        raise ValueError("no such colour: mauve")
    return {"pid": os.getpid()}

def child(at):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if at % 2:
            os.setsid()
        while True:
            signal.pause()
    return pid
"""

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("handlers") / "data")
    yield found
    found.stop()


def deployed(server: Server, folder: Path, name: str, more: str = "") -> None:
    (folder / "inference.py").write_text(HANDLER)
    (folder / "coldspark.toml").write_text(f'name = "{name}"\nhandler = "inference.py"\n{more}')
    deploy(server.client, folder)


def ask(server: Server, name: str, **data: object) -> Any:
    client = Client(server.url)
    return client.invoke(name, json.dumps(data).encode(), content_type="application/json").json()


def log_bytes(server: Server, name: str) -> int:
    """Return what an endpoint's logs take on the disk."""
    files = [path for path in (server.data / "logs" / name).rglob("*") if path.is_file()]
    assert files
    return sum(path.stat().st_size for path in files)


def test_a_handler_that_prints_a_hundred_megabytes_is_answered_and_kept_short(
    server: Server, tmp_path: Path
) -> None:
    """The log keeps the end and is bounded on the disk; the server and others serve on."""
    deployed(server, tmp_path, "loud")
    pid = ask(server, "loud")["pid"]
    assert ask(server, "loud", print=PRINTED_BYTES) == {"pid": pid}
    until(
        lambda: server.client.logs("loud", lines=1)[0]["text"] == "printed it all",
        "the last line is in the log",
    )
    assert log_bytes(server, "loud") <= LOG_BYTES_MAX
    assert ask(server, "loud") == {"pid": pid}


@pytest.mark.parametrize("way", ["removed", "idle"])
def test_children_that_outlive_their_request_end_with_their_replica(
    server: Server, tmp_path: Path, way: str
) -> None:
    """Also those in a session of their own, deaf to SIGTERM."""
    name = f"forks-{way}"
    more = '[scale]\nidle_timeout = "500ms"\n' if way == "idle" else ""
    deployed(server, tmp_path, name, more)
    children = ask(server, name, fork=4)["children"]
    assert all(is_running(pid) for pid in children)
    if way == "removed":
        server.client.remove(name)
    until(lambda: not any(is_running(pid) for pid in children), "all children have ended")
    if way == "idle":
        until(lambda: server.replicas(name) == 0, "no replica is left")


def test_a_handler_that_raises_is_told_with_its_words_and_the_next_is_served(
    server: Server, tmp_path: Path
) -> None:
    """By the same replica: an exception ends a request, not a process."""
    deployed(server, tmp_path, "raises")
    pid = ask(server, "raises")["pid"]
    with pytest.raises(ServerRefused) as refused:
        ask(server, "raises", fail=True)
    assert (refused.value.http_status, refused.value.code) == (500, "HandlerFailed")
    assert "ValueError: no such colour: mauve" in str(refused.value)
    assert ask(server, "raises") == {"pid": pid}
    assert [line["error"] for line in server.client.requests("raises")] == [
        None,
        "HandlerFailed",
        None,
    ]
    assert any("mauve" in line["text"] for line in server.client.logs("raises"))
