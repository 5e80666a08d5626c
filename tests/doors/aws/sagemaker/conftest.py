"""Give each of the AWS door's tests a fresh door."""

import pytest
from aws_door import Door


@pytest.fixture
def door() -> Door:
    """Return a door without keys, in this process."""
    return Door()
