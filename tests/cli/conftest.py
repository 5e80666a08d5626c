"""The real command line against a fake server."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fake_api import FakeApi, running
from typer.testing import CliRunner

from coldspark.cli.main import app


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Shell:
    """Runs commands in this process."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ

    def __call__(self, *words: str, given: str | bytes | None = None, **environ: str) -> Ran:
        """Run ``coldspark words…`` and return what it left."""
        result = CliRunner().invoke(
            app, list(words), input=given, env=self._environ | environ, color=False
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """Serve the fake."""
    with running() as fake:
        yield fake


@pytest.fixture
def coldspark(api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Shell:
    """Return a shell whose server is the fake, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return Shell({"COLDSPARK_URL": api.url, "COLDSPARK_KEY": "csk_test", "TERM": "dumb"})
