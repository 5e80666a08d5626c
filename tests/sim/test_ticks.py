"""Ticks that are worked out late decide what ticks on time would: the same histories, played twice.

The reference looks at every tick: its rules never say that they are settled for longer.
"""

from dataclasses import dataclass

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from played import endpoint, traffic, world

from coldspark.fleet.policies import knative, ray_serve
from coldspark.fleet.policies.demand import TICKS_MAX, resume_tick_s, ticks_before
from coldspark.sim.traffic import Durations
from coldspark.spec.scaling_rules import Knative, RayServe, Rule

PERIOD_S = 3_000.0
# Whole and half seconds make ticks and events fall on the same moment.
MOMENTS = st.one_of(st.integers(0, 1200).map(lambda half: half / 2), st.floats(0.0, 600.0))
SERVICES = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0, 30.0]), st.floats(0.001, 90.0))
REQUESTS = st.lists(st.tuples(MOMENTS, SERVICES), max_size=40).map(sorted)
RULES = st.one_of(
    st.builds(
        Knative,
        target=st.sampled_from([0.5, 0.7, 1.0]),
        stable_s=st.sampled_from([6.0, 20.0, 60.0]),
        panic_over=st.sampled_from([1.0, 2.0]),
        tick_s=st.sampled_from([0.7, 2.0, 30.0]),
    ),
    st.builds(
        RayServe,
        target=st.sampled_from([0.5, 1.0, 2.0]),
        look_back_s=st.sampled_from([5.0, 30.0]),
        up_s=st.sampled_from([0.0, 0.3, 10.0, 30.0]),
        down_s=st.sampled_from([0.0, 45.0, 600.0]),
        tick_s=st.sampled_from([0.3, 1.0, 50.0]),
    ),
)


@dataclass(frozen=True)
class History:
    """What came of a history, to the last digit, and how often the fleet was stepped."""

    waits_s: list[float]
    cold: bytes
    starts: int
    unused: int
    times_s: tuple[float, float, float, float]
    notes: list[object]


def played(
    requests: list[tuple[float, float]], rule: Rule, low: int, slots: int, start_s: float
) -> tuple[History, int]:
    """Play a history; return what came of it, and how many events the fleet took."""
    asked = endpoint(
        traffic(*requests),
        start=Durations.fixed(start_s),
        rule=rule,
        replicas_min=low,
        replicas_max=4,
        concurrency=slots,
        park_timeout_s=0.0,
    )
    found = world([asked])
    lane = found.runs[0]
    steps, step = 0, lane.fleet.step

    def counted(event, now):  # type: ignore[no-untyped-def]
        nonlocal steps
        steps += 1
        return step(event, now)

    lane.fleet.step = counted  # type: ignore[method-assign]
    found.run(PERIOD_S)
    lane.fleet.check()
    times_s = (lane.busy_s, lane.idle_s, lane.starting_s, lane.parked_s)
    history = History(
        list(lane.waits_s),
        bytes(lane.cold),
        lane.starts,
        lane.unused,
        times_s,
        [*lane.fleet.decisions],
    )
    return history, steps


def tick_by_tick(
    requests: list[tuple[float, float]], rule: Rule, low: int, slots: int, start_s: float
) -> tuple[History, int]:
    """Play it with rules that look at every tick."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(knative, "settled_until_s", lambda rule, memory, scene: memory.next_s)
        patched.setattr(ray_serve, "settled_until_s", lambda rule, memory: memory.next_s)
        return played(requests, rule, low, slots, start_s)


@settings(max_examples=examples(150), deadline=None)
@given(
    requests=REQUESTS,
    rule=RULES,
    low=st.integers(0, 2),
    slots=st.integers(1, 3),
    start_s=st.sampled_from([0.5, 4.0, 12.34, 40.0]),
)
def test_ticks_that_are_left_for_later_change_nothing(
    requests: list[tuple[float, float]], rule: Rule, low: int, slots: int, start_s: float
) -> None:
    """Every wait, every start, every note, bit by bit."""
    late, few = played(requests, rule, low, slots, start_s)
    at_once, many = tick_by_tick(requests, rule, low, slots, start_s)
    assert late == at_once
    assert few <= many


@pytest.mark.parametrize("rule", [Knative(), RayServe()])
def test_hours_of_silence_are_a_few_steps(rule: Rule) -> None:
    """Two replicas are kept, one request comes: nothing is looked at for most of the hour."""
    requests = [(10.0, 2.0)]
    _, few = played(requests, rule, 2, 1, 4.0)
    assert few < 80


def test_a_tick_that_falls_on_the_moment_is_not_before_it() -> None:
    """However adding up rounds: all ticks but the one on it, or all where it lies between two."""
    next_s = 123.4
    for tick_s in (0.1, 0.3, 0.7, 1.0, 2.0):
        at_s = next_s
        for ticks in range(2_000):
            assert ticks_before(next_s, tick_s, at_s) == max(0, ticks - 1)
            assert ticks_before(next_s, tick_s, at_s + 0.5 * tick_s) == ticks
            at_s += tick_s


def test_a_machine_that_slept_goes_on_now() -> None:
    """A week in which nothing ran is not worked out tick by tick."""
    assert resume_tick_s(10.0, 1.0, 700_000.0) == 700_000.0
    assert resume_tick_s(10.0, 1.0, 10.0 + TICKS_MAX) == 10.0
