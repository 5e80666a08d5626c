"""A plugin for moto's own test suites: a server of its own, on an empty directory, for each test.

So no test sees what another left, and the server needs no operation that forgets everything. Run by
the interpreter that has moto's needs; ``scripts/run_moto_suites.py`` sets the variables.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_STOP_S = 60


@pytest.fixture(autouse=True)
def fresh_server() -> Iterator[None]:
    """Run a server while the test does."""
    data = tempfile.mkdtemp(prefix="coldspark-moto-")
    words = [os.environ["COLDSPARK_SERVER"], "up", "--port", os.environ["COLDSPARK_SERVER_PORT"]]
    config = Path(__file__).with_name("server.toml")
    server = subprocess.Popen(
        [*words, "--data", data, "--log-level", "error", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert "listens" in server.stdout.readline(), "the server did not start"
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(_STOP_S)
        shutil.rmtree(data, ignore_errors=True)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note every part of a test, a line each: its outcome, and its id."""
    with Path(os.environ["COLDSPARK_OUTCOMES"]).open("a", encoding="utf-8") as outcomes:
        outcomes.write(f"{report.outcome} {report.nodeid}\n")
