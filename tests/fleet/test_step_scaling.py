"""Step adjustments as AWS computes them, and what target tracking comes to."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.fleet.step_scaling import (
    AdjustmentType,
    StepAdjustment,
    StepAdjustments,
    step_capacity,
    target_tracking_capacity,
)

CHANGE, PERCENT, EXACT = AdjustmentType.CHANGE, AdjustmentType.PERCENT, AdjustmentType.EXACT


def steps(
    kind: AdjustmentType, *rows: tuple[float | None, float | None, int], least: int = 0
) -> StepAdjustments:
    made = tuple(StepAdjustment(lower=low, upper=high, adjustment=by) for low, high, by in rows)
    return StepAdjustments(kind=kind, steps=made, magnitude_min=least)


LADDER = steps(CHANGE, (None, -10, -2), (-10, 0, -1), (0, 10, 1), (10, None, 3))


@pytest.mark.parametrize(
    ("breach", "capacity"),
    [(0, 6), (9.9, 6), (10, 8), (1e9, 8), (-0.1, 4), (-9.9, 4), (-10, 3), (-50, 3)],
)
def test_over_the_threshold_the_lower_bound_counts_and_under_it_the_upper(
    breach: float, capacity: int
) -> None:
    """As the API's reference says of both bounds."""
    assert step_capacity(LADDER, 5, breach) == capacity


@pytest.mark.parametrize(
    ("capacity", "percent", "least", "found"),
    [
        (10, 127, 0, 22),
        (10, 7, 0, 11),
        (10, -3, 0, 9),
        (10, -67, 0, 4),
        (4, 25, 2, 6),
        (4, -25, 2, 2),
        (1, -100, 3, 0),
        (10, 0, 3, 10),
        (0, 50, 0, 0),
        (7, 29, 0, 9),
    ],
)
def test_percentages_are_rounded_towards_zero_but_never_to_nothing(
    capacity: int, percent: int, least: int, found: int
) -> None:
    """12.7 is 12, 0.7 is 1, -6.7 is -6; a least magnitude is kept; nothing is under 0."""
    assert step_capacity(steps(PERCENT, (0, None, percent), least=least), capacity, 1.0) == found


def test_an_exact_capacity_is_that_whatever_it_was() -> None:
    """ExactCapacity."""
    assert step_capacity(steps(EXACT, (0, None, 4)), 9, 0.0) == 4


def test_a_breach_that_no_step_is_for_changes_nothing() -> None:
    """An alarm under its threshold meets a policy that only goes out."""
    assert step_capacity(steps(CHANGE, (0, None, 1)), 3, -1.0) is None


@pytest.mark.parametrize(
    ("kind", "rows", "words"),
    [
        (CHANGE, [], "at least one"),
        (CHANGE, [(5, 5, 1)], "must be less than the upper"),
        (CHANGE, [(0, 10, 1), (20, None, 2)], "no gap"),
        (CHANGE, [(0, 10, 1), (5, None, 2)], "no gap"),
        (CHANGE, [(0, None, 1), (5, None, 2)], "no gap"),
        (CHANGE, [(-10, 0, -1)], "without a lower bound"),
        (CHANGE, [(0, 10, 1)], "without an upper bound"),
        (EXACT, [(0, None, -1)], "must not be negative"),
    ],
)
def test_steps_that_leave_it_open_what_to_do_are_refused(
    kind: AdjustmentType, rows: list[tuple[float | None, float | None, int]], words: str
) -> None:
    """Overlaps, gaps, and ends that are not open."""
    with pytest.raises(ValueError, match=words):
        steps(kind, *rows)


@given(
    capacity=st.integers(1, 500),
    metric=st.floats(0, 1e6),
    target=st.floats(0.01, 1e4),
)
def test_at_the_tracked_capacity_the_metric_would_be_at_its_target(
    capacity: int, metric: float, target: float
) -> None:
    """It is the least capacity at which it is not over it."""
    found = target_tracking_capacity(capacity, metric, target)
    load = capacity * metric / target
    assert found == 10_000 or load <= found + 1e-6
    assert found == 0 or found - 1 < load + 1e-6


def test_from_nothing_whatever_comes_asks_for_one() -> None:
    """0 times anything would be 0 for ever."""
    assert (target_tracking_capacity(0, 3.0, 0.5), target_tracking_capacity(0, 0.0, 0.5)) == (1, 0)
    assert target_tracking_capacity(2, math.inf, 0.5) == 10_000
