"""A fleet follows the rule of the revision that shall run, and no other."""

from worlds import CRASH, World, a_fleet, arrive, rescaled

from coldspark.spec.messages import (
    RequestArrived,
    RequestFinished,
    RequestReservation,
    Retired,
    RevisionAdopted,
    StartReplica,
    StopReplica,
    Ticked,
    WakeAt,
)
from coldspark.spec.scaling_rules import Histogram, KeepAlive, Knative, Learned
from coldspark.spec.types import RequestId


def test_knative_starts_for_the_first_request_at_once() -> None:
    """The request that it is asked for counts already: it is not looked at two seconds later."""
    fleet = a_fleet(rule=Knative(), replicas_max=4, park_timeout_s=0.0)
    world = World(fleet)
    world.step(Ticked(), 0.0)
    effects = arrive(fleet, 1, 100.0)
    assert sum(isinstance(effect, RequestReservation) for effect in effects) == 2


def test_an_update_that_is_taken_back_takes_its_rule_with_it() -> None:
    """The update to another rule failed: the old rule decides again, and nothing breaks."""
    fleet = a_fleet(rule=KeepAlive(keep_s=30.0), replicas_max=2, park_timeout_s=0.0)
    world = World(fleet)
    world.step(RequestArrived(RequestId("1"), 100.0), 0.0)
    world.ready(1.0)
    world.step(RequestFinished(RequestId("1")), 2.0)
    world.step(RevisionAdopted(rescaled(fleet.revision, rule=Knative(), failed_starts_max=1)), 3.0)
    replica = world.started.pop(0)
    world.crash(replica, 4.0, CRASH)
    assert fleet.revision.spec.scale.rule == KeepAlive(keep_s=30.0)
    effects = world.step(Ticked(), 33.0)
    assert any(isinstance(effect, StopReplica) for effect in effects)
    assert not any(isinstance(effect, StartReplica) for effect in effects)


def test_what_one_rule_learned_is_not_taken_for_what_another_says() -> None:
    """From learned to the histogram, which knows nothing yet: it keeps for its whole range."""
    fleet = a_fleet(rule=Learned(), wait_value=0.0, replicas_max=1, park_timeout_s=0.0)
    world = World(fleet)
    now = 0.0
    for number in range(1, 4):
        world.step(RequestArrived(RequestId(str(number)), 1e6), now)
        if world.started:
            now += 1.0
            world.ready(now)
        world.step(RequestFinished(RequestId(str(number))), now + 1.0)
        now += 2.5
    world.step(RevisionAdopted(rescaled(fleet.revision, rule=Histogram(), wait_value=10.0)), now)
    world.step(Ticked(), now + 500.0)
    assert fleet.replicas(), "14,400 s are its range"


def test_a_deleted_endpoint_asks_its_rule_no_more() -> None:
    """A request outlives it by hours: a tick that nobody answers would be asked for at once."""
    fleet = a_fleet(rule=Knative(), replicas_max=1, park_timeout_s=0.0)
    world = World(fleet)
    world.step(RequestArrived(RequestId("1"), 1e6), 0.0)
    world.ready(1.0)
    wakes = [e.at_s for e in world.step(Ticked(), 100.0) if isinstance(e, WakeAt)]
    assert wakes, "the rule wants to be asked again"
    world.step(Retired(), 101.0)
    effects = world.step(Ticked(), max(wakes))
    assert all(effect.at_s > max(wakes) for effect in effects if isinstance(effect, WakeAt))
