"""Tokens of pages hand back what was put into them, and nothing else is one."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.doors.aws.protocol.pages import read_token, write_token


@given(order=st.text(), at=st.integers(-(2**53), 2**53), name=st.text())
def test_a_place_comes_back_from_its_token(order: str, at: int, name: str) -> None:
    """Names may hold any letter, and tokens only those that stay as they are in a URL."""
    token = write_token((order, at, name))
    assert read_token(token, tuple[str, int, str]) == (order, at, name)
    assert token.replace("-", "a").replace("_", "a").isalnum()


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "é",
        "",
        write_token(None),
        write_token(["name"]),
        write_token(["order", "at", "name"]),
        base64.b64encode(b"[" * 6_000).decode(),
    ],
)
def test_what_holds_no_place_is_no_token(token: str) -> None:
    """Also brackets alone, deeper than a parser may go."""
    assert read_token(token, tuple[str, int, str]) is None
