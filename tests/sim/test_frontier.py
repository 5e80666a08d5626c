"""The frontier holds whatever nothing beats, and the knee lies on it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.sim.frontier import CostAndWait, Objective, frontier, knee

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=30)


def beats(one: CostAndWait, other: CostAndWait) -> bool:
    """Return whether one is no worse in either cost, and better in one."""
    return one[0] <= other[0] and one[1] <= other[1] and one != other


@given(POINTS)
def test_the_frontier_is_what_nothing_beats(points: list[CostAndWait]) -> None:
    """Each such point is on it once, from the cheapest to the fastest."""
    kept = [points[index] for index in frontier(points)]
    unbeaten = {one for one in points if not any(beats(other, one) for other in points)}
    assert set(kept) == unbeaten
    assert kept == sorted(unbeaten)
    assert [wait for _, wait in kept] == sorted((w for _, w in kept), reverse=True)


@given(POINTS)
def test_of_equal_points_the_first_stays(points: list[CostAndWait]) -> None:
    """So the same sweep always recommends the same."""
    assert all(points.index(points[index]) == index for index in frontier(points))


@given(POINTS, st.integers(1, 1000), st.integers(1, 1000))
def test_the_knee_does_not_depend_on_units(
    points: list[CostAndWait], money: int, time: int
) -> None:
    """Cents or dollars, seconds or hours: the same policy."""
    best = [points[index] for index in frontier(points)]
    other = [(cost * money, wait * time) for cost, wait in best]
    here, there = knee(best), knee(other)
    # Two may lie equally far below the line; rounding then takes either.
    assert depth(best, here) == pytest.approx(depth(best, there), abs=1e-9)


def depth(points: list[CostAndWait], index: int) -> float:
    """Return how far below the line from end to end a point lies, in scaled axes."""
    (low, slow), (high, fast) = points[0], points[-1]
    if high == low:
        return 0.0
    x, y = points[index]
    return 1 - (x - low) / (high - low) - (y - fast) / (slow - fast)


def test_the_knee_is_where_money_begins_to_buy_less() -> None:
    """The page's worked number."""
    assert knee([(0.0, 1.0), (0.1, 0.2), (1.0, 0.0)]) == 1
    assert knee([(0.0, 1.0), (1.0, 0.0)]) == 0
    assert knee([(3.0, 3.0)]) == 0


def test_two_objectives_are_refused() -> None:
    """One decides."""
    with pytest.raises(ValueError, match="name one"):
        Objective(p95_s=1.0, wait_dollars_per_s=1.0)
    with pytest.raises(ValueError, match="must not be negative"):
        Objective(p95_s=-1.0)
