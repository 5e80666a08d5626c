"""Parked replicas: when one is frozen, what it keeps, who is woken first, when it ends."""

from dataclasses import replace

from worlds import CRASH, World, a_fleet, rescaled

from coldspark.billing.meter import Meter
from coldspark.fleet.fleet import EvictionCandidate
from coldspark.fleet.placement import Placement
from coldspark.spec.messages import (
    Device,
    DevicesYielded,
    EvictionRequested,
    Forward,
    GrantReservation,
    NodeJoined,
    ParkFailed,
    ParkReplica,
    ReplicaExited,
    ReplicaParked,
    ReplicaReady,
    RequestArrived,
    RequestEviction,
    RequestFinished,
    RequestReservation,
    ReservationReleased,
    ReservationRequested,
    Retired,
    RevisionAdopted,
    StartReplica,
    StopReplica,
    Ticked,
    UnparkReplica,
    YieldDevices,
)
from coldspark.spec.types import GIB, DeviceId, FleetId, GpuRequest, NodeId, ReplicaId, Resources
from coldspark.spec.types import RequestId as R

ONE, TWO = ReplicaId("chat/main.1"), ReplicaId("chat/main.2")


def a_parked_world(**scale: object) -> World:
    """A world whose one replica idled from 1 s and is parked at 11 s."""
    world = World(a_fleet(idle_timeout_s=10.0, **scale))
    world.step(RequestArrived(R("first"), 100.0), 0.0)
    world.ready(1.0)
    world.step(RequestFinished(R("first")), 1.0)
    assert ParkReplica(ONE) in world.step(Ticked(), 11.0)
    world.step(ReplicaParked(ONE), 11.0)
    return world


def test_an_idle_replica_is_parked_and_yields_its_devices() -> None:
    """What the frost frees is anybody's from then on."""
    world = World(a_fleet(idle_timeout_s=10.0))
    world.step(RequestArrived(R("first"), 100.0), 0.0)
    world.ready(1.0)
    world.step(RequestFinished(R("first")), 1.0)
    assert ParkReplica(ONE) in world.step(Ticked(), 11.0)
    assert YieldDevices(ONE) in world.step(ReplicaParked(ONE), 11.1)


def test_a_parked_replica_is_woken_before_another_is_started() -> None:
    """It asks for room again, is thawed in it, and serves who waits."""
    world = a_parked_world(replicas_max=2)
    effects = world.step(RequestArrived(R("next"), 100.0), 12.0)
    assert [e.replica for e in effects if isinstance(e, RequestReservation)] == [ONE]
    assert UnparkReplica(ONE) in effects
    assert not any(isinstance(e, StartReplica) for e in effects)
    assert Forward(R("next"), ONE) in world.step(ReplicaReady(ONE), 12.1)


def test_a_thaw_says_nothing_of_how_long_a_start_takes() -> None:
    """Else a fleet with parked replicas would think that starts are cheap."""
    world = a_parked_world()
    world.step(RequestArrived(R("next"), 100.0), 12.0)
    world.step(ReplicaReady(ONE), 12.001)
    assert world.fleet.start_s() == 1.0


def test_a_parked_replica_ends_when_nobody_came() -> None:
    """By default after five times the idle timeout."""
    world = a_parked_world()
    assert StopReplica not in [type(e) for e in world.step(Ticked(), 60.9)]
    assert next(type(e) for e in world.step(Ticked(), 61.0)) is StopReplica


def test_a_replica_that_cannot_be_parked_is_stopped() -> None:
    """The reason is among the decisions."""
    world = World(a_fleet(idle_timeout_s=10.0))
    world.step(RequestArrived(R("first"), 100.0), 0.0)
    world.ready(1.0)
    world.step(RequestFinished(R("first")), 1.0)
    world.step(Ticked(), 11.0)
    effects = world.step(ParkFailed(ONE, "it holds a GPU"), 11.0)
    assert next(type(e) for e in effects) is StopReplica
    assert "it holds a GPU" in world.fleet.decisions[-1].reason


def test_an_update_ends_what_is_parked_of_the_old_revision() -> None:
    """Nobody will wake it."""
    world = a_parked_world()
    effects = world.step(RevisionAdopted(rescaled(world.fleet.revision, replicas_max=5)), 12.0)
    assert [e.replica for e in effects if isinstance(e, StopReplica)] == [ONE]


def test_an_update_while_a_replica_is_being_parked_ends_it_then() -> None:
    """The frost that comes too late is not kept."""
    world = World(a_fleet(idle_timeout_s=10.0))
    world.step(RequestArrived(R("first"), 100.0), 0.0)
    world.ready(1.0)
    world.step(RequestFinished(R("first")), 1.0)
    world.step(Ticked(), 11.0)
    world.step(RevisionAdopted(rescaled(world.fleet.revision, replicas_max=5)), 11.05)
    effects = world.step(ReplicaParked(ONE), 11.1)
    assert [e.replica for e in effects if isinstance(e, StopReplica)] == [ONE]


def test_a_deleted_endpoint_leaves_nothing_parked() -> None:
    """It is gone once the frozen process is."""
    world = a_parked_world()
    assert next(type(e) for e in world.step(Retired(), 12.0)) is StopReplica
    world.step(ReplicaExited(ONE, CRASH), 12.1)
    assert world.fleet.is_gone


def test_a_parked_replica_goes_at_once_when_it_is_evicted() -> None:
    """It works on nothing: there is nothing to wait for."""
    world = a_parked_world()
    stop = world.step(EvictionRequested(ONE, "room"), 12.0)[0]
    assert isinstance(stop, StopReplica)
    assert stop.grace_s == 0.0


T4 = Device(id=DeviceId("d0"), type="T4", memory_bytes=15 * GIB)


def on_a_t4(name: str, gib: int) -> ReservationRequested:
    wanted = Resources(gpus=(GpuRequest(type="T4"),), memory_bytes=gib * GIB)
    return ReservationRequested(replica=ReplicaId(name), fleet=FleetId(name), resources=wanted)


def a_placement() -> Placement:
    advice = EvictionCandidate(
        idle_since_s=0.0, is_evictable=True, is_superseded=False, is_terminating=False, start_s=1.0
    )
    placement = Placement(lambda name: advice, lambda size: None)
    node = NodeJoined(node=NodeId("n"), memory_bytes=8 * GIB, vcpus=2, devices=(T4,))
    placement.step(node, 0.0)
    return placement


def test_the_device_of_a_parked_replica_serves_another_endpoint() -> None:
    """No eviction is needed: both keep their memory."""
    placement = a_placement()
    placement.step(on_a_t4("a", 3), 0.0)
    placement.step(DevicesYielded(ReplicaId("a")), 1.0)
    (effect,) = placement.step(on_a_t4("b", 3), 2.0)
    assert isinstance(effect, GrantReservation)
    assert effect.reservation.devices == (T4,)


def test_whoever_needs_the_memory_of_a_parked_replica_gets_it() -> None:
    """Parked memory is lent, not owned."""
    placement = a_placement()
    placement.step(on_a_t4("a", 6), 0.0)
    placement.step(DevicesYielded(ReplicaId("a")), 1.0)
    effects = placement.step(on_a_t4("b", 6), 2.0)
    assert [e.replica for e in effects if isinstance(e, RequestEviction)] == ["a"]
    (effect,) = placement.step(ReservationReleased(ReplicaId("a")), 2.1)
    assert isinstance(effect, GrantReservation)


def test_a_parked_replica_that_wakes_waits_for_a_device_like_any_other() -> None:
    """Its memory counts as its own meanwhile."""
    placement = a_placement()
    placement.step(on_a_t4("a", 6), 0.0)
    placement.step(DevicesYielded(ReplicaId("a")), 1.0)
    placement.step(on_a_t4("b", 1), 2.0)
    effects = placement.step(on_a_t4("a", 6), 3.0)
    assert [e.replica for e in effects if isinstance(e, RequestEviction)] == ["b"]
    effects = placement.step(ReservationReleased(ReplicaId("b")), 3.1)
    assert [e.reservation.replica for e in effects if isinstance(e, GrantReservation)] == ["a"]


def test_what_a_parked_replica_had_on_its_device_counts_as_memory() -> None:
    """It lies in the host's memory: that is not there for anybody else."""
    placement = a_placement()
    placement.step(on_a_t4("a", 3), 0.0)
    placement.step(DevicesYielded(ReplicaId("a"), 4 * GIB), 1.0)
    effects = placement.step(on_a_t4("b", 3), 2.0)
    assert [e.replica for e in effects if isinstance(e, RequestEviction)] == ["a"]
    assert not any(isinstance(e, GrantReservation) for e in effects)
    placement.check()


def test_it_is_not_counted_any_more_once_it_is_on_the_device_again() -> None:
    """Awake, it holds what it asked for."""
    placement = a_placement()
    placement.step(on_a_t4("a", 3), 0.0)
    placement.step(DevicesYielded(ReplicaId("a"), 4 * GIB), 1.0)
    placement.step(on_a_t4("a", 3), 2.0)
    wanted = Resources(memory_bytes=5 * GIB)
    asked = ReservationRequested(replica=ReplicaId("c"), fleet=FleetId("c"), resources=wanted)
    (effect,) = placement.step(asked, 3.0)
    assert isinstance(effect, GrantReservation)


def test_a_parked_replica_for_whose_device_memory_there_is_not_enough_must_go() -> None:
    """The host's memory is not promised twice."""
    placement = a_placement()
    placement.step(on_a_t4("a", 3), 0.0)
    (effect,) = placement.step(DevicesYielded(ReplicaId("a"), 6 * GIB), 1.0)
    assert isinstance(effect, RequestEviction)
    assert effect.replica == "a"
    placement.check()


def test_a_parked_replica_wakes_on_its_own_device() -> None:
    """With another it would have to start anew, even where that one is the better fit."""
    devices = tuple(replace(T4, id=DeviceId(f"d{number}")) for number in range(3))
    advice = EvictionCandidate(
        idle_since_s=0.0, is_evictable=True, is_superseded=False, is_terminating=False, start_s=1.0
    )
    placement = Placement(lambda name: advice, lambda size: None)
    node = NodeJoined(node=NodeId("n"), memory_bytes=8 * GIB, vcpus=2, devices=devices)
    placement.step(node, 0.0)
    placement.step(on_a_t4("a", 1), 0.0)
    placement.step(on_a_t4("b", 1), 0.0)
    placement.step(DevicesYielded(ReplicaId("b")), 1.0)
    placement.step(DevicesYielded(ReplicaId("a")), 1.0)
    (effect,) = placement.step(on_a_t4("b", 1), 2.0)
    assert isinstance(effect, GrantReservation)
    assert effect.reservation.devices == (devices[1],)


def test_a_parked_replica_is_charged_for_the_share_that_it_keeps() -> None:
    """$0.36 an hour, half the machine for 10 s, then a tenth of it for 100 s."""
    meter = Meter(360_000_000, 0)
    meter.add_replica(ONE, 500_000, 0)
    meter.mark_ready(ONE, 0)
    assert meter.set_share(ONE, 100_000, 10_000_000).nanos == 500_000
    (parked,), _ = meter.settle(110_000_000)
    assert parked.nanos == 1_000_000
    meter.check()
