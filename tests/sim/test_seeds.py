"""How sure a figure is: intervals, traffic as it might have come, and what is within the noise."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plans import plan_of, question

from coldspark.sim.bootstrap import SEEDS_MAX, block_s, confidence_interval, resampled_copies
from coldspark.sim.frontier import Objective
from coldspark.sim.plan_json import to_json
from coldspark.sim.traffic import Durations, Traffic, synthetic_traffic

pytestmark = pytest.mark.seconds

DAY_S = 86_400.0
VALUES = st.lists(st.floats(0.0, 1e6), min_size=2, max_size=SEEDS_MAX)


def test_the_interval_is_students() -> None:
    """The worked number of the module."""
    found = confidence_interval([10.0, 12.0, 14.0])
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(6.16), pytest.approx(17.84))


def test_one_play_says_nothing_of_chance() -> None:
    """An interval of nothing would look like certainty."""
    assert confidence_interval([3.0]) is None


@given(VALUES)
def test_the_interval_holds_the_mean(values: list[float]) -> None:
    """And closes on it where all plays agree."""
    found = confidence_interval(values)
    assert found is not None
    mean = sum(values) / len(values)
    assert found.low - 1e-6 <= mean <= found.high + 1e-6
    same = confidence_interval([values[0]] * len(values))
    assert same is not None
    assert same.high - same.low == pytest.approx(0.0, abs=1e-6)


@given(
    arrivals=st.lists(st.floats(0.0, 4_999.0), min_size=1, max_size=60).map(sorted),
    seeds=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_drawn_traffic_is_made_of_what_came(arrivals: list[float], seeds: int, seed: int) -> None:
    """The first is the traffic itself; no request lies beyond the period; services are known."""
    services = array("d", (1.0 + index for index in range(len(arrivals))))
    traffic = Traffic(array("d", arrivals), services)
    copies = resampled_copies(traffic, 5_000.0, seeds, seed)
    assert len(copies) == seeds
    assert copies[0] is traffic
    for copy in copies:
        assert list(copy.arrivals_s) == sorted(copy.arrivals_s)
        assert all(arrived_s < 5_000.0 for arrived_s in copy.arrivals_s)
        assert set(copy.services_s) <= set(services)


def test_days_are_blocks_where_there_are_several() -> None:
    """So that a request of ten o'clock comes at ten o'clock."""
    assert block_s(7 * DAY_S) == DAY_S
    assert block_s(DAY_S) == 3600.0
    assert block_s(1200.0) == 100.0
    traffic = synthetic_traffic(
        rate_per_hour=5, days=5, hours=(9, 10), service=Durations.fixed(1.0)
    )
    for copy in resampled_copies(traffic, 5 * DAY_S, 4, 0):
        assert all(9 <= at_s % DAY_S / 3600 <= 10 for at_s in copy.arrivals_s)


@pytest.mark.parametrize(
    "objective", [Objective(), Objective(p95_s=60.0), Objective(wait_dollars_per_s=0.001)]
)
def test_the_recommendation_says_how_sure_it_is(objective: Objective) -> None:
    """With intervals around both figures; what nothing tells apart is within the noise."""
    traffic = synthetic_traffic(
        rate_per_hour=30, days=0.1, burst=4, service=Durations.fixed(2.0), seed=5
    )
    asked = question(traffic=traffic, period_s=DAY_S / 10, seeds=4, objective=objective)
    plan = plan_of(asked)
    choice, answer = plan.choice, to_json(plan)
    assert choice.runner_up is not None
    assert choice.is_within_noise in (True, False)
    words = "is within the noise" if choice.is_within_noise else "is beyond the noise"
    assert f"{words} of 4 plays" in choice.confidence
    assert answer["seeds"]["plays"] == 4
    for one in answer["policies"]:
        low, high = one["month_nanos_90"]
        assert low <= one["month_nanos"] <= high
        low, high = one["latency_p95_s_90"]
        assert low <= one["latency"]["p95_s"] <= high


def test_platforms_are_compared_on_the_traffic_as_it_is() -> None:
    """The row of this machine is no mean, as the others' are none."""
    traffic = synthetic_traffic(rate_per_hour=12, days=0.05, service=Durations.fixed(2.0), seed=1)
    plan = plan_of(question(traffic=traffic, period_s=DAY_S / 20, seeds=3))
    here = plan.rows[0]
    assert here.cost == plan.choice.chosen.costs[0]
    assert here.outcome == plan.choice.chosen.result


def test_played_once_nothing_is_said_of_chance() -> None:
    """No interval, no claim, and the way to know."""
    traffic = synthetic_traffic(rate_per_hour=12, days=0.05, service=Durations.fixed(2.0), seed=1)
    plan = plan_of(question(traffic=traffic, period_s=DAY_S / 20))
    answer = to_json(plan)
    assert plan.choice.is_within_noise is None
    assert "Played once" in plan.choice.confidence
    assert {one["month_nanos_90"] for one in answer["policies"]} == {None}


def test_more_seeds_than_the_table_has_are_refused() -> None:
    """Of Student's t."""
    with pytest.raises(ValueError, match=r"seeds=99 must lie in 1\.\.31"):
        question(
            traffic=synthetic_traffic(rate_per_hour=6, days=1, service=Durations.fixed(2.0)),
            seeds=99,
        )
