"""What callers and the ledger see of batches, on a real server."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from real_server import Server, until

from coldspark.sdk.client import Client, ServerRefused
from coldspark.sdk.deploy import deploy

HANDLER = """
import pathlib, time

def predict_batch_fn(inputs):
    for value in inputs:
        if value["until"]:
            file = pathlib.Path(value["until"])
            file.with_name("begun").touch()
            while not file.exists(): time.sleep(0.002)
    return [{"size": len(inputs), "name": value["name"]} for value in inputs]
"""

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("batches") / "data")
    yield found
    found.stop()


def project(folder: Path, name: str, text: str) -> Path:
    (folder / "inference.py").write_text(text)
    (folder / "coldspark.toml").write_text(f'name = "{name}"\n[scale]\nbatch_size = 4\n')
    return folder


def ask(server: Server, name: str, until_file: str = "") -> tuple[int, str]:
    """Return the size of the batch that it was in, and the name that came back."""
    body = json.dumps({"name": name, "until": until_file}).encode()
    answer = Client(server.url).invoke("many", body, content_type="application/json").json()
    return answer["size"], answer["name"]


def running(server: Server) -> int:
    """Return how many requests the replica holds."""
    (variant,) = server.client.endpoint("many")["variants"]
    return sum(int(replica["running"]) for replica in variant["replicas"])


def test_callers_that_wait_together_are_answered_together_and_each_pays(
    server: Server, tmp_path: Path
) -> None:
    """Each gets its own answer; the ledger says how long it waited, and no time is lost."""
    deploy(server.client, project(tmp_path, "many", HANDLER))
    release = tmp_path / "release"
    with ThreadPoolExecutor(5) as callers:
        first = callers.submit(ask, server, "first", str(release))
        until((tmp_path / "begun").exists, "the first is computed")
        others = [callers.submit(ask, server, f"caller {at}") for at in range(4)]
        until(lambda: running(server) == 5, "the replica holds all five")
        release.touch()
        assert first.result() == (1, "first")
        assert [one.result() for one in others] == [(4, f"caller {at}") for at in range(4)]

    lines = server.client.requests("many", limit=5)
    assert len(lines) == 5
    for line in lines:
        stages = line["waterfall"]
        assert abs(sum(stages.values()) - line["duration_ms"] * 1_000) <= 2_000
        assert line["busy_nanos"] > 0
    waited = sorted(line["waterfall"]["queued_us"] for line in lines if not line["is_cold"])
    assert len(waited) == 4
    assert waited[0] > 0


def test_a_handler_that_cannot_batch_is_told_what_it_lacks(server: Server, tmp_path: Path) -> None:
    """The first caller hears the name of the function that is missing."""
    deploy(server.client, project(tmp_path, "few", "def predict_fn(data):\n    return data\n"))
    with pytest.raises(ServerRefused, match="defines no predict_batch_fn"):
        server.client.invoke("few", b"{}", content_type="application/json")
