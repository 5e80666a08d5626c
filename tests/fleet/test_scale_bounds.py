"""A floor and a ceiling that move while a fleet runs: what starts, what goes, and why."""

import pytest
from worlds import CRASH, World, a_fleet, arrive, rescaled

from coldspark.spec.messages import (
    FleetEffect,
    Forward,
    ReplicaParked,
    ReplicaReady,
    RequestFinished,
    RequestReservation,
    ReservationGranted,
    RevisionAdopted,
    RolledBack,
    ScaleBoundsChanged,
    StartReplica,
    StopReplica,
    Ticked,
    WakeAt,
)
from coldspark.spec.scaling_rules import RULES, KeepAlive, Rule, rule_name
from coldspark.spec.scheduled_scaling import ScheduledWindow, effective_window
from coldspark.spec.types import RequestId, ScalePolicy, Warmth

UP = ScaleBoundsChanged(2, 8, "window 0 8 * * MON-FRI UTC: 2 replicas until 18:00")
BACK = ScaleBoundsChanged(None, None, "window 0 8 * * MON-FRI UTC ended")


def asked(effects: list[FleetEffect]) -> list[str]:
    return [one.reason for one in effects if isinstance(one, RequestReservation)]


def warm(world: World, count: int) -> None:
    for _ in range(count):
        world.ready(1.0)


@pytest.mark.parametrize("kind", RULES, ids=rule_name)
def test_a_replicas_min_that_rises_starts_replicas_whatever_the_rule(kind: type[Rule]) -> None:
    """Each start, and the move itself, says which window it is for."""
    world = World(a_fleet(replicas_max=1, rule=kind()))
    assert asked(world.step(UP, 0.0)) == [UP.reason, UP.reason]
    assert [(note.what, note.reason) for note in world.fleet.decisions] == [
        ("floor 2, ceiling 8", UP.reason),
        ("start 2 of r1", UP.reason),
    ]


@pytest.mark.parametrize("kind", RULES, ids=rule_name)
def test_a_raised_replicas_min_is_kept_whatever_the_rule(kind: type[Rule]) -> None:
    """Nobody comes for a day: both stay, and nothing is asked for anew."""
    world = World(a_fleet(replicas_max=1, rule=kind()))
    world.step(UP, 0.0)
    warm(world, 2)
    world.step(Ticked(), 86_400.0)
    assert not world.stopping
    assert len(world.fleet.replicas()) == 2


def test_a_replicas_min_that_falls_ends_those_that_have_idled_long_enough() -> None:
    """They are not stopped by the move, but by their idle clocks."""
    world = World(a_fleet(replicas_max=4, rule=KeepAlive(keep_s=60.0), park_timeout_s=0.0))
    world.step(UP, 0.0)
    warm(world, 2)
    effects = world.step(BACK, 30.0)
    assert WakeAt(61.0) in effects
    assert not world.stopping
    world.step(Ticked(), 61.0)
    assert len(world.stopping) == 2


def test_a_replicas_min_under_the_policys_own_ends_replicas() -> None:
    """A night may have fewer than ``min``."""
    rule = KeepAlive(keep_s=0.0)
    world = World(a_fleet(replicas_min=2, replicas_max=4, rule=rule, park_timeout_s=0.0))
    world.step(Ticked(), 0.0)
    warm(world, 2)
    world.step(ScaleBoundsChanged(0, None, "night"), 10.0)
    world.step(Ticked(), 10.0)
    assert len(world.stopping) == 2


def test_a_replicas_max_that_falls_ends_starts_first_then_idle_ones_and_drains_busy_ones() -> None:
    """Five are there: one works, two idle, two start. Three have to go, then one more."""
    world = World(a_fleet(replicas_min=5, replicas_max=5))
    world.step(Ticked(), 0.0)
    warm(world, 3)
    forwarded = [one for one in arrive(world.fleet, 1, 1.0) if isinstance(one, Forward)]
    idle = {each.id for each in world.fleet.replicas() if each.idle_since_s is not None}
    starting = set(world.started)

    world.step(ScaleBoundsChanged(None, 2, "night"), 2.0)
    assert starting < set(world.stopping)
    assert len(set(world.stopping) & idle) == 1
    world.step(ScaleBoundsChanged(None, 1, "late night"), 3.0)
    assert set(world.stopping) == starting | idle
    assert arrive(world.fleet, 2, 3.0) == []
    (first,) = forwarded
    finished = world.step(RequestFinished(first.request), 4.0)
    assert Forward(RequestId("2"), first.replica) in finished


def test_requests_may_use_a_replicas_max_that_rose() -> None:
    """And no more than it: the others wait."""
    world = World(a_fleet(replicas_max=1))
    world.step(ScaleBoundsChanged(0, 3, "window"), 0.0)
    for number in range(5):
        arrive(world.fleet, number, 0.0)
    assert len(world.fleet.replicas()) == 3


def test_the_same_move_twice_is_reported_once() -> None:
    """Who applies a bound again after a restart fills no list of decisions."""
    world = World(a_fleet())
    world.step(UP, 0.0)
    notes = list(world.fleet.decisions)
    assert world.step(UP, 1.0) == []
    assert list(world.fleet.decisions) == notes


def test_an_update_within_a_window_keeps_the_replicas_min() -> None:
    """Old ones serve until as many new ones are ready."""
    world = World(a_fleet(replicas_max=1))
    world.step(UP, 0.0)
    warm(world, 2)
    world.step(RevisionAdopted(rescaled(world.fleet.revision, wait_value=1.0)), 2.0)
    assert len(world.started) == 2
    assert not world.stopping
    warm(world, 2)
    assert len(world.stopping) == 2


def test_an_update_that_brings_its_own_replicas_min_rolls_out_to_that() -> None:
    """The window went with the revision that had it: one replica is enough."""
    world = World(a_fleet(replicas_max=4))
    world.step(UP, 0.0)
    warm(world, 2)
    revision = rescaled(world.fleet.revision, replicas_max=1)
    world.step(RevisionAdopted(revision, BACK), 2.0)
    assert len(world.started) == 1
    world.ready(3.0)
    assert len(world.stopping) == 2


def test_an_update_that_is_rolled_back_keeps_the_replicas_min() -> None:
    """What the old revision held was never given up."""
    world = World(a_fleet(replicas_max=4))
    world.step(UP, 0.0)
    warm(world, 2)
    world.step(RevisionAdopted(rescaled(world.fleet.revision, failed_starts_max=1)), 2.0)
    effects = world.crash(world.started[0], 3.0, CRASH)
    assert any(isinstance(one, RolledBack) for one in effects)
    ready = [each for each in world.fleet.replicas() if each.state == "ready"]
    assert [each.revision.id for each in ready] == ["r1", "r1"]
    assert world.fleet.replicas_min == 2


def test_a_replicas_max_that_falls_amid_an_update_lets_it_end() -> None:
    """It waits for no more new ones than there may be."""
    world = World(a_fleet(replicas_min=3, replicas_max=3))
    world.step(Ticked(), 0.0)
    warm(world, 3)
    world.step(RevisionAdopted(rescaled(world.fleet.revision, wait_value=1.0)), 2.0)
    world.ready(3.0)
    world.step(ScaleBoundsChanged(1, 1, "night"), 4.0)
    kept = [each for each in world.fleet.replicas() if each.state == "ready"]
    assert [each.revision.id for each in kept] == ["r1x"]


def test_a_raised_replicas_min_wakes_parked_replicas_first() -> None:
    """It is an unparking, not a start."""
    world = World(a_fleet(replicas_max=2, idle_timeout_s=1.0, warmth=Warmth.PARKED))
    arrive(world.fleet, 1, 0.0)
    first = next(iter(world.fleet.replicas()))
    fleet = world.fleet
    fleet.step(ReservationGranted(first.id), 0.0)
    fleet.step(ReplicaReady(first.id), 1.0)
    fleet.step(RequestFinished(RequestId("1")), 2.0)
    fleet.step(Ticked(), 60.0)
    fleet.step(ReplicaParked(first.id), 60.0)
    effects = fleet.step(ScaleBoundsChanged(1, None, "window"), 61.0)
    assert [one.replica for one in effects if isinstance(one, RequestReservation)] == [first.id]
    assert not [one for one in effects if isinstance(one, StartReplica | StopReplica)]


def window(least: int, most: int | None = None) -> ScheduledWindow:
    return ScheduledWindow(cron="0 8 * * *", lasts_s=3600.0, replicas_min=least, replicas_max=most)


def test_of_open_windows_the_highest_replicas_min_wins_then_the_highest_replicas_max() -> None:
    """One without a ceiling has the policy's."""
    assert effective_window([], 4) is None
    assert effective_window([window(1, 9), window(2), window(0, 20)], 4) == window(2)
    assert effective_window([window(2), window(2, 3), window(2, 5)], 4) == window(2, 5)
    assert effective_window([window(2, 3), window(2)], 4) == window(2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lasts_s": 59.0}, "lasts=59 s must lie in 60 s to 31 days"),
        ({"replicas_min": -1}, "min=-1 must not be negative"),
        ({"replicas_max": 1}, "max=1 must lie in 2..10000"),
        ({"replicas_min": 0, "replicas_max": 0}, "max=0 must lie in 1..10000"),
        ({"cron": ""}, "cron='' must have 1-128 letters"),
        ({"time_zone": "x" * 200}, "must have 1-128 letters"),
    ],
)
def test_a_window_that_cannot_be_is_refused(changes: dict[str, object], said: str) -> None:
    """The message names the field and the value."""
    given = {"cron": "0 8 * * *", "lasts_s": 60.0, "replicas_min": 2, **changes}
    with pytest.raises(ValueError, match=said):
        ScheduledWindow(**given)  # type: ignore[arg-type]


def test_a_policy_refuses_windows_that_it_cannot_hold() -> None:
    """A floor over its own ceiling, too many, or beside a rung that makes them meaningless."""
    with pytest.raises(ValueError, match="min=5 is over max=4: give the window a max"):
        ScalePolicy(replicas_max=4, windows=(window(5),))
    with pytest.raises(ValueError, match="33 windows: 32 are the most"):
        ScalePolicy(windows=(window(1),) * 33)
    with pytest.raises(ValueError, match="windows end without effect with warmth=ready"):
        ScalePolicy(warmth=Warmth.READY, windows=(window(1),))


@pytest.mark.parametrize(("floor", "ceiling"), [(-1, None), (2, 1), (None, 0), (0, 10_001)])
def test_a_move_that_cannot_be_is_refused(floor: int | None, ceiling: int | None) -> None:
    """It is refused where it is made: a fleet hears none such."""
    with pytest.raises(ValueError, match=r"floor=|ceiling="):
        ScaleBoundsChanged(floor, ceiling, "")
