"""What comes of small traffic, worked out by hand."""

from array import array

import pytest

from coldspark.sim.simulation import Scenario, SimulationResult, WaitSummary, simulate, summarize
from coldspark.sim.traffic import Durations, Traffic
from coldspark.spec.messages import ScaleBoundsChanged
from coldspark.spec.scaling_rules import KeepAlive
from coldspark.spec.types import ScalePolicy

SECOND = 1_000_000
"""What one costs below, in nano-dollars."""


def trial(**changes: object) -> Scenario:
    """Return three requests of 5 s, starts of 10 s, and idle replicas that stay for 60 s."""
    values: dict[str, object] = {
        "traffic": Traffic(array("d", [0.0, 30.0, 200.0]), array("d", [5.0, 5.0, 5.0])),
        "period_s": 300.0,
        "scale": ScalePolicy(rule=KeepAlive(keep_s=60.0), park_timeout_s=0.0),
        "start": Durations.fixed(10.0),
        "hour_nanos": 3600 * SECOND,
    }
    return Scenario(**(values | changes))  # type: ignore[arg-type]


def test_a_small_trial_is_as_worked_out_by_hand() -> None:
    """Started for the first, warm for the second, gone before the third."""
    found = simulate(trial())
    assert (found.requests, found.unserved, found.cold, found.starts) == (3, 0, 2, 2)
    assert found.wait == WaitSummary(mean_s=20 / 3, p50_s=10.0, p95_s=10.0, p99_s=10.0)
    assert found.latency.p50_s == 15.0
    assert found.busy_s == pytest.approx(15)
    assert found.starting_s == pytest.approx(20)
    assert found.idle_s == pytest.approx(15 + 60 + 60)
    assert found.utilisation == pytest.approx(15 / 170)
    assert found.nanos == pytest.approx(170 * SECOND, rel=1e-6)
    assert found.cold_share == pytest.approx(2 / 3)


def test_what_is_not_served_in_time_is_counted_and_in_no_quantile() -> None:
    """The period ends while the last one waits."""
    found = simulate(trial(period_s=205.0))
    assert (found.served, found.unserved) == (2, 1)
    assert found.wait.p99_s == 10.0


def test_a_floor_that_moves_is_played() -> None:
    """One is there from 20 s to 250 s, so only the first request waits, and its cost is held."""
    moves = (
        (0.0, ScaleBoundsChanged(None, None, "")),
        (20.0, ScaleBoundsChanged(1, None, "window")),
    )
    found = simulate(
        trial(bounds_changes=(*moves, (250.0, ScaleBoundsChanged(None, None, "ended"))))
    )
    assert (found.cold, found.starts) == (1, 1)
    # From the first reply on it idles or works until 60 s after the last one.
    assert found.idle_s == pytest.approx(265.0 - 15.0 - 10.0)
    within = simulate(trial(bounds_changes=((0.0, ScaleBoundsChanged(2, 2, "window")),)))
    assert (within.starts, within.cold) == (2, 1)
    assert within.idle_s == pytest.approx(2 * 300.0 - within.starting_s - within.busy_s)


def test_nothing_happens_without_requests() -> None:
    """No start, no cost, no division by nothing."""
    found = simulate(trial(traffic=Traffic((), ())))
    assert (found.starts, found.nanos, found.cold_share, found.utilisation) == (0, 0, 0.0, 0.0)


def test_parked_replicas_hold_no_device() -> None:
    """They thaw instead of starting."""
    scale = ScalePolicy(rule=KeepAlive(keep_s=60.0), park_timeout_s=1000.0)
    found: SimulationResult = simulate(trial(scale=scale, thaw=Durations.fixed(1.0)))
    assert (found.starts, found.cold) == (1, 2)
    assert found.wait.mean_s == pytest.approx((10 + 0 + 1) / 3)
    assert found.parked_s == pytest.approx((200 - 95) + (300 - 266))


def test_quantiles_are_of_the_nearest_rank() -> None:
    """Of a hundred values the 95th is the 95th."""
    found = summarize([float(value) for value in range(1, 101)])
    assert (found.p50_s, found.p95_s, found.p99_s, found.mean_s) == (50.0, 95.0, 99.0, 50.5)
    assert summarize([7.0]).p50_s == 7.0
