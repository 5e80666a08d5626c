"""The real command line against a fake server."""

from collections.abc import Iterator
from typing import Any

import pytest
from fake_api import FakeApi, running
from shell import Shell


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
