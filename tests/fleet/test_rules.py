"""The rules of the field: each formula at worked numbers, and what holds for any input."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.keep_alive_plan import NEVER_S, WarmthLevel
from coldspark.fleet.policies import knative, ray_serve, request_counting, target_tracking
from coldspark.fleet.policies.demand import DemandWindow
from coldspark.fleet.policies.evaluation import (
    POLICIES,
    demand_window,
    evaluate,
    initial_memory,
)
from coldspark.fleet.policies.histogram import IdleTimeHistogram
from coldspark.fleet.policies.knative import KnativeMemory
from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.fleet.policies.ray_serve import RayServeMemory
from coldspark.fleet.policies.request_counting import QueueDelayMemory
from coldspark.fleet.policies.target_tracking import TargetTrackingMemory
from coldspark.spec.scaling_rules import (
    RULES,
    Histogram,
    KeepAlive,
    Knative,
    Learned,
    QueueDelay,
    RayServe,
    RequestCount,
    TargetTracking,
)
from coldspark.spec.types import ScalePolicy


def seen(
    now: float = 0.0,
    *,
    queued: int = 0,
    running: int = 0,
    ready: int = 0,
    starting: int = 0,
    slots: int = 1,
    oldest_wait_s: float = 0.0,
    demand: DemandWindow | None = None,
) -> Observation:
    """Return what a fleet looks like; the demand has always been what it is, if none is given."""
    if demand is None:
        demand = DemandWindow(600.0)
        demand.record(queued + running, now - 600.0)
    return Observation(
        now=now,
        queued=queued,
        running=running,
        ready=ready,
        starting_ages_s=(0.0,) * starting,
        slots=slots,
        oldest_wait_s=oldest_wait_s,
        start_s=None,
        service_s=None,
        demand=demand,
    )


COUNTS = st.integers(0, 60)
SLOTS = st.integers(1, 8)


@given(queued=COUNTS, running=COUNTS, slots=SLOTS)
def test_keep_alive_has_a_slot_for_every_request_and_none_to_spare(
    queued: int, running: int, slots: int
) -> None:
    """The slots of what it wants are enough, and those of one replica fewer are not."""
    verdict = request_counting.keep_alive(
        KeepAlive(keep_s=7.0), seen(queued=queued, running=running, slots=slots)
    )
    assert verdict.replicas * slots >= queued + running > (verdict.replicas - 1) * slots
    assert verdict.keep_alive_s == 7.0
    assert verdict.replicas_min == 0


@given(open=COUNTS, more=st.integers(0, 20), requests=st.floats(0.1, 20.0))
def test_request_count_never_wants_fewer_for_more(open: int, more: int, requests: float) -> None:
    """Monotone, and never more requests for each replica than it was told."""
    rule = RequestCount(requests=requests)
    fewer = request_counting.request_count(rule, seen(queued=open)).replicas
    wanted = request_counting.request_count(rule, seen(queued=open + more)).replicas
    assert wanted >= fewer
    assert wanted * requests >= (open + more) * (1 - 1e-12)


def test_request_count_of_four_wants_two_for_eight() -> None:
    """The worked number of the module."""
    assert request_counting.request_count(RequestCount(), seen(queued=8)).replicas == 2


def test_queue_delay_adds_one_each_time_that_the_first_has_waited_long_enough() -> None:
    """One at once, then one every four seconds while the first in the queue still waits."""
    rule, memory, added = QueueDelay(), QueueDelayMemory(), []
    present, now = 0, 0.0
    while now <= 13.0:
        view = seen(now, queued=8, starting=present, oldest_wait_s=now)
        verdict, memory = request_counting.queue_delay(rule, view, memory)
        if verdict.replicas > present:
            assert verdict.replicas == present + 1
            added.append(now)
            present = verdict.replicas
        now += 0.5
    assert added == [0.0, 4.0, 8.0, 12.0]


def test_queue_delay_says_when_it_is_due() -> None:
    """Nobody has to ask it before."""
    rule, memory = QueueDelay(delay_s=4.0), QueueDelayMemory(added_s=10.0)
    view = seen(12.0, queued=1, ready=1, oldest_wait_s=1.0)
    verdict, after = request_counting.queue_delay(rule, view, memory)
    assert verdict.replicas == 1
    assert verdict.evaluate_again_s == 15.0, "the first arrived at 11"
    assert after == memory
    verdict, _ = request_counting.queue_delay(
        rule, seen(15.0, queued=1, ready=1, oldest_wait_s=4.0), after
    )
    assert verdict.replicas == 2


def run_knative(rule: Knative, views: list[Observation]) -> list[int]:
    """Ask Knative's rule at each view; return what it wanted."""
    memory, wanted = KnativeMemory(), []
    for view in views:
        verdict, memory = knative.evaluate(rule, view, memory)
        wanted.append(verdict.replicas)
    return wanted


def test_knative_starts_two_for_one_request_and_keeps_them_for_a_minute() -> None:
    """c=1: ceil(1/0.7) = 2, and 2/1 is panic. At 100 % it starts one."""
    demand = DemandWindow(60.0)
    demand.record(1, 0.0)
    assert run_knative(Knative(), [seen(0.0, queued=1, demand=demand)]) == [2]
    assert run_knative(Knative(target=1.0), [seen(0.0, queued=1, demand=demand)]) == [1]


def test_knative_does_not_go_down_in_panic_and_goes_to_zero_after_silence() -> None:
    """One request of five seconds: two replicas until 60 s after the last panic, then none."""
    rule, memory, demand = Knative(), KnativeMemory(), DemandWindow(60.0)
    wanted: dict[int, int] = {}
    demand.record(1, 0.0)
    for now in range(0, 140, 2):
        if now == 6:
            demand.record(0, 5.0)
        is_open = now < 5
        view = seen(now, queued=int(is_open), ready=0 if now < 3 else 2, demand=demand)
        verdict, memory = knative.evaluate(rule, view, memory)
        wanted[now] = verdict.replicas
        assert verdict.replicas_min == verdict.replicas
    assert {wanted[now] for now in range(0, 60, 2)} == {2}
    assert wanted[70] == 0
    assert wanted[138] == 0


def test_knative_halves_at_most() -> None:
    """Out of panic, ten ready ones and hardly any demand: half of them at the next tick."""
    demand = DemandWindow(60.0)
    demand.record(1, -100.0)
    view = seen(0.0, running=1, ready=10, demand=demand)
    assert run_knative(Knative(), [view]) == [5]


@given(open=st.integers(0, 300), ready=st.integers(0, 40), slots=SLOTS)
def test_knative_wants_something_exactly_when_something_was_asked_for(
    open: int, ready: int, slots: int
) -> None:
    """Steady demand: between what serves it at the target and half of what is there."""
    view = seen(0.0, queued=open, ready=ready, slots=slots)
    verdict, _ = knative.evaluate(Knative(), view, KnativeMemory())
    exact = math.ceil(open / (0.7 * slots) - 1e-9)
    assert (verdict.replicas == 0) == (open == 0)
    if open:
        assert verdict.replicas == min(max(exact, max(1, ready) // 2), 1000 * max(1, ready))


def test_ray_serve_goes_up_only_after_its_delay() -> None:
    """Eight requests on one replica, two for each: four, thirty seconds later."""
    rule, memory, demand = RayServe(), RayServeMemory(want=1), DemandWindow(30.0)
    demand.record(8, -100.0)
    wanted = []
    for now in range(40):
        view = seen(now, queued=7, running=1, ready=1, demand=demand)
        verdict, memory = ray_serve.evaluate(rule, view, memory)
        wanted.append(verdict.replicas)
    assert wanted == [1] * 30 + [4] * 10


def test_ray_serve_forgets_a_delay_that_was_interrupted() -> None:
    """Twenty seconds of demand, ten without, twenty more: it never goes up."""
    rule, memory = RayServe(), RayServeMemory(want=1)
    for now in range(50):
        open = 2 if 20 <= now < 30 else 8
        verdict, memory = ray_serve.evaluate(rule, seen(now, queued=open, ready=1), memory)
        assert verdict.replicas == 1


def test_ray_serve_starts_at_once_from_zero_and_goes_down_after_ten_minutes() -> None:
    """The first request is served at once; silence is believed after 600 s."""
    rule, demand = RayServe(), DemandWindow(30.0)
    demand.record(3, 0.0)
    verdict, memory = ray_serve.evaluate(rule, seen(0.0, queued=3, demand=demand), RayServeMemory())
    assert verdict.replicas == 2
    demand.record(0, 1.0)
    # Silence is seen when its mean has gone: 30 s after the last.
    went_s = NEVER
    for now in range(1, 700):
        verdict, memory = ray_serve.evaluate(rule, seen(now, ready=2, demand=demand), memory)
        if verdict.replicas < 2:
            went_s = min(went_s, now)
    assert 600 <= went_s <= 640
    assert verdict.replicas == 0


def minute(
    rule: TargetTracking, memory: TargetTrackingMemory, now: float, open: int, ready: int
) -> tuple[ScaleDecision, TargetTrackingMemory]:
    """Ask target tracking at the end of a minute in which so many were open."""
    return target_tracking.evaluate(rule, seen(now, running=open, ready=ready), memory)


def test_target_tracking_scales_out_after_three_minutes_and_rests_for_five() -> None:
    """r=2, m=1.0: three at the third datapoint; the cooldown holds the next step back."""
    rule, memory = TargetTracking(), TargetTrackingMemory(want=2)
    wanted = []
    for n in range(1, 12):
        verdict, memory = minute(rule, memory, 60.0 * n, memory.want, memory.want)
        wanted.append(verdict.replicas)
    assert wanted[:3] == [2, 2, 3]
    assert wanted[3:7] == [3] * 4, "300 s of cooldown"
    assert max(wanted[7:9]) == 5, "ceil(3 / 0.7)"


def test_target_tracking_scales_in_after_fifteen_minutes() -> None:
    """Nothing to do: gone at the fifteenth datapoint, not before."""
    rule, memory = TargetTracking(), TargetTrackingMemory(want=2)
    wanted = []
    for n in range(1, 16):
        verdict, memory = minute(rule, memory, 60.0 * n, 0, 2)
        wanted.append(verdict.replicas)
    assert wanted == [2] * 14 + [0]


def test_target_tracking_starts_one_from_nothing() -> None:
    """Nothing times anything is nothing: the first request is the way out."""
    verdict, _ = target_tracking.evaluate(TargetTracking(), seen(queued=9), TargetTrackingMemory())
    assert verdict.replicas == 1


def idle_times(rule: Histogram, idle_s: list[float]) -> IdleTimeHistogram:
    """Return a histogram that has counted these."""
    found = IdleTimeHistogram(rule)
    for each in idle_s:
        found.add(each)
    return found


def test_the_histogram_wakes_ahead_of_the_first_and_keeps_until_the_last() -> None:
    """The worked number: idle times of 30 to 31 minutes."""
    descent = idle_times(Histogram(), [1800.0 + n for n in range(50)]).keep_alive_plan()
    assert descent.level_at(1.0) is WarmthLevel.ENDED
    assert descent.level_at(1619.0) is WarmthLevel.ENDED
    assert descent.level_at(1621.0) is WarmthLevel.READY
    assert descent.level_at(2045.0) is WarmthLevel.READY
    assert descent.level_at(2047.0) is WarmthLevel.ENDED
    assert descent.starts_s == ((pytest.approx(1620.0), pytest.approx(2046.0)),)


def test_the_histogram_keeps_for_its_whole_range_while_it_knows_nothing() -> None:
    """Nothing counted; or spread evenly over every bin; or mostly beyond the range."""
    evenly = [60.0 * n + 1.0 for n in range(240)]
    for known in ([], evenly, [20_000.0] * 10 + [60.0] * 9):
        descent = idle_times(Histogram(), known).keep_alive_plan()
        assert descent.level_at(14_399.0) is WarmthLevel.READY
        assert descent.level_at(14_401.0) is WarmthLevel.ENDED
        assert descent.starts_s == ()


def test_the_histogram_does_not_end_what_comes_back_within_a_bin() -> None:
    """A head in the first bin: kept until the tail, and never woken ahead."""
    descent = idle_times(Histogram(), [5.0] * 99 + [200.0]).keep_alive_plan()
    assert descent.level_at(50.0) is WarmthLevel.READY
    assert descent.next_s(0.0) <= 1.1 * 240.0 + 1e-9
    assert descent.starts_s == ()


@given(st.lists(st.floats(0.0, 20_000.0), max_size=80))
def test_the_histogram_is_ready_for_nine_in_ten_of_what_it_counted(idle_s: list[float]) -> None:
    """Where it counts, 5 % may come before the head and 1 % after the tail."""
    counted = idle_times(Histogram(), idle_s)
    descent = counted.keep_alive_plan()
    inside = [each for each in idle_s if each < 14_400.0]
    met = sum(descent.level_at(max(each, 1e-9)) is WarmthLevel.READY for each in inside)
    assert met >= math.floor(0.94 * len(inside))
    assert descent.ages_s[0] == 0.0
    assert descent.next_s(descent.ages_s[-1]) == NEVER_S


@given(rule=st.sampled_from(RULES), open=st.integers(0, 80), ready=st.integers(0, 9), slots=SLOTS)
def test_every_rule_answers_for_any_fleet(rule: type, open: int, ready: int, slots: int) -> None:
    """Never fewer than none; somebody who waits gets one; it never asks to be heard in the past."""
    scale = ScalePolicy(rule=rule(), concurrency=slots, replicas_max=100)
    running = min(open, ready * slots)
    view = seen(50.0, queued=open - running, running=running, ready=ready, slots=slots)
    verdict, memory = evaluate(scale, view, initial_memory(scale.rule))
    assert verdict.replicas >= (1 if open and not ready else 0)
    assert verdict.evaluate_again_s > 50.0
    assert verdict.reason
    again, _ = evaluate(scale, view, memory)
    assert again.evaluate_again_s > 50.0


def test_only_rules_that_look_back_measure_the_demand() -> None:
    """The others cost a request nothing."""
    measuring = {rule for rule in RULES if demand_window(rule()) is not None}
    assert measuring == {Knative, RayServe, TargetTracking}
    assert demand_window(Learned()) is None


def test_every_rule_that_can_be_asked_for_is_registered() -> None:
    """A rule's settings without its functions would fail at the first request."""
    assert set(POLICIES) == set(RULES)
