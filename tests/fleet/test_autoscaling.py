"""The rule: no double start, no stop of what works, bounded, monotone, with its reason."""

import math
from dataclasses import replace

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from coldspark.fleet.policies.learned import (
    AGEING_STARTS,
    Observation,
    evaluate,
    first_paying_place,
    last_paying_replica,
)
from coldspark.spec.types import ScalePolicy

SECONDS = st.floats(0.001, 600.0)
POLICIES = st.builds(
    lambda low, extra, slots, waste: ScalePolicy(
        replicas_min=low, replicas_max=low + extra, concurrency=slots, waste_budget=waste
    ),
    st.integers(0, 5),
    st.integers(1, 100),
    st.integers(1, 8),
    st.floats(0.0, 1.0),
)
SEEN = st.builds(
    Observation,
    queued=st.integers(0, 200),
    ready=st.integers(0, 20),
    starting_ages_s=st.lists(st.floats(0.0, 600.0), max_size=8).map(tuple),
    oldest_wait_s=st.floats(0.0, 1000.0),
    start_s=st.none() | SECONDS,
    service_s=st.none() | SECONDS,
)


def seen(
    queued: int, ready: int = 0, starting: tuple[float, ...] = (), **known: float
) -> Observation:
    """Return a view of a fleet that has measured nothing but ``known``."""
    return Observation(
        queued=queued,
        ready=ready,
        starting_ages_s=starting,
        oldest_wait_s=known.get("oldest_wait_s", 0.0),
        start_s=known.get("start_s"),
        service_s=known.get("service_s"),
    )


def present(view: Observation) -> int:
    return view.ready + len(view.starting_ages_s)


def need(policy: ScalePolicy, view: Observation) -> float:
    """Return the work that justifies one start, in requests."""
    rounds = (view.start_s or 0.0) / view.service_s if view.service_s else 0.0
    return max(policy.concurrency, policy.waste_budget * policy.concurrency * rounds)


@given(policy=POLICIES, view=SEEN)
def test_it_stops_nothing_and_keeps_within_minimum_and_maximum(
    policy: ScalePolicy, view: Observation
) -> None:
    """Idle clocks stop replicas; the rule never does, and says why it decides as it does."""
    verdict = evaluate(policy, view)
    assert max(present(view), policy.replicas_min) <= verdict.replicas
    assert verdict.replicas <= max(policy.replicas_max, present(view))
    assert verdict.reason
    if view.queued == 0:
        assert verdict.replicas == max(present(view), policy.replicas_min)


@given(policy=POLICIES, view=SEEN, more=st.integers(1, 100))
def test_more_who_wait_never_mean_fewer_replicas(
    policy: ScalePolicy, view: Observation, more: int
) -> None:
    """Monotone in the queue."""
    longer = structs.replace(view, queued=view.queued + more)
    assert evaluate(policy, longer).replicas >= evaluate(policy, view).replicas


@given(policy=POLICIES, view=SEEN)
def test_one_decision_never_starts_more_than_the_work_justifies(
    policy: ScalePolicy, view: Observation
) -> None:
    """At most ceil(q / need), but one from nothing and what the floor asks for."""
    started = evaluate(policy, view).replicas - present(view)
    floor = policy.replicas_min - present(view)
    assert started <= max(math.ceil(view.queued / need(policy, view)), floor, 0)


@given(policy=POLICIES, view=SEEN)
def test_asking_again_at_once_starts_nothing_more(policy: ScalePolicy, view: Observation) -> None:
    """What was just started is counted for what it was started for."""
    started = evaluate(policy, view).replicas - present(view)
    again = structs.replace(view, starting_ages_s=view.starting_ages_s + (0.0,) * started)
    assert evaluate(policy, again).replicas == present(again)


@settings(max_examples=examples(60), deadline=None)
@given(policy=POLICIES, view=SEEN, burst=st.integers(1, 60))
def test_a_burst_that_arrives_one_by_one_starts_no_more_than_the_whole(
    policy: ScalePolicy, view: Observation, burst: int
) -> None:
    """From zero, never more than ceil(q / need) starts, however often the rule is asked."""
    policy = replace(policy, replicas_min=0)
    ages: tuple[float, ...] = ()
    for queued in range(1, burst + 1):
        now = structs.replace(view, queued=queued, ready=0, starting_ages_s=ages, oldest_wait_s=0.0)
        ages += (0.0,) * (evaluate(policy, now).replicas - len(ages))
    assert 1 <= len(ages) <= math.ceil(burst / need(policy, view))


@given(policy=POLICIES, view=SEEN, age_s=st.floats(0.0, 600.0))
def test_one_request_never_starts_a_second_replica(
    policy: ScalePolicy, view: Observation, age_s: float
) -> None:
    """One is on its way, so one who waits is no reason for another."""
    view = structs.replace(view, queued=1, ready=0, starting_ages_s=(age_s,))
    assert evaluate(policy, view).replicas == max(1, policy.replicas_min)


@given(policy=POLICIES, view=SEEN)
def test_from_nothing_somebody_who_waits_gets_a_replica(
    policy: ScalePolicy, view: Observation
) -> None:
    """However little its work is worth."""
    view = structs.replace(view, queued=max(1, view.queued), ready=0, starting_ages_s=())
    assert evaluate(policy, view).replicas >= 1


@given(policy=POLICIES, view=SEEN)
def test_the_same_view_gets_the_same_answer(policy: ScalePolicy, view: Observation) -> None:
    """Nothing is remembered, so a restart in the middle changes nothing."""
    assert evaluate(policy, view) == evaluate(policy, structs.replace(view))


def test_unknown_times_mean_a_start_for_every_slot_of_waiting_work() -> None:
    """Missing measurements are not read as zero work done by others."""
    policy = ScalePolicy(replicas_max=100, concurrency=4, waste_budget=1.0)
    assert evaluate(policy, seen(10)).replicas == 3
    assert evaluate(policy, seen(10, ready=1)).replicas == 4


def test_what_ready_replicas_finish_within_a_start_is_no_reason_to_start() -> None:
    """Two replicas do 2 * 10 / 1 = 20 requests in the 10 s that a third would take."""
    policy = ScalePolicy(replicas_max=50)
    held = evaluate(policy, seen(20, ready=2, start_s=10.0, service_s=1.0))
    assert held.replicas == 2
    assert "will have taken them on" in held.reason
    assert evaluate(policy, seen(25, ready=2, start_s=10.0, service_s=1.0)).replicas == 7


def test_a_start_about_to_be_ready_counts_for_more_than_a_fresh_one() -> None:
    """With 1 s to go it serves 1 + 9 of the 12 before another could be ready."""
    policy = ScalePolicy(replicas_max=50)
    assert evaluate(policy, seen(12, starting=(9.0,), start_s=10.0, service_s=1.0)).replicas == 3
    assert evaluate(policy, seen(12, starting=(0.0,), start_s=10.0, service_s=1.0)).replicas == 12


def test_a_waste_budget_holds_when_the_rule_is_asked_again() -> None:
    """Fifty wait, a start takes ten requests' time: five starts, not five and then forty more."""
    policy = ScalePolicy(replicas_max=100, waste_budget=1.0)
    assert evaluate(policy, seen(50, start_s=10.0, service_s=1.0)).replicas == 5
    assert (
        evaluate(policy, seen(50, starting=(0.0,) * 5, start_s=10.0, service_s=1.0)).replicas == 5
    )


@pytest.mark.parametrize(("waited_s", "replicas"), [(0.9, 1), (1.1, 2)])
def test_who_has_waited_for_three_starts_gets_one_more_replica(
    waited_s: float, replicas: int
) -> None:
    """The ageing guard against believing too much in what is there."""
    policy = ScalePolicy(replicas_max=5)
    oldest_s = waited_s * AGEING_STARTS * 10.0
    view = seen(1, ready=1, start_s=10.0, service_s=1.0, oldest_wait_s=oldest_s)
    assert evaluate(policy, view).replicas == replicas


def test_the_reason_names_the_maximum_when_it_binds() -> None:
    """Fifty wait, two may be."""
    verdict = evaluate(ScalePolicy(replicas_max=2), seen(50))
    assert verdict.replicas == 2
    assert verdict.reason == "50 waiting, 0 ready, 0 starting: start 2 (of 50: replicas_max=2)"


def waits_beyond(place: int, rounds: float) -> float:
    """Return E[(T - rounds)+] for T the sum of ``place`` exponential times, by integration.

    It is the integral over t from ``rounds`` of P(T > t) = P(fewer than ``place`` by t).
    """
    step, total, at = 0.01, 0.0, rounds + 0.005
    while at < rounds + place + 12 * math.sqrt(place) + 20:
        term = chance = math.exp(-at)
        for n in range(1, place):
            term *= at / n
            chance += term
        total += chance * step
        at += step
    return total


@settings(max_examples=examples(40), deadline=None)
@given(rounds=st.floats(0.05, 25.0), value=st.floats(0.5, 300.0))
def test_a_start_pays_from_the_first_place_whose_waiting_is_worth_it(
    rounds: float, value: float
) -> None:
    """The closed form against the integral: that place pays, and the one before it does not."""
    place = first_paying_place(rounds, value)
    assert value * waits_beyond(place, rounds) >= rounds * (1 - 1e-3)
    if place > 1:
        assert value * waits_beyond(place - 1, rounds) <= rounds * (1 + 1e-3)


def test_waiting_that_is_worth_more_saves_an_earlier_place() -> None:
    """The worked number, and that the place falls as the value rises, never below the first."""
    assert first_paying_place(1.5, 10.0) == 1
    places = [first_paying_place(20.0, value) for value in (0.01, 0.1, 1.0, 10.0, 100.0, 1e6)]
    assert places == sorted(places, reverse=True)
    assert places[0] > places[-1] >= 1


def test_waiting_that_is_worth_nothing_starts_nothing_more() -> None:
    """Only what the replicas at hand cannot take on within a start is a reason then."""
    views = [
        Observation(
            queued=queued,
            ready=2,
            starting_ages_s=(),
            oldest_wait_s=0.0,
            start_s=30.0,
            service_s=3.0,
            service_mean_s=3.0,
        )
        for queued in range(1, 21)
    ]
    poor = ScalePolicy(replicas_max=50, wait_value=0.0)
    rich = ScalePolicy(replicas_max=50, wait_value=100.0)
    assert all(evaluate(poor, view).replicas == 2 for view in views)
    wanted = [evaluate(rich, view).replicas for view in views]
    assert wanted == sorted(wanted)
    assert wanted[-1] > 2


@given(view=SEEN, slots=st.integers(1, 8))
def test_without_patience_everybody_who_waits_has_a_start(view: Observation, slots: int) -> None:
    """A slot starts for each, unless the maximum is reached."""
    policy = ScalePolicy(replicas_max=10_000, concurrency=slots, patience_s=0.0)
    wanted = evaluate(policy, view).replicas
    assert slots * (wanted - view.ready) >= view.queued


def test_patience_lets_those_that_are_ready_take_their_turn() -> None:
    """Two of 4 s take one within 2 s, and one starts: three of five are left."""
    view = seen(5, ready=2, starting=(0.0,), start_s=8.0, service_s=4.0)
    view = structs.replace(view, service_mean_s=4.0)
    policy = ScalePolicy(replicas_max=100, wait_value=0.0)
    assert evaluate(policy, view).replicas == 3
    assert evaluate(replace(policy, patience_s=2.0), view).replicas == 3 + 3
    assert evaluate(replace(policy, patience_s=0.0), view).replicas == 3 + 4


@given(view=SEEN, shorter_s=st.floats(0.0, 100.0), longer_s=st.floats(0.0, 100.0))
def test_less_patience_starts_no_fewer(
    view: Observation, shorter_s: float, longer_s: float
) -> None:
    """It is monotone, and with any at least as many start as with none set."""
    low, high = sorted((shorter_s, longer_s))
    policy = ScalePolicy(replicas_max=1000)
    one, other, unset = (
        evaluate(replace(policy, patience_s=each), view).replicas for each in (low, high, None)
    )
    assert one >= other >= unset


@given(left=st.floats(0.1, 1000.0), rounds=st.floats(0.01, 1000.0), value=st.floats(0.0, 1000.0))
def test_the_last_start_pays_by_the_waiting_of_the_queue_and_one_more_does_not(
    left: float, rounds: float, value: float
) -> None:
    """In starts: M replicas let a queue wait for left**2 / (2 M rounds) in all."""
    last = last_paying_replica(left, rounds, value)

    def spared(replicas: int) -> float:
        return value * left * left / (2.0 * rounds * replicas * (replicas - 1))

    assert last == 1 or spared(last) >= 1.0 - 1e-6
    assert spared(last + 1) <= 1.0 + 1e-6


def test_a_queue_that_a_few_will_soon_have_worked_off_starts_no_replica_for_each() -> None:
    """The worked number: 20 of 50; with S of a minute each has its own, with no value one."""
    burst = Observation(
        queued=50,
        ready=0,
        starting_ages_s=(),
        oldest_wait_s=0.0,
        start_s=30.0,
        service_s=1.0,
        service_mean_s=1.0,
    )
    policy = ScalePolicy(replicas_max=100)
    assert evaluate(policy, burst).replicas == 20
    long = structs.replace(burst, service_s=60.0, service_mean_s=60.0)
    assert evaluate(policy, long).replicas == 50
    assert evaluate(replace(policy, wait_value=0.0), burst).replicas == 1
    assert evaluate(replace(policy, patience_s=0.0), burst).replicas == 50


def test_a_load_that_goes_on_has_those_that_it_keeps_busy_besides() -> None:
    """Four come each second and take 5 s: 20 are busy for good, however short the queue is."""
    view = Observation(
        queued=60,
        ready=2,
        starting_ages_s=(),
        oldest_wait_s=0.0,
        start_s=30.0,
        service_s=5.0,
        service_mean_s=5.0,
        arrivals_per_s=4.0,
    )
    policy = ScalePolicy(replicas_max=100, wait_value=0.1)
    # 60 - 2 * 30/5 = 48 are left: M (M - 1) <= 0.1 * 48**2 / 12 = 19.2, so 4 for the backlog.
    assert evaluate(policy, structs.replace(view, arrivals_per_s=0.0)).replicas == 4
    assert evaluate(policy, view).replicas == 4 + 20


@given(view=SEEN, low=st.floats(0.0, 100.0), high=st.floats(0.0, 100.0), mean_s=SECONDS)
def test_waiting_that_is_worth_more_starts_no_fewer(
    view: Observation, low: float, high: float, mean_s: float
) -> None:
    """It is monotone in ``wait_value``."""
    view = structs.replace(view, service_mean_s=mean_s, arrivals_per_s=1.0)
    less, more = (
        evaluate(ScalePolicy(replicas_max=1000, wait_value=value), view).replicas
        for value in sorted((low, high))
    )
    assert less <= more
