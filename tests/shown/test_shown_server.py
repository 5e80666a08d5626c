"""What a person sees who starts a server: where it listens, or one line of what is wrong."""

import signal
import subprocess
from pathlib import Path

import pytest
from real_server import COLDSPARK

pytestmark = pytest.mark.process


def up(*flags: str) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [COLDSPARK, "up", "--port", "0", *flags], stdout=pipe, stderr=pipe, text=True
    )


def test_a_starting_server_says_nothing_of_its_libraries(tmp_path: Path) -> None:
    """A new data directory brought ten lines of the database's migrations."""
    server = up("--data", str(tmp_path / "data"))
    assert server.stdout is not None
    assert "listens on http://127.0.0.1:" in server.stdout.readline()
    server.send_signal(signal.SIGTERM)
    _, told = server.communicate(timeout=60)
    assert [line for line in told.splitlines() if " coldspark: " not in line] == []


@pytest.mark.parametrize(
    ("data", "flags", "words"),
    [
        ("a/data", ["--simulate", "Q9:1"], "gpu type 'Q9' is not known"),
        ("file/data", [], "file/data cannot be the data directory (Not a directory)"),
    ],
)
def test_what_cannot_be_is_told_in_one_line_and_leaves_nothing(
    tmp_path: Path, data: str, flags: list[str], words: str
) -> None:
    """An error is found before a directory is made; exit code 2 says that the command was wrong."""
    (tmp_path / "file").touch()
    server = up("--data", str(tmp_path / data), *flags)
    _, told = server.communicate(timeout=60)
    assert server.returncode == 2
    assert len(told.splitlines()) == 1
    assert words in told
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
