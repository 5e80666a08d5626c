"""Let the tests of CloudWatch Logs import their rig, and give each a fresh server."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "sagemaker"))

from logs_rig import Served, served


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Served]:
    """Return the door over TCP; nobody needs a key."""
    with served(tmp_path) as found:
        yield found
