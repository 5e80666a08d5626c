"""The world in virtual time: nothing is lost, the bill adds up, the same seed says the same."""

from math import inf

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from played import RATE, endpoint, poisson, traffic, world

from coldspark.billing.meter import Meter
from coldspark.sim.simulator import Simulator
from coldspark.sim.traffic import Durations, Traffic
from coldspark.spec.scaling_rules import RULES, Histogram, KeepAlive, Knative, Learned, RayServe
from coldspark.spec.types import Limits

pytestmark = pytest.mark.seconds

SPREAD = Durations.lognormal(5.0, 20.0)


def bill(played: Simulator) -> int:
    """Return what the nodes cost until now."""
    return Meter(RATE, 0).total_nanos(round(played.now * 1e6))


def accounted(played: Simulator) -> int:
    """Return all that was charged to somebody, and what was charged to nobody."""
    lanes = sum(lane.busy_nanos + lane.idle_nanos + lane.starting_nanos for lane in played.runs)
    return lanes + played.overhead_nanos


def summary(played: Simulator) -> list[object]:
    """Return what came of every request, and what it cost."""
    return [
        (
            list(lane.waits_s),
            bytes(lane.cold),
            lane.busy_nanos,
            lane.idle_nanos,
            lane.starting_nanos,
            lane.starts,
            lane.rejected,
        )
        for lane in played.runs
    ]


@settings(max_examples=examples(30), deadline=None)
@given(
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 99),
    gap_s=st.sampled_from([0.5, 5.0, 60.0, 900.0]),
    slots=st.integers(1, 3),
    failed=st.sampled_from([0.0, 0.3]),
    parks=st.booleans(),
)
def test_the_bill_adds_up_and_every_request_ends(
    rule: type, seed: int, gap_s: float, slots: int, failed: float, parks: bool
) -> None:
    """Busy, idle, starting and overhead are the bill to the nano-dollar; none is forgotten."""
    played = world(
        [
            endpoint(
                poisson(60, gap_s, 3.0, seed),
                start=SPREAD,
                failed_starts=failed,
                rule=rule(),
                replicas_max=4,
                concurrency=slots,
                park_timeout_s=None if parks and rule is Learned else 0.0,
            )
        ],
        gpus=3,
        seed=seed,
    )
    played.run()
    lane = played.runs[0]
    assert accounted(played) == bill(played)
    served = sum(wait_s < inf for wait_s in lane.waits_s)
    assert served + lane.rejected == len(lane.waits_s)
    assert not lane.running
    assert not lane.fleet.queued
    assert all(wait_s >= 0 for wait_s in lane.waits_s)
    lane.fleet.check()
    played.placement.check()
    played.meter.check()


def test_what_was_held_is_what_was_paid() -> None:
    """One GPU of one: seconds and nano-dollars agree, and all of it is held or overhead."""
    played = world([endpoint(poisson(50, 40.0, 5.0), replicas_max=1, park_timeout_s=0.0)], gpus=1)
    played.run()
    lane = played.runs[0]
    per_s = RATE / 3600
    assert lane.busy_nanos == pytest.approx(lane.busy_s * per_s, rel=1e-6)
    assert lane.idle_nanos == pytest.approx(lane.idle_s * per_s, rel=1e-6)
    assert lane.starting_nanos == pytest.approx(lane.starting_s * per_s, rel=1e-6)
    assert lane.busy_s == pytest.approx(sum(lane.services_s), rel=1e-9)
    assert lane.starting_s == pytest.approx(10.0 * lane.starts)


def test_one_seed_says_one_thing() -> None:
    """Played twice, all is the same; another seed draws other starts."""

    def played(seed: int) -> list[object]:
        ends = endpoint(poisson(200, 30.0, 4.0), start=SPREAD, failed_starts=0.1, replicas_max=3)
        found = world([ends], seed=seed)
        found.run()
        return summary(found)

    assert played(1) == played(1)
    assert played(1) != played(2)


def test_a_wait_is_the_start_when_nothing_was_there() -> None:
    """One request: ten seconds of waiting, ten of starting, its own service time of work."""
    played = world(
        [endpoint(traffic((100.0, 7.0)), rule=KeepAlive(keep_s=20.0), park_timeout_s=0.0)]
    )
    played.run()
    lane = played.runs[0]
    assert list(lane.waits_s) == [10.0]
    assert lane.cold[0] == 1
    assert (lane.starting_s, lane.busy_s, lane.idle_s) == (10.0, 7.0, 20.0)
    assert played.now == 137.0


@pytest.mark.parametrize("rule", [Learned(), KeepAlive(keep_s=60.0), Knative(), RayServe()])
def test_endpoints_that_share_one_gpu_are_both_served(rule: object) -> None:
    """Who idles is asked to go, who works finishes first: nobody starves."""
    first = endpoint(poisson(40, 60.0, 3.0, 1), "first", rule=rule, park_timeout_s=0.0)
    second = endpoint(poisson(40, 60.0, 3.0, 2), "second", rule=rule, park_timeout_s=0.0)
    played = world([first, second], gpus=1)
    played.run()
    assert accounted(played) == bill(played)
    for lane in played.runs:
        assert max(lane.waits_s) < 600.0
        assert lane.rejected == 0
    assert sum(lane.held_s for lane in played.runs) <= played.now + 1e-6


def test_requests_of_two_endpoints_are_in_work_at_the_same_time() -> None:
    """Each is charged by itself, also where they came in the same place of their traffic."""
    busy = [(float(n), 30.0) for n in range(20)]
    both = [endpoint(traffic(*busy), name, replicas_max=2, concurrency=20) for name in ("a", "b")]
    played = world(both)
    played.run()
    assert accounted(played) == bill(played)
    for lane in played.runs:
        assert max(lane.waits_s) <= 10.0
        assert lane.busy_nanos > 0


def test_starts_that_always_fail_answer_everybody() -> None:
    """No request waits for ever: each is told that its start failed."""
    played = world([endpoint(poisson(30, 20.0, 3.0), failed_starts=1.0, replicas_max=2)])
    played.run()
    lane = played.runs[0]
    assert lane.rejected == 30
    assert set(lane.waits_s) == {inf}
    assert lane.busy_nanos == 0
    assert lane.starting_nanos > 0
    assert accounted(played) == bill(played)


def test_starts_that_fail_now_and_then_are_tried_again() -> None:
    """Some are rejected with their start, the others are served."""
    played = world([endpoint(poisson(100, 30.0, 3.0), failed_starts=0.3, replicas_max=2)], seed=3)
    played.run()
    lane = played.runs[0]
    served = sum(wait_s < inf for wait_s in lane.waits_s)
    assert served > 50
    assert served + lane.rejected == 100


def test_a_request_past_its_deadline_is_given_up() -> None:
    """In the queue, and at work; its slot is free again, and nothing of it is paid twice."""
    limits = Limits(request_timeout_s=20.0)
    played = world([endpoint(traffic((0.0, 100.0), (2.0, 1.0)), limits=limits, replicas_max=1)])
    played.run()
    lane = played.runs[0]
    assert lane.rejected == 1
    assert lane.waits_s[0] == inf
    assert lane.waits_s[1] == pytest.approx(18.0, abs=1e-6)
    assert lane.busy_s == pytest.approx(11.0, abs=1e-6)
    assert accounted(played) == bill(played)


def test_parked_replicas_hold_no_gpu_and_wake_in_a_moment() -> None:
    """An hour between requests: a thaw each, and hardly anything to pay in between."""
    hours = traffic(*((3600.0 * n, 1.0) for n in range(12)))
    played = world([endpoint(hours, replicas_max=1)], gpus=1)
    played.run()
    lane = played.runs[0]
    assert lane.thaws > 0
    assert lane.starts + lane.thaws <= 12
    assert lane.parked_s > 3600.0
    assert accounted(played) == bill(played)
    thawed = [wait_s for wait_s in lane.waits_s if 0 < wait_s < 0.01]
    assert len(thawed) == lane.thaws
    assert lane.idle_nanos < 0.05 * (lane.parked_s + lane.idle_s) * RATE / 3600 + lane.idle_s * 1e6


def test_whoever_watches_may_cancel() -> None:
    """It hears of progress, and what it raises ends the simulation."""
    heard: list[tuple[int, int]] = []

    class Cancelled(Exception):
        pass

    def watch(done: int, total: int) -> None:
        heard.append((done, total))
        raise Cancelled

    played = world([endpoint(poisson(45_000, 0.1, 0.05), replicas_max=4)], on_progress=watch)
    with pytest.raises(Cancelled):
        played.run()
    assert heard == [(20_000, 45_000)]


def test_progress_ends_with_all() -> None:
    """Whoever watches hears of the end, once."""
    heard: list[tuple[int, int]] = []
    played = world(
        [endpoint(poisson(10, 1.0, 0.1))],
        on_progress=lambda done, total: heard.append((done, total)),
    )
    played.run()
    assert heard == [(10, 10)]


def test_nothing_happens_without_requests() -> None:
    """No traffic, no floor: no start, and all of the bill is overhead."""
    played = world([endpoint(Traffic((), ()))])
    played.run(1000.0)
    assert played.runs[0].starts == 0
    assert played.overhead_nanos == bill(played) > 0


@pytest.mark.parametrize("rule", [KeepAlive(keep_s=0.0), Knative(), Histogram(), Learned()])
def test_in_the_end_everything_is_gone(rule: object) -> None:
    """Without a floor the world comes to rest by itself."""
    played = world([endpoint(poisson(30, 20.0, 2.0), rule=rule, park_timeout_s=0.0)])
    played.run()
    assert not played.runs[0].replicas
    assert played.now < 30 * 40.0 + 15_000.0


def test_a_second_replica_is_not_kept_for_what_the_first_does_in_a_moment() -> None:
    """Two short requests a minute: one of them may wait a moment. Long ones get two replicas."""
    minutes = [60.0 * n for n in range(200)]
    held_s = {}
    for service_s in (0.05, 25.0):
        pairs = traffic(*((at_s, service_s) for at_s in minutes for _ in range(2)))
        slow = Durations.fixed(30.0)
        played = world([endpoint(pairs, start=slow, replicas_max=4, park_timeout_s=0.0)])
        played.run(minutes[-1])
        held_s[service_s] = played.runs[0].held_s
    assert held_s[0.05] < 1.2 * minutes[-1]
    assert held_s[25.0] > 1.8 * minutes[-1]
