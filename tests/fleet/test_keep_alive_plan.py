"""The descent: the cheapest course, against every fixed keep-alive; and what it learns."""

import math
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.fleet.idle_intervals import (
    BINS,
    EDGES_S,
    INTERVAL_MIN_S,
    ConcurrencyLevels,
    IdleIntervals,
)
from coldspark.fleet.keep_alive_plan import (
    NEVER_S,
    PREWARM_COST,
    KeepAlivePlan,
    WarmthCost,
    WarmthLevel,
    cheapest_plan,
    plan_for_unseen_level,
    plan_with_spares,
)

GAPS = st.lists(st.floats(INTERVAL_MIN_S, 1e6), max_size=60)
WAKES = st.floats(0.01, 300.0)
VALUES = st.floats(0.0, 100.0)
PARKED = WarmthCost(idle_cost=0.002, wake_s=0.05)
UNUSED = WarmthCost(idle_cost=2.0, wake_s=0.0)


def measured(gaps_s: Iterable[float]) -> IdleIntervals:
    found = IdleIntervals()
    for gap_s in gaps_s:
        found.add(gap_s)
    return found


def rungs(start_s: float, parked: WarmthCost = UNUSED) -> tuple[WarmthCost, WarmthCost, WarmthCost]:
    return (WarmthCost(1.0, 0.0), parked, WarmthCost(0.0, start_s))


def cost(
    rests: list[WarmthLevel],
    gaps: IdleIntervals,
    costs: tuple[WarmthCost, WarmthCost, WarmthCost],
    wait_value: float,
) -> float:
    """Return what a course, one rung for each bin, is expected to cost: forwards, step by step."""
    total, alive, here = 0.0, 1.0, WarmthLevel.READY
    for index, (chance, rest) in enumerate(zip(gaps.end_probabilities(), rests, strict=True)):
        total += alive * (PREWARM_COST * costs[here].wake_s if rest < here else 0.0)
        here = rest
        width_s = EDGES_S[index + 1] - EDGES_S[index]
        total += alive * costs[here].idle_cost * width_s * (1.0 - 0.5 * chance)
        total += alive * chance * costs[here].wake_s * (1.0 + wait_value)
        alive *= 1.0 - chance
    return total


def by_bin(descent: KeepAlivePlan) -> list[WarmthLevel]:
    """Return the rung in the middle of each bin."""
    return [descent.level_at(math.sqrt(max(low, 0.01) * high)) for low, high in pairwise(EDGES_S)]


@given(gaps_s=GAPS, start_s=WAKES, wait_value=VALUES, has_parking=st.booleans())
def test_no_fixed_keep_alive_is_cheaper(
    gaps_s: list[float], start_s: float, wait_value: float, has_parking: bool
) -> None:
    """Ready until any bin's edge, then parked until any other, then ended: all cost as much."""
    gaps = measured(gaps_s)
    costs = rungs(start_s, PARKED if has_parking else UNUSED)
    # A wake ahead begins within a bin; only courses without one can be read off bin by bin.
    found = cheapest_plan(gaps, costs, wait_value)
    if any(rest is WarmthLevel.READY for rest in found.levels[1:]):
        return
    least = cost(by_bin(found), gaps, costs, wait_value)
    for ready in range(1, BINS + 2, 5):
        for parked in range(0, BINS + 2 - ready, 10) if has_parking else (0,):
            rests = [WarmthLevel.READY] * ready + [WarmthLevel.PARKED] * parked
            rests += [WarmthLevel.ENDED] * (BINS + 1 - len(rests))
            assert least <= cost(rests, gaps, costs, wait_value) * (1 + 1e-9) + 1e-9


@given(gaps_s=GAPS, start_s=WAKES, wait_value=VALUES)
def test_a_plan_begins_ready_and_its_ages_rise(
    gaps_s: list[float], start_s: float, wait_value: float
) -> None:
    """Each step leads to another rung."""
    descent = cheapest_plan(measured(gaps_s), rungs(start_s, PARKED), wait_value)
    assert descent.level_at(0.0) is WarmthLevel.READY
    assert list(descent.ages_s) == sorted(descent.ages_s)
    assert all(one is not other for one, other in pairwise(descent.levels))
    assert descent.next_s(descent.ages_s[-1]) == NEVER_S


def test_with_nothing_measured_it_is_the_ski_rental() -> None:
    """Kept for about what a wake costs: at most twice what an oracle would have paid."""
    descent = cheapest_plan(IdleIntervals(), rungs(30.0), 10.0)
    assert descent.levels == (WarmthLevel.READY, WarmthLevel.ENDED)
    assert descent.ages_s[1] == pytest.approx(304.4, abs=0.1)


def test_short_intervals_are_bridged_and_long_ones_are_not() -> None:
    """Half the gaps last 20 s, half last an hour: the replica is kept for the short ones alone."""
    descent = cheapest_plan(measured([20.0, 3600.0] * 50), rungs(10.0), 10.0)
    assert descent.levels[:2] == (WarmthLevel.READY, WarmthLevel.ENDED)
    assert 20.0 < descent.ages_s[1] < 30.0


def test_a_request_that_comes_every_hour_is_awaited() -> None:
    """Nobody is kept ready for 55 minutes, and nobody waits for the start."""
    descent = cheapest_plan(measured([3600.0] * 100), rungs(60.0), 100.0)
    assert descent.level_at(1800.0) is WarmthLevel.ENDED
    assert descent.level_at(3600.0) is WarmthLevel.READY


def test_a_parked_replica_is_kept_for_longer_than_a_ready_one() -> None:
    """Its rung costs little, and waking it makes nobody wait for long."""
    descent = cheapest_plan(IdleIntervals(), rungs(5.0, PARKED), 10.0)
    assert descent.levels == (WarmthLevel.READY, WarmthLevel.PARKED, WarmthLevel.ENDED)
    assert descent.ages_s[1] < 10.0
    assert descent.ages_s[2] > 3600.0


def test_old_intervals_fade() -> None:
    """Traffic that grew rare stops being bridged."""
    gaps = measured([2.0] * 300)
    busy = cheapest_plan(gaps, rungs(1.0), 10.0)
    for _ in range(2000):
        gaps.add(4000.0)
    rare = cheapest_plan(gaps, rungs(1.0), 10.0)
    assert rare.ages_s[1] <= busy.ages_s[1]
    assert rare.ages_s[1] == INTERVAL_MIN_S
    assert gaps.weight <= 257


MOVES = st.lists(st.tuples(st.integers(0, 6), st.floats(0.0, 100.0)), max_size=60)


@given(moves=MOVES)
def test_each_interval_of_each_level_is_measured_once(moves: list[tuple[int, float]]) -> None:
    """Against a plain record of when each level was up."""
    levels, now = ConcurrencyLevels(), 0.0
    gone: dict[int, float] = {}
    expected: dict[int, int] = {}
    level = 0
    for to, pause_s in moves:
        now += pause_s
        for up in range(level + 1, to + 1):
            if up in gone and now - gone[up] >= INTERVAL_MIN_S:
                expected[up] = expected.get(up, 0) + 1
            gone.pop(up, None)
        for down in range(to + 1, level + 1):
            gone[down] = now
        level = to
        levels.measure(to, 1, 6, now)
        levels.check()
        for each in range(1, 7):
            assert levels.idle_since_s(each) == gone.get(each)
    for each in range(1, 7):
        assert levels.intervals(each).measured == expected.get(each, 0)


def test_what_came_back_at_one_age_is_started_ahead_of_it() -> None:
    """A hundred gaps of an hour: no replica in between, one from a start before the bin on."""
    descent = cheapest_plan(measured([3600.0] * 100), rungs(30.0), 100.0)
    from_s, to_s = descent.starts_s[-1]
    # The two imagined gaps may end at once; within seconds it does not pay to wait for them.
    assert all(early_s < 10.0 for _, early_s in descent.starts_s[:-1])
    low, high = max(e for e in EDGES_S if e <= 3600.0), min(e for e in EDGES_S if e > 3600.0)
    assert from_s == pytest.approx(low - 30.0)
    assert to_s == pytest.approx(high)
    assert descent.next_prewarm_s(WarmthLevel.ENDED, 60.0) == from_s
    assert descent.next_prewarm_s(WarmthLevel.ENDED, 3600.0) == 3600.0
    assert descent.next_prewarm_s(WarmthLevel.ENDED, to_s) == NEVER_S


def test_a_thaw_is_cheaper_ahead_than_a_start() -> None:
    """Where a parked replica is thawed ahead, it is so a thaw before the bin, not a start."""
    descent = cheapest_plan(measured([3600.0] * 100), rungs(300.0, WarmthCost(0.002, 20.0)), 100.0)
    assert descent.thaws_s[-1][0] == pytest.approx(descent.starts_s[-1][0] + 280.0)


@given(gaps_s=GAPS, start_s=WAKES, wait_value=VALUES)
def test_ages_at_which_waking_ahead_pays_are_apart_and_rise(
    gaps_s: list[float], start_s: float, wait_value: float
) -> None:
    """Stretches are in order and do not touch, and ``raise_s`` agrees with them."""
    descent = cheapest_plan(measured(gaps_s), rungs(start_s, PARKED), wait_value)
    for rest, found in (
        (WarmthLevel.ENDED, descent.starts_s),
        (WarmthLevel.PARKED, descent.thaws_s),
    ):
        assert all(from_s < to_s for from_s, to_s in found)
        assert all(one[1] < other[0] for one, other in pairwise(found))
        for from_s, to_s in found:
            middle_s = (from_s + to_s) / 2
            assert descent.next_prewarm_s(rest, middle_s) == middle_s
            assert from_s <= descent.next_prewarm_s(rest, from_s) < to_s
        last_s = found[-1][1] if found else 0.0
        assert descent.next_prewarm_s(rest, last_s) == NEVER_S


def test_nothing_is_started_ahead_where_waiting_is_worth_nothing() -> None:
    """The start costs as much then as it does when somebody asks."""
    assert cheapest_plan(measured([3600.0] * 100), rungs(30.0), 0.0).starts_s == ()


@given(gaps_s=GAPS, start_s=WAKES, wait_value=VALUES, wait_s=st.floats(0.01, 300.0))
def test_who_waits_less_without_it_is_no_reason_to_keep_it_longer(
    gaps_s: list[float], start_s: float, wait_value: float, wait_s: float
) -> None:
    """A replica whose work others would soon take on is given up no later."""
    gaps = measured(gaps_s)
    alone = cheapest_plan(gaps, rungs(start_s), wait_value)
    among = cheapest_plan(gaps, rungs(start_s), wait_value, wait_s)
    first_s = [found.next_s(0.0) for found in (among, alone)]
    assert first_s[0] <= first_s[1]


@given(gaps_s=GAPS, start_s=WAKES, wait_value=VALUES)
def test_no_course_is_expected_to_cost_less_than_the_bridge(
    gaps_s: list[float], start_s: float, wait_value: float
) -> None:
    """Neither letting go at once, nor the one found, read off bin by bin."""
    gaps, costs = measured(gaps_s), rungs(start_s)
    found = cheapest_plan(gaps, costs, wait_value)
    assert found.expected_cost_s <= start_s * (1.0 + wait_value) * (1 + 1e-9)
    # A wake ahead begins within a bin.
    if all(rest is not WarmthLevel.READY for rest in found.levels[1:]):
        assert found.expected_cost_s <= cost(by_bin(found), gaps, costs, wait_value) * (1 + 1e-9)


def test_a_replica_beside_others_is_started_for_frequent_uses_alone() -> None:
    """Up for 2 s each time at 10 a second: 20 pays for gaps of 10 s, not for those of an hour."""
    often, is_often_worth = plan_with_spares(measured([10.0] * 50), rungs(30.0), 10.0, 2.0)
    rare, is_rare_worth = plan_with_spares(measured([3600.0] * 50), rungs(30.0), 10.0, 2.0)
    assert (is_often_worth, is_rare_worth) == (True, False)
    assert 10.0 < often.expected_cost_s < 13.0
    assert often.level_at(11.0) is WarmthLevel.READY
    assert rare.expected_cost_s == pytest.approx(20.0, rel=0.1)
    assert rare.next_s(0.0) <= 2.0


@given(gaps_s=GAPS, start_s=WAKES, wait_value=VALUES, up_s=st.floats(0.001, 300.0))
def test_what_is_not_worth_starting_is_given_up_no_later(
    gaps_s: list[float], start_s: float, wait_value: float, up_s: float
) -> None:
    """Than if a wake were certain to follow."""
    gaps = measured(gaps_s)
    found, is_worth = plan_with_spares(gaps, rungs(start_s), wait_value, up_s)
    certain = cheapest_plan(gaps, rungs(start_s), wait_value, up_s)
    assert is_worth == (wait_value * up_s > certain.expected_cost_s)
    assert found.next_s(0.0) <= certain.next_s(0.0)


def test_how_long_a_level_is_up_is_measured_across_short_intervals() -> None:
    """Up from 0 to 3 s and from 3.5 to 5 s is one time of 5 s, known when the next one begins."""
    levels = ConcurrencyLevels()
    for open, now in ((1, 0.0), (0, 3.0), (1, 3.5), (0, 5.0)):
        levels.measure(open, 1, 4, now)
    assert levels.intervals(1).busy_mean_s(1.0) == 1.0
    levels.measure(1, 1, 4, 60.0)
    assert levels.intervals(1).busy_mean_s(1.0) == pytest.approx((5.0 + 2 * 1.0) / 3)


def test_a_level_that_was_never_up_is_kept_early_and_only_where_waiting_is_dear() -> None:
    """The worked number: K is 102, of which 10/11 are 93; the bin edge below is 90.5."""
    dear = plan_for_unseen_level(10, 11, rungs(2.0), 100.0, 1.0)
    (ages,) = dear.starts_s
    assert ages[0] == 0.0
    assert 2.0 < ages[1] < 90.5
    assert dear.level_at(90.0) is WarmthLevel.READY
    assert dear.level_at(91.0) is WarmthLevel.ENDED
    assert not plan_for_unseen_level(10, 11, rungs(2.0), 0.0, 1.0).starts_s


@given(
    highest=st.integers(2, 40),
    over=st.integers(1, 40),
    start_s=WAKES,
    value=st.floats(0.0, 1e4),
    wait_s=st.floats(0.0, 100.0),
)
def test_the_further_over_all_that_was_seen_the_sooner_a_reserve_goes(
    highest: int, over: int, start_s: float, value: float, wait_s: float
) -> None:
    """Neither is it kept nor started for longer than the level below it."""
    lower, upper = (
        plan_for_unseen_level(highest, highest + each, rungs(start_s), value, wait_s)
        for each in (over, over + 1)
    )

    def last_start_s(descent: KeepAlivePlan) -> float:
        return max((to_s for _, to_s in descent.starts_s), default=0.0)

    assert last_start_s(upper) <= last_start_s(lower)
    assert upper.next_s(0.0) <= lower.next_s(0.0)
