"""One real server for all pages, with simulated devices, emptied after each page."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from reader import BIN, Reader

from coldspark.sdk.client import Client


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on a free port of this machine, in a data directory of its own."""
    data = tmp_path_factory.mktemp("docs") / "data"
    words = ["--port", "0", "--data", str(data), "--simulate", "T4:1,A10G:2"]
    command = [str(BIN / "coldspark"), "up", *words, "--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[-1]
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0


@pytest.fixture
def reader(url: str, tmp_path: Path) -> Iterator[Reader]:
    """Somebody who begins to read a page; what the page left on the server goes afterwards."""
    yield Reader(tmp_path, url)
    client = Client(url)
    for endpoint in client.endpoints():
        client.remove(endpoint["name"])
