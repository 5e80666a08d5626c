"""One fleet: from zero, in order, bounded, back to zero, through crashes and updates."""

import pytest
from worlds import CRASH, World, a_fleet, arrive, rescaled, revision

from coldspark.fleet.dispatch import ABORT_GRACE_S
from coldspark.fleet.fleet import Fleet
from coldspark.fleet.replica import IllegalTransition, Replica, ReplicaState
from coldspark.spec.messages import (
    Abort,
    EvictionRequested,
    FleetEffect,
    Forward,
    Reject,
    ReleaseReservation,
    ReplicaExited,
    ReplicaReady,
    RequestArrived,
    RequestCancelled,
    RequestFinished,
    RequestReservation,
    ReservationGranted,
    ReservationRefused,
    Retired,
    RevisionAdopted,
    RolledBack,
    RolledOut,
    StartReplica,
    StopReplica,
    Ticked,
    WakeAt,
)
from coldspark.spec.types import (
    EndpointStatus,
    FailureKind,
    FleetId,
    Limits,
    ReplicaId,
    RequestId,
    ScalePolicy,
)


def forwards(effects: list[FleetEffect]) -> list[tuple[str, str]]:
    return [(e.request, e.replica) for e in effects if isinstance(e, Forward)]


def rejects(effects: list[FleetEffect]) -> list[tuple[str, FailureKind]]:
    return [(e.request, e.failure.kind) for e in effects if isinstance(e, Reject)]


def kinds(effects: list[FleetEffect]) -> list[type]:
    return [type(e) for e in effects if not isinstance(e, WakeAt)]


def a_warm_world(**scale: object) -> World:
    """A world whose one replica, chat/main.1, is ready and idle at 1 s."""
    world = World(a_fleet(**scale))
    world.step(RequestArrived(RequestId("first"), 100.0), 0.0)
    world.ready(1.0)
    world.step(RequestFinished(RequestId("first")), 1.0)
    return world


def test_first_request_requests_a_reservation_starts_one_replica_and_waits_for_it() -> None:
    """From zero: arrival asks, the grant starts, readiness releases the request."""
    fleet = a_fleet(replicas_max=3)
    one = ReplicaId("chat/main.1")

    asked = arrive(fleet, 1, 0.0)
    assert [e.replica for e in asked if isinstance(e, RequestReservation)] == [one]
    assert fleet.step(ReservationGranted(one), 0.5)[0] == StartReplica(one, fleet.revision)
    assert forwards(fleet.step(ReplicaReady(one), 7.0)) == [("1", one)]


def test_fifty_callers_at_zero_get_two_replicas_and_their_turn_in_order() -> None:
    """A cold burst never exceeds replicas_max, and first come is first served."""
    world = World(a_fleet(replicas_max=2))
    for number in range(50):
        world.step(RequestArrived(RequestId(f"{number:02}"), 100.0), 0.0)
    assert len(world.started) == 2

    served = forwards(world.ready(1.0)) + forwards(world.ready(1.0))
    for turn in range(50):
        served += forwards(world.step(RequestFinished(RequestId(served[turn][0])), 2.0 + turn))

    assert [request for request, _ in served] == [f"{number:02}" for number in range(50)]
    assert len({replica for _, replica in served}) == 2


def test_a_warm_request_is_forwarded_at_once_and_nothing_else_happens() -> None:
    """The warm path is one effect."""
    world = a_warm_world()
    assert kinds(world.step(RequestArrived(RequestId("w"), 100.0), 2.0)) == [Forward]


def test_one_request_never_starts_a_second_replica() -> None:
    """A starting replica's slot is counted for the one who waits."""
    world = World(a_fleet(replicas_max=5))
    world.step(RequestArrived(RequestId("1"), 100.0), 0.0)
    for second in range(1, 20):
        world.step(Ticked(), float(second))
    assert len(world.started) == 1


def test_an_idle_replica_is_stopped_by_its_own_clock() -> None:
    """Idle time counts from the end of the last request, and a new one resets it."""
    world = a_warm_world(idle_timeout_s=60.0, park_timeout_s=0.0)
    world.step(RequestArrived(RequestId("again"), 100.0), 50.0)
    world.step(RequestFinished(RequestId("again")), 55.0)

    assert StopReplica not in kinds(world.step(Ticked(), 114.9))
    assert StopReplica in kinds(world.step(Ticked(), 115.0))


def test_provisioned_replicas_start_by_themselves_and_never_idle_out() -> None:
    """replicas_min is a floor in both directions."""
    world = World(a_fleet(replicas_min=2, replicas_max=2))
    world.step(Ticked(), 0.0)
    assert len(world.started) == 2
    world.ready(1.0)
    world.ready(1.0)
    assert StopReplica not in kinds(world.step(Ticked(), 10_000.0))


def test_a_full_queue_refuses_with_the_limit_in_words() -> None:
    """queue_max bounds those who wait."""
    fleet = Fleet(FleetId("e/v"), revision(limits=Limits(queue_max=2)))
    arrive(fleet, 1, 0.0)
    arrive(fleet, 2, 0.0)
    (refused,) = [e for e in arrive(fleet, 3, 0.0) if isinstance(e, Reject)]
    assert refused.failure.kind is FailureKind.QUEUE_FULL
    assert "queue_max=2" in refused.failure.message
    assert refused.failure.retry_after_s


def test_queued_bytes_are_bounded_too() -> None:
    """A few large bodies cannot fill the memory."""
    fleet = Fleet(FleetId("e/v"), revision(limits=Limits(queue_bytes_max=100)))
    fleet.step(RequestArrived(RequestId("1"), 9.0, 80), 0.0)
    effects = fleet.step(RequestArrived(RequestId("2"), 9.0, 80), 0.0)
    assert rejects(effects) == [("2", FailureKind.QUEUE_FULL)]


def test_a_caller_who_disconnects_while_waiting_leaves_and_the_request_is_withdrawn() -> None:
    """Nobody waits any more, so nothing is placed."""
    fleet = a_fleet()
    arrive(fleet, 1, 0.0)
    effects = fleet.step(RequestCancelled(RequestId("1")), 1.0)
    assert rejects(effects) == [("1", FailureKind.CANCELLED)]
    assert ReleaseReservation in kinds(effects)
    assert not fleet.replicas()


def test_hanging_up_on_a_running_request_aborts_it_and_its_end_frees_the_slot() -> None:
    """The slot is free only when the replica let go."""
    world = a_warm_world()
    world.step(RequestArrived(RequestId("a"), 100.0), 2.0)
    world.step(RequestArrived(RequestId("b"), 100.0), 2.0)

    effects = world.step(RequestCancelled(RequestId("a")), 3.0)
    assert Abort(RequestId("a"), ReplicaId("chat/main.1")) in effects
    assert not forwards(effects)
    assert forwards(world.step(RequestFinished(RequestId("a")), 3.1)) == [("b", "chat/main.1")]


def test_an_id_that_is_used_again_is_not_timed_out_at_its_first_deadline() -> None:
    """A client that retries under the same id gets the time it asked for."""
    world = a_warm_world()
    world.step(RequestArrived(RequestId("again"), 5.0), 2.0)
    world.step(RequestFinished(RequestId("again")), 3.0)
    world.step(RequestArrived(RequestId("again"), 100.0), 4.0)
    assert rejects(world.step(Ticked(), 5.0)) == []


def test_a_replica_that_does_not_let_go_is_killed_and_the_next_is_served_by_another() -> None:
    """An abort has a grace; after it the process goes."""
    world = a_warm_world()
    world.step(RequestArrived(RequestId("hang"), 12.0), 2.0)
    world.step(RequestArrived(RequestId("next"), 100.0), 3.0)

    assert rejects(world.step(Ticked(), 12.0)) == [("hang", FailureKind.TIMED_OUT)]
    effects = world.step(Ticked(), 12.0 + ABORT_GRACE_S)
    assert [e.grace_s for e in effects if isinstance(e, StopReplica)] == [0.0]
    world.crash(ReplicaId("chat/main.1"), 15.0)
    assert forwards(world.ready(16.0)) == [("next", "chat/main.2")]


def test_a_stuck_slot_does_not_kill_the_requests_beside_it() -> None:
    """With several slots the replica drains first, then it is killed."""
    world = a_warm_world(concurrency=2)
    world.step(RequestArrived(RequestId("hang"), 5.0), 2.0)
    world.step(RequestArrived(RequestId("fine"), 100.0), 2.0)
    world.step(Ticked(), 5.0)
    assert StopReplica not in kinds(world.step(Ticked(), 5.0 + ABORT_GRACE_S))
    assert StopReplica in kinds(world.step(RequestFinished(RequestId("fine")), 20.0))


def test_a_replica_that_dies_fails_its_request_with_its_last_lines_and_the_next_is_served() -> None:
    """The caller learns why; the queue goes on."""
    world = a_warm_world()
    world.step(RequestArrived(RequestId("a"), 100.0), 2.0)
    world.step(RequestArrived(RequestId("b"), 100.0), 2.0)
    (lost,) = [e for e in world.crash(ReplicaId("chat/main.1"), 3.0) if isinstance(e, Reject)]
    assert lost.failure.kind is FailureKind.REPLICA_DIED
    assert lost.failure.log_tail == ("boom",)
    assert forwards(world.ready(4.0)) == [("b", "chat/main.2")]


def test_a_start_that_dies_fails_those_who_waited_for_it_at_once() -> None:
    """No deadline is waited for when the process is dead."""
    world = World(a_fleet())
    world.step(RequestArrived(RequestId("1"), 100.0), 0.0)
    effects = world.crash(ReplicaId("chat/main.1"), 0.2)
    assert rejects(effects) == [("1", FailureKind.START_FAILED)]


def test_failed_starts_back_off_then_the_endpoint_says_failed_and_later_tries_once() -> None:
    """A crash loop costs three starts, then one a minute while somebody asks."""
    world = World(a_fleet(replicas_max=4))
    times = [0.0, 0.6, 1.8]
    for number, now in enumerate(times):
        world.step(RequestArrived(RequestId(f"{number}"), 100.0), now)
        world.step(Ticked(), now)
        world.crash(ReplicaId(f"chat/main.{number + 1}"), now)

    assert world.fleet.status is EndpointStatus.FAILED
    effects = world.step(RequestArrived(RequestId("late"), 100.0), 2.0)
    assert rejects(effects) == [("late", FailureKind.ENDPOINT_FAILED)]
    world.step(RequestArrived(RequestId("later"), 200.0), 65.0)
    assert forwards(world.ready(66.0)) == [("later", "chat/main.4")]
    assert world.fleet.status is EndpointStatus.READY


def test_during_back_off_a_request_waits_and_a_tick_starts_the_replica() -> None:
    """Back-off delays; it does not refuse."""
    world = World(a_fleet())
    world.step(RequestArrived(RequestId("1"), 100.0), 0.0)
    world.crash(ReplicaId("chat/main.1"), 0.1)
    effects = world.step(RequestArrived(RequestId("2"), 100.0), 0.2)
    wake_s = min(e.at_s for e in effects if isinstance(e, WakeAt))
    assert wake_s == pytest.approx(0.6)
    assert RequestReservation in kinds(world.step(Ticked(), wake_s))


def test_a_start_over_its_limit_is_killed_and_told_as_such() -> None:
    """start_timeout_s is the explicit budget of a start whose process lives."""
    fleet = Fleet(FleetId("e/v"), revision(limits=Limits(start_timeout_s=10.0)))
    world = World(fleet)
    world.step(RequestArrived(RequestId("1"), 100.0), 0.0)
    assert StopReplica in kinds(world.step(Ticked(), 10.0))
    (lost,) = [e for e in world.crash(ReplicaId("e/v.1"), 10.1) if isinstance(e, Reject)]
    assert "start_timeout_s=10" in lost.failure.message


def test_no_capacity_anywhere_is_reported_at_once() -> None:
    """Placement's reason reaches the caller."""
    fleet = a_fleet()
    arrive(fleet, 1, 0.0)
    effects = fleet.step(ReservationRefused(ReplicaId("chat/main.1"), "needs an A10G"), 0.0)
    (lost,) = [e for e in effects if isinstance(e, Reject)]
    assert (lost.failure.kind, lost.failure.message) == (FailureKind.NO_ROOM, "needs an A10G")


def test_eviction_stops_an_idle_replica_and_drains_a_busy_one() -> None:
    """A busy replica finishes its work first."""
    world = a_warm_world()
    assert StopReplica in kinds(world.step(EvictionRequested(ReplicaId("chat/main.1"), "x"), 2.0))

    busy = a_warm_world()
    busy.step(RequestArrived(RequestId("a"), 100.0), 2.0)
    assert StopReplica not in kinds(
        busy.step(EvictionRequested(ReplicaId("chat/main.1"), "x"), 2.0)
    )
    assert StopReplica in kinds(busy.step(RequestFinished(RequestId("a")), 3.0))


def test_an_update_serves_on_with_the_old_revision_until_the_new_one_is_ready() -> None:
    """No request fails or waits for a start during a roll-out."""
    world = a_warm_world()
    new = rescaled(world.fleet.revision, idle_timeout_s=30.0)
    world.step(RevisionAdopted(new), 2.0)
    assert world.fleet.status is EndpointStatus.UPDATING
    first = world.step(RequestArrived(RequestId("a"), 100.0), 2.5)
    assert forwards(first) == [("a", "chat/main.1")]

    effects = world.ready(3.0)
    assert RolledOut(new) in effects
    second = world.step(RequestArrived(RequestId("b"), 100.0), 3.5)
    assert forwards(second) == [("b", "chat/main.2")]
    done = world.step(RequestFinished(RequestId("a")), 4.0)
    assert [e.replica for e in done if isinstance(e, StopReplica)] == ["chat/main.1"]


def test_an_update_that_cannot_start_is_taken_back_and_the_old_one_serves_on() -> None:
    """The budget of failed starts decides; the reason is kept."""
    world = a_warm_world(failed_starts_max=2)
    old = world.fleet.revision
    world.step(RevisionAdopted(rescaled(old, idle_timeout_s=30.0)), 2.0)
    world.crash(ReplicaId("chat/main.2"), 2.1)
    world.step(Ticked(), 3.0)
    effects = world.crash(ReplicaId("chat/main.3"), 3.1)

    assert [e.revision.id for e in effects if isinstance(e, RolledBack)] == [old.id]
    assert world.fleet.status is EndpointStatus.READY
    assert "taken back" in (world.fleet.failure or "")
    after = world.step(RequestArrived(RequestId("a"), 100.0), 4.0)
    assert forwards(after) == [("a", "chat/main.1")]


def test_updating_at_zero_starts_nothing() -> None:
    """An endpoint that sleeps adopts the revision and sleeps on."""
    fleet = a_fleet()
    new = rescaled(fleet.revision, idle_timeout_s=1.0)
    assert kinds(fleet.step(RevisionAdopted(new), 0.0)) == [RolledOut]


def test_the_same_revision_again_changes_nothing() -> None:
    """Adopting what runs already is no roll-out."""
    world = a_warm_world()
    assert kinds(world.step(RevisionAdopted(world.fleet.revision), 2.0)) == []


def test_retiring_refuses_those_who_wait_lets_the_running_finish_and_leaves_nothing() -> None:
    """Deleting an endpoint loses no running request."""
    world = a_warm_world()
    world.step(RequestArrived(RequestId("runs"), 100.0), 2.0)
    world.step(RequestArrived(RequestId("waits"), 100.0), 2.0)
    assert rejects(world.step(Retired(), 3.0)) == [("waits", FailureKind.ENDPOINT_RETIRED)]
    assert StopReplica in kinds(world.step(RequestFinished(RequestId("runs")), 4.0))
    world.crash(ReplicaId("chat/main.1"), 4.1)
    assert not world.started
    assert world.fleet.is_gone


def test_an_exit_of_a_replica_nobody_knows_is_ignored() -> None:
    """Late news does no harm."""
    fleet = a_fleet()
    assert fleet.step(ReplicaExited(ReplicaId("ghost"), CRASH), 0.0) == []


def test_an_illegal_step_of_a_replica_crashes_with_its_story() -> None:
    """The table is the machine."""
    replica = Replica(ReplicaId("x"), revision(), 0.0)
    replica.transition(ReplicaState.STARTING, 1.0)
    with pytest.raises(IllegalTransition, match=r"starting -> draining after starting@1\.000"):
        replica.transition(ReplicaState.DRAINING, 2.0)


def test_slots_of_one_replica_are_filled_before_another_is_started() -> None:
    """Four slots take four requests."""
    world = World(a_fleet(concurrency=4, replicas_max=4))
    for number in range(4):
        world.step(RequestArrived(RequestId(str(number)), 100.0), 0.0)
    assert len(world.started) == 1
    assert len(forwards(world.ready(1.0))) == 4


def test_policies_refuse_nonsense() -> None:
    """Specs are valid once they exist."""
    with pytest.raises(ValueError, match="replicas_min=3"):
        ScalePolicy(replicas_min=3, replicas_max=2)


def test_a_start_that_may_be_tried_but_has_no_room_is_not_ticked_for_again_and_again() -> None:
    """At replicas_max, with a failed start behind it: the wait ends by a deadline or an exit."""
    world = World(a_fleet(replicas_max=1, idle_timeout_s=0.0))
    world.step(RequestArrived(RequestId("a"), 100.0), 0.0)
    world.ready(0.0)
    world.step(EvictionRequested(ReplicaId("chat/main.1"), "room"), 0.0)
    world.step(RequestArrived(RequestId("b"), 100.0), 0.0)
    world.ready(0.0)
    world.crash(ReplicaId("chat/main.1"), 0.0)
    world.step(RequestArrived(RequestId("c"), 100.0), 0.0)

    armed = [e.at_s for e in world.step(Ticked(), 50.0) if isinstance(e, WakeAt)]

    assert armed == [100.0]
