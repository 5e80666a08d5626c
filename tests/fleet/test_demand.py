"""The mean of open requests: against the integral worked out piece by piece."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.fleet.policies.demand import STEP_S, DemandWindow

CHANGES = st.lists(st.tuples(st.floats(0.001, 40.0), st.integers(0, 9)), min_size=1, max_size=60)


def integral(changes: list[tuple[float, int]], begin_s: float, end_s: float) -> float:
    """Return the integral of the step function, piece by piece."""
    total, points = 0.0, [*changes, (end_s, 0)]
    for (from_s, open), (to_s, _) in pairwise(points):
        total += open * max(0.0, min(to_s, end_s) - max(from_s, begin_s))
    return total


def played(demand: DemandWindow, steps: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Note the changes; return them by their moments."""
    now, changes = 100.0, []
    for gap_s, open in steps:
        now += gap_s
        demand.record(open, now)
        changes.append((now, open))
    return changes


@given(steps=CHANGES, after_s=st.floats(0.0, 30.0), window_s=st.sampled_from([6.0, 30.0, 60.0]))
def test_the_mean_is_the_integral_over_the_window(
    steps: list[tuple[float, int]], after_s: float, window_s: float
) -> None:
    """Within what changes inside one second at the window's begin can hide."""
    demand = DemandWindow(60.0)
    changes = played(demand, steps)
    now = changes[-1][0] + after_s
    begin_s = max(now - window_s, demand.since_s)
    if begin_s >= now:
        return
    exact = integral(changes, begin_s, now) / (now - begin_s)
    most = max(open for _, open in changes)
    assert demand.mean(window_s, now) == pytest.approx(exact, abs=most * STEP_S / (now - begin_s))


@given(steps=CHANGES)
def test_the_mean_is_exact_where_changes_are_seconds_apart(steps: list[tuple[float, int]]) -> None:
    """No two within a second: nothing is hidden."""
    demand = DemandWindow(60.0)
    changes = played(demand, [(STEP_S + gap_s, open) for gap_s, open in steps])
    now = changes[-1][0] + 0.5
    begin_s = max(now - 30.0, demand.since_s)
    exact = integral(changes, begin_s, now) / (now - begin_s)
    assert demand.mean(30.0, now) == pytest.approx(exact, rel=1e-9, abs=1e-9)


@given(steps=CHANGES, window_s=st.floats(1.0, 60.0))
def test_the_mean_lies_between_the_least_and_the_most(
    steps: list[tuple[float, int]], window_s: float
) -> None:
    """Whatever is hidden within a second."""
    demand = DemandWindow(60.0)
    changes = played(demand, steps)
    mean = demand.mean(window_s, changes[-1][0] + 1.0)
    assert -1e-9 <= mean <= max(open for _, open in changes) + 1e-9


def test_after_silence_the_mean_begins_anew() -> None:
    """The first request after a minute of nothing counts in full at once, as it does at first."""
    demand = DemandWindow(60.0)
    demand.record(1, 0.0)
    demand.record(0, 1.0)
    demand.record(2, 500.0)
    assert demand.mean(60.0, 500.0) == 2.0
    assert demand.mean(60.0, 503.0) == pytest.approx(2.0)


def test_what_is_kept_is_bounded() -> None:
    """Ten changes a second for an hour: two points for every second of the horizon, no more."""
    demand = DemandWindow(60.0)
    for n in range(36_000):
        demand.record(n % 3, n / 10)
    assert len(demand._times_s) <= 2 * 60 + 4
