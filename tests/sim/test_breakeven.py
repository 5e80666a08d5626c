"""Where one cost reaches another: found within its tolerance, or told to be nowhere."""

from array import array

from hypothesis import given, settings
from hypothesis import strategies as st

from coldspark.sim.break_even import TOLERANCE, crossing, leading_days, scaled
from coldspark.sim.traffic import Traffic

DAY_S = 86_400.0


@settings(deadline=None)
@given(st.floats(0.01, 1000), st.floats(0.1, 3), st.floats(0, 100), st.floats(0.01, 100_000))
def test_a_rising_cost_is_crossed_where_it_reaches_the_bound(
    slope: float, power: float, fixed: float, bound: float
) -> None:
    """For any power law above a fixed cost; None exactly when it is out of range."""
    low, high = 0.001, 1000.0

    def cost(x: float) -> float:
        return fixed + slope * x**power

    found = crossing(cost, bound, low, high)
    if found is None:
        near = (1 + TOLERANCE) ** 2
        assert cost(high) < bound * near or cost(low) > bound / near
    else:
        assert low <= found <= high
        assert abs(cost(found) - bound) <= TOLERANCE * bound * 1.001 or (
            cost(found / 1.02) <= bound <= cost(found * 1.02)
        )


@settings(deadline=None)
@given(st.floats(0.002, 900), st.floats(1.1, 100))
def test_a_jump_is_bracketed(at: float, height: float) -> None:
    """A second instance is such a jump."""
    found = crossing(lambda x: 1.0 if x < at else height, 1.05, 0.001, 1000.0)
    assert found is not None
    assert at / 1.03 <= found <= at * 1.03


def test_few_evaluations_are_enough_for_a_proportional_cost() -> None:
    """Each one plays thousands of requests."""
    asked: list[float] = []

    def cost(x: float) -> float:
        asked.append(x)
        return 3.0 * x

    assert crossing(cost, 300.0, 0.001, 10_000.0) is not None
    assert len(asked) <= 6


@settings(deadline=None)
@given(st.floats(0.05, 5), st.integers(0, 5))
def test_scaled_traffic_keeps_its_shape(factor: float, seed: int) -> None:
    """So many times as many, sorted, within the period."""
    base = Traffic(array("d", range(0, 80_000, 40)), array("d", [1.0] * 2000))
    found = scaled(base, factor, DAY_S, seed)
    assert abs(len(found) - factor * 2000) <= 0.1 * factor * 2000 + 60
    assert list(found.arrivals_s) == sorted(found.arrivals_s)
    assert all(0 <= at_s <= DAY_S for at_s in found.arrivals_s)
    assert scaled(base, factor, DAY_S, seed) == found


def test_what_is_left_out_at_a_rate_is_left_out_at_every_lower_one() -> None:
    """Or a lower rate could cost more by chance."""
    base = Traffic(array("d", range(1000)), array("d", [1.0] * 1000))
    few, more = (set(scaled(base, share, DAY_S).arrivals_s) for share in (0.2, 0.6))
    assert few < more


def test_the_first_days_are_whole_and_at_least_one() -> None:
    """A day has its hours."""
    base = Traffic(array("d", range(0, 3 * 86_400, 864)), array("d", [1.0] * 300))
    part, cut_s = leading_days(base, 3 * DAY_S, 210)
    assert (len(part), cut_s) == (200, 2 * DAY_S)
    part, cut_s = leading_days(base, 3 * DAY_S, 5)
    assert (len(part), cut_s) == (100, DAY_S)
    short = Traffic(array("d", [1.0]), array("d", [1.0]))
    assert leading_days(short, 3600.0, 5)[1] == 3600.0
