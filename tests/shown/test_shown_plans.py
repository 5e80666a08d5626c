"""Planning and comparing on a real server: from its own ledger, against its own replicas."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_server import COLDSPARK, Server

from coldspark.sdk.deploy import deploy

HANDLER = """
def predict_fn(data, model):
    return {"label": "cat", "scores": [1.0, 2.0, 3.0 + SHIFT]}
"""

pytestmark = pytest.mark.process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path / "data", "--simulate", "A10G:2")
    yield found
    found.stop()


def deployed(server: Server, folder: Path, name: str, shift: float) -> None:
    folder.mkdir()
    (folder / "inference.py").write_text(f"SHIFT = {shift}\n{HANDLER}")
    scale = '[scale]\nidle_timeout = "300ms"\npark_timeout = 0\n'
    (folder / "coldspark.toml").write_text(f'name = "{name}"\ngpu = "A10G"\n{scale}')
    deploy(server.client, folder)


def coldspark(server: Server, *words: str) -> Any:
    """Run the command line as a process, and return the JSON that it printed."""
    done = subprocess.run(
        [COLDSPARK, *words, "--url", server.url, "--json"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_endpoints_are_compared_and_one_is_planned(server: Server, tmp_path: Path) -> None:
    """From zero, warm, and from what the ledger kept of both."""
    deployed(server, tmp_path / "one", "one", 0.0)
    deployed(server, tmp_path / "two", "two", 0.02)

    answer = coldspark(
        server, "compare", "one", "two", "--body", '{"n": 1}', "--repeat", "3", "--cold"
    )
    agreement = answer["agreement"]
    assert agreement["by_kind"]["vectors of the same direction"] == 3
    assert agreement["cosine_min"] > 0.999
    assert [side["requests"] for side in answer["sides"]] == [3, 3]
    assert [side["errors"] for side in answer["sides"]] == [0, 0]
    assert all(side["cold_ms"] > 0 for side in answer["sides"])

    plan = coldspark(server, "plan", "--endpoint", "one", "--last", "1h", "--no-break-even")
    # The three that were measured, and the one that woke it.
    assert plan["traffic"]["requests"] == 4
    assert plan["traffic"]["start_p50_s"] > 0
    assert any(remark.startswith("measured here: ") for remark in plan["remarks"])
    assert {row["gpu"] for row in plan["platforms"]} == {"A10G", None}

    # What it recommends deploys as it is.
    toml = (tmp_path / "one" / "coldspark.toml").read_text().partition("[scale]")[0]
    (tmp_path / "one" / "coldspark.toml").write_text(toml + plan["recommended"]["toml"])
    deploy(server.client, tmp_path / "one")
    assert server.client.endpoint("one")["variants"][0]["scale"]["max"] == 4


def test_a_variant_is_called_by_its_name(server: Server) -> None:
    """Even one that the weights give nothing."""
    server.client.put_endpoint(
        "both",
        {
            "variants": [
                {"name": "old", "command": _echo("old"), "weight": 1},
                {"name": "new", "command": _echo("new"), "weight": 0},
            ]
        },
    )
    for name in ("old", "new"):
        headers = {"x-coldspark-variant": name}
        assert server.client.invoke("both", b"", headers=headers).content == name.encode()
    answer = coldspark(server, "compare", "both/old", "both/new", "--body", "1")
    assert answer["agreement"]["by_kind"]["different"] == 1


def _echo(word: str) -> list[str]:
    """Return a server that says one word to everybody."""
    program = f"""
import os, http.server as h
class H(h.BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.send_header("content-length", "{len(word)}")
        self.end_headers()
        self.wfile.write(b"{word}")
    do_POST = do_GET
h.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
"""
    return ["python", "-c", program]
