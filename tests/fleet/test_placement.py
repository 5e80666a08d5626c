"""Placement: first come first served, eviction of the cheapest, refusal with the cure."""

from dataclasses import replace

from coldspark.fleet.fleet import EvictionCandidate
from coldspark.fleet.placement import EVICTION_PATIENCE_S, Placement
from coldspark.spec.messages import (
    Device,
    GrantReservation,
    NodeJoined,
    RefuseReservation,
    RequestEviction,
    ReservationReleased,
    ReservationRequested,
    Ticked,
)
from coldspark.spec.types import GIB, DeviceId, FleetId, GpuRequest, NodeId, ReplicaId, Resources

T4 = Device(id=DeviceId("d0"), type="T4", memory_bytes=15 * GIB)


def asked(name: str, **resources: object) -> ReservationRequested:
    wanted = Resources(gpus=(GpuRequest(type="T4"),), **resources)  # type: ignore[arg-type]
    return ReservationRequested(replica=ReplicaId(name), fleet=FleetId(name[0]), resources=wanted)


def a_placement(advice: dict[str, EvictionCandidate] | None = None) -> Placement:
    known = advice or {}
    placement = Placement(lambda name: known.get(name), lambda size: "A10G")
    node = NodeJoined(node=NodeId("n"), memory_bytes=8 * GIB, vcpus=2, devices=(T4,))
    placement.step(node, 0.0)
    return placement


def an_advice(idle_since_s: float | None, *, evictable: bool = True) -> EvictionCandidate:
    return EvictionCandidate(
        idle_since_s=idle_since_s,
        is_evictable=evictable,
        is_superseded=False,
        is_terminating=False,
        start_s=1.0,
    )


def test_an_idle_holder_is_evicted_and_its_devices_go_to_the_one_who_waits() -> None:
    """Two endpoints, one device: both are served."""
    placement = a_placement({"a1": an_advice(0.0)})
    (granted,) = placement.step(asked("a1"), 0.0)
    assert isinstance(granted, GrantReservation)
    effects = placement.step(asked("b1"), 5.0)
    assert [e.replica for e in effects if isinstance(e, RequestEviction)] == ["a1"]
    (granted,) = placement.step(ReservationReleased(ReplicaId("a1")), 5.1)
    assert isinstance(granted, GrantReservation)
    assert granted.reservation.replica == "b1"
    placement.check()


def test_a_busy_holder_is_evicted_only_after_patience_and_a_provisioned_one_never() -> None:
    """Work in progress is worth waiting for."""
    busy = a_placement({"a1": an_advice(None)})
    busy.step(asked("a1"), 0.0)
    assert not any(isinstance(e, RequestEviction) for e in busy.step(asked("b1"), 1.0))
    late = busy.step(Ticked(), 1.0 + EVICTION_PATIENCE_S)
    assert [e.replica for e in late if isinstance(e, RequestEviction)] == ["a1"]

    provisioned = a_placement({"a1": an_advice(0.0, evictable=False)})
    provisioned.step(asked("a1"), 0.0)
    provisioned.step(asked("b1"), 1.0)
    assert not any(isinstance(e, RequestEviction) for e in provisioned.step(Ticked(), 100.0))


def test_what_never_fits_is_refused_with_the_smallest_type_that_does() -> None:
    """15 GB on a T4."""
    (refused,) = a_placement().step(asked("a1", gpu_memory_bytes=15 * 10**9), 0.0)
    assert isinstance(refused, RefuseReservation)
    assert "smallest type that fits is A10G" in refused.reason


def test_a_withdrawn_request_frees_the_way_for_the_next() -> None:
    """A place in the line can be given back."""
    placement = a_placement({"a1": an_advice(None, evictable=False)})
    placement.step(asked("a1"), 0.0)
    placement.step(asked("b1"), 0.0)
    placement.step(asked("c1"), 0.0)
    placement.step(ReservationReleased(ReplicaId("b1")), 1.0)
    (granted,) = placement.step(ReservationReleased(ReplicaId("a1")), 2.0)
    assert isinstance(granted, GrantReservation)
    assert granted.reservation.replica == "c1"


def test_a_holder_that_two_requests_could_use_is_evicted_once() -> None:
    """One waits for memory, one for the device; the same idle replica stands in the way of both."""
    placement = a_placement({"a1": an_advice(0.0)})
    placement.step(asked("a1", memory_bytes=8 * GIB), 0.0)
    placement.step(asked("b1", memory_bytes=8 * GIB), 0.0)
    memory = ReservationRequested(
        replica=ReplicaId("c1"), fleet=FleetId("c"), resources=Resources(memory_bytes=8 * GIB)
    )
    effects = placement.step(memory, 0.0)
    assert [e.replica for e in effects if isinstance(e, RequestEviction)] == ["a1"]


def test_a_low_priority_request_takes_what_nobody_else_wants() -> None:
    """It has nobody go for it, holds nobody up, and is served after all others."""
    placement = a_placement({"a1": an_advice(0.0)})
    placement.step(asked("a1"), 0.0)
    effects = placement.step(replace(asked("s1"), is_low_priority=True), 1.0)
    assert effects == []
    effects = placement.step(asked("b1"), 2.0)
    assert [e.replica for e in effects if isinstance(e, RequestEviction)] == ["a1"]
    (granted,) = placement.step(ReservationReleased(ReplicaId("a1")), 3.0)
    assert isinstance(granted, GrantReservation)
    assert granted.reservation.replica == "b1"
    (granted,) = placement.step(ReservationReleased(ReplicaId("b1")), 4.0)
    assert isinstance(granted, GrantReservation)
    assert granted.reservation.replica == "s1"
    placement.check()


def test_what_nodes_hold_together_is_reported_without_asking_for_it() -> None:
    """Whoever holds room now does not count."""
    placement = a_placement()
    one, more = asked("x").resources, Resources(memory_bytes=4 * GIB)
    placement.step(asked("a1"), 0.0)
    assert placement.fits_together([one, more])
    assert not placement.fits_together([one, one])
    assert not placement.fits_together([more, more, more])
    assert not placement.fits_together([Resources(gpus=(GpuRequest(type="H100"),))])
