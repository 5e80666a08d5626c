"""The tutorial runs: its handler, deployed and invoked by its commands against a real server."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/tutorial/first-endpoint.md"
COLDSPARK = str(Path(sys.executable).parent / "coldspark")

pytestmark = pytest.mark.process


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A server in a directory of its own."""
    command = [COLDSPARK, "up", "--port", "0", "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[-1]
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0


def run(url: str, *words: str) -> str:
    done = subprocess.run(
        [COLDSPARK, *words, "--url", url], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_endpoint_answers_is_listed_billed_and_removed(url: str, tmp_path: Path) -> None:
    """What the page says happens."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "inference.py").write_text(code)
    run(url, "deploy", str(tmp_path / "inference.py"), "--name", "hello", "--yes")
    answer = run(url, "invoke", "hello", "--json", '{"name": "Ada"}')
    assert json.loads(answer) == {"answer": "hello Ada"}
    assert "hello" in run(url, "ls")
    assert "hello" in run(url, "bill")
    run(url, "rm", "hello", "--yes")
    assert "hello" not in run(url, "ls")
