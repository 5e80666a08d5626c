"""Let the AWS door's tests import their fakes, and give each a fresh door."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from aws_door import Door


@pytest.fixture
def door() -> Door:
    """Return a door without keys, in this process."""
    return Door()
