"""Give each test of CloudWatch Logs a fresh server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from logs_rig import Served, served


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Served]:
    """Return the door over TCP; nobody needs a key."""
    with served(tmp_path) as found:
        yield found
