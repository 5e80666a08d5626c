"""The rate of arrivals, from two marks."""

from hypothesis import given
from hypothesis import strategies as st

from coldspark.fleet.measurements import ArrivalRate

STEPS = st.lists(st.tuples(st.floats(0.0, 100.0), st.integers(0, 50)), min_size=1, max_size=40)


def test_a_load_that_goes_on_has_its_rate_and_a_burst_after_silence_hardly_any() -> None:
    """The worked number, and then an hour of nothing."""
    arrivals = ArrivalRate()
    assert [arrivals.per_s(*seen) for seen in ((1, 10, 0), (41, 10, 10), (61, 10, 15))] == [0, 4, 4]
    assert arrivals.per_s(61, 10, 20) == 2
    assert arrivals.per_s(91, 10, 3620) < 0.1


@given(steps=STEPS, window_s=st.floats(0.0, 50.0))
def test_it_is_never_below_zero_nor_over_what_came_within_a_window(
    steps: list[tuple[float, int]], window_s: float
) -> None:
    """Nothing is divided by less than the window or a millisecond: no rate is infinite."""
    arrivals, now, came = ArrivalRate(), 0.0, 0
    for passed_s, more in steps:
        now, came = now + passed_s, came + more
        rate = arrivals.per_s(came, window_s, now)
        assert rate >= 0.0
        assert rate * window_s <= came * (1 + 1e-9)
