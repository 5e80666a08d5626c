"""Two answers agree to the byte, as JSON, as numbers, as vectors, or not at all."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.sdk.answer_comparison import Agreement, compare, cosine

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


def said(one: Any, other: Any, tolerance: float = 1e-3) -> Any:
    """Compare two values as a handler would write them."""
    return compare(json.dumps(one).encode(), json.dumps(other, indent=1).encode(), tolerance)


@pytest.mark.parametrize(
    ("one", "other", "agreement", "where"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}, Agreement.JSON, None),
        ({"score": 0.5}, {"score": 0.5001}, Agreement.NUMERIC, "$.score"),
        ({"score": 0.5}, {"score": 0.6}, Agreement.DIFFERENT, "$.score"),
        ({"v": [1, 2, 3]}, {"v": [1.01, 2.01, 3.03]}, Agreement.COSINE, "$.v[0]"),
        ({"v": [1, 2, 3]}, {"v": [3, 2, 1]}, Agreement.DIFFERENT, "$.v[0]"),
        ({"v": [1, 2, 3], "t": "x"}, {"v": [1, 2, 3], "t": "y"}, Agreement.DIFFERENT, "$.t"),
        ({"v": [1, 2, 3], "n": 1}, {"v": [1, 2.01, 3], "n": 9}, Agreement.DIFFERENT, "$.n"),
        ([1, 2], [1, 2, 3], Agreement.DIFFERENT, "$"),
        ({"a": 1}, {"b": 1}, Agreement.DIFFERENT, "$"),
        (True, 1, Agreement.DIFFERENT, "$"),
        (None, 0, Agreement.DIFFERENT, "$"),
    ],
)
def test_how_far_two_answers_agree(one: Any, other: Any, agreement: Agreement, where: Any) -> None:
    """With the first place at which they do not, what matters before what is close."""
    found = said(one, other)
    place = found.where
    if agreement is Agreement.DIFFERENT and isinstance(one, dict) and "n" in one:
        # The vector's second number is far as well, and comes first.
        assert place in ("$.v[1]", "$.n")
    else:
        assert place == where
    assert found.agreement is agreement


def test_bytes_that_are_no_json_agree_only_exactly() -> None:
    """An image is the same image or another one."""
    assert compare(b"\x89PNG1", b"\x89PNG1").agreement is Agreement.EXACT
    assert compare(b"\x89PNG1", b"\x89PNG2").agreement is Agreement.DIFFERENT


def test_the_lowest_cosine_of_all_vectors_is_reported() -> None:
    """One bad embedding of many is not hidden by a mean."""
    found = said([[1, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 1, 1]])
    assert found.cosine_min == pytest.approx(0.5**0.5)
    assert found.agreement is Agreement.DIFFERENT


@given(VALUES)
def test_whatever_is_written_twice_agrees(value: Any) -> None:
    """Exactly, or as JSON where spaces differ."""
    assert said(value, value).agreement in (Agreement.EXACT, Agreement.JSON)


@given(VALUES, VALUES)
def test_agreement_is_mutual(one: Any, other: Any) -> None:
    """It has no side."""
    assert said(one, other).agreement is said(other, one).agreement


@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=9))
def test_a_vector_lies_in_its_own_direction(vector: list[float]) -> None:
    """However long or short it is."""
    assert cosine(vector, vector) == pytest.approx(1.0)
    assert cosine([0.0], [1.0]) == 0.0
