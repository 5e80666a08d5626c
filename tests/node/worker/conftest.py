"""Fixtures of the worker's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from worker_rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A template that runs."""
    made = Rig()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a user's program."""

    def _write(text: str) -> Path:
        path = tmp_path / "inference.py"
        path.write_text(dedent(text))
        return path

    return _write
