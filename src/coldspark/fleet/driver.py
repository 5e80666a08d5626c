"""The one loop around fleets and placement: live, in the simulator and in tests.

The law of a driver:

1. ``post`` never re-enters a fleet: what arrives while effects are performed is queued in the
   inbox, so each fleet sees one event at a time, in the order in which events came.
2. Requests to placement, and its answers, pass through here alone. A replica has
   an owner from its reservation request until it releases it.
3. Every other effect is the performer's: to forward, to wake, to perform.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Generic, Protocol, TypeVar, assert_never

from coldspark.fleet.fleet import EvictionCandidate, Fleet
from coldspark.fleet.placement import CandidateLookup
from coldspark.spec.messages import (
    DevicesYielded,
    EvictionRequested,
    FleetEffect,
    FleetEvent,
    Forward,
    GrantReservation,
    PlacementEffect,
    PlacementEvent,
    RareEffect,
    RefuseReservation,
    ReleaseReservation,
    ReplicaParked,
    RequestEviction,
    RequestReservation,
    Reservation,
    ReservationGranted,
    ReservationRefused,
    ReservationReleased,
    ReservationRequested,
    Retired,
    WakeAt,
    YieldDevices,
)
from coldspark.spec.types import FleetId, ReplicaId, RequestId, Resources

StepListener = Callable[[FleetId, FleetEvent, float, list[FleetEffect]], None]
"""Takes what a fleet was sent, at which monotonic second, and what it wants done."""


class PlacementPort(Protocol):
    """Placement, in this process or another one's. ``Placement`` is the model."""

    def step(self, event: PlacementEvent, now: float) -> list[PlacementEffect]:
        """Take one event; return the effects to perform now. More may come of it later."""

    def grant(self, replica: ReplicaId) -> Reservation | None:
        """Return a replica's reservation."""

    def refusal(self, resources: Resources) -> str | None:
        """Return why no node could ever hold this, with the cure; None when one could."""

    def fits_together(self, wanted: Iterable[Resources]) -> bool:
        """Return whether the nodes could hold all of these at once if they were empty."""


class FleetOwner(Protocol):
    """What a fleet belongs to: it is passed with every event and effect of the fleet."""

    @property
    def fleet(self) -> Fleet:
        """Return the fleet."""

    @property
    def is_shadow(self) -> bool:
        """Return whether its replicas take only spare capacity, and are evicted first."""


Owner = TypeVar("Owner", bound=FleetOwner)
_Owner = TypeVar("_Owner", bound=FleetOwner, contravariant=True)


class Performer(Protocol[_Owner]):
    """What a driver cannot do itself: act on the world, real or not."""

    def forward(self, owner: _Owner, request: RequestId, replica: ReplicaId, now: float) -> None:
        """Send the request to the replica."""

    def wake(self, owner: _Owner | None, at_s: float) -> None:
        """Send ``Ticked`` then, to placement where no fleet is given; a later call replaces it."""

    def perform(self, owner: _Owner, effect: RareEffect) -> None:
        """Perform any other effect. Placement is notified of reservations by the driver itself."""


class Driver(Generic[Owner]):
    """Fleets with their owners, placement, and what passes between them."""

    def __init__(
        self,
        performer: Performer[Owner],
        placement: Callable[[CandidateLookup], PlacementPort],
        now: Callable[[], float],
        *,
        on_step: StepListener | None = None,
        on_change: Callable[[Owner], None] | None = None,
        on_gone: Callable[[Owner], None] | None = None,
    ) -> None:
        """Take the performer, what makes the placement, and the clock in monotonic seconds.

        ``on_step`` is called with every step of every fleet, ``on_change`` when something came of
        a replica (its fleet may take that only later), ``on_gone`` when nothing is left of a fleet
        that was retired.
        """
        # Bound once: every request needs it.
        self._forward = performer.forward
        self._performer = performer
        self._now = now
        self._on_step = on_step
        self._on_change = on_change
        self._on_gone = on_gone
        self._inbox: deque[tuple[Owner, FleetEvent]] = deque()
        self._is_draining = False
        self._retiring: list[Owner] = []
        self._owners: dict[ReplicaId, Owner] = {}
        self._parked_bytes: dict[ReplicaId, int] = {}
        """Of devices, until placement is told."""
        self.placement = placement(self.advise)

    def post(self, owner: Owner, event: FleetEvent) -> None:
        """Process an event and those posted meanwhile; a nested call only queues its event."""
        inbox = self._inbox
        if self._is_draining:
            inbox.append((owner, event))
            return
        self._is_draining = True
        try:
            while True:
                self._take(owner, event)
                if not inbox:
                    return
                owner, event = inbox.popleft()
        finally:
            self._is_draining = False

    def _take(self, owner: Owner, event: FleetEvent) -> None:
        now, fleet = self._now(), owner.fleet
        effects = fleet.step(event, now)
        if self._on_step is not None:
            self._on_step(fleet.id, event, now, effects)
        for effect in effects:
            # Not cases: every request needs these, and taking a pattern apart costs more.
            if isinstance(effect, Forward):
                self._forward(owner, effect.request, effect.replica, now)
            elif isinstance(effect, WakeAt):
                self._performer.wake(owner, effect.at_s)
            else:
                self._perform(owner, effect)
        if self._retiring and fleet.is_gone and owner in self._retiring:
            self._retiring.remove(owner)
            if self._on_gone is not None:
                self._on_gone(owner)

    def _perform(self, owner: Owner, effect: RareEffect) -> None:
        if isinstance(effect, RequestReservation):
            self._owners[effect.replica] = owner
        self._performer.perform(owner, effect)
        match effect:
            case RequestReservation(replica, revision, _):
                self.place(
                    ReservationRequested(
                        replica=replica,
                        fleet=owner.fleet.id,
                        resources=revision.spec.resources,
                        is_low_priority=owner.is_shadow,
                    )
                )
            case YieldDevices(replica):
                self.place(DevicesYielded(replica, self._parked_bytes.pop(replica, 0)))
            case ReleaseReservation(replica):
                self._parked_bytes.pop(replica, None)
                self.place(ReservationReleased(replica))
                self._owners.pop(replica, None)
            case _:
                pass

    def retire(self, owner: Owner) -> None:
        """Refuse what waits, let finish what runs, then forget the fleet."""
        if owner not in self._retiring:
            self._retiring.append(owner)
        self.post(owner, Retired())

    def place(self, event: PlacementEvent) -> None:
        """Pass an event to placement and its answers to their fleets."""
        for effect in self.placement.step(event, self._now()):
            self.answer(effect)

    def answer(self, effect: PlacementEffect) -> None:
        """Pass an answer of placement to the fleet that it is for."""
        match effect:
            case GrantReservation(grant):
                self.tell(grant.replica, ReservationGranted(grant.replica))
            case RefuseReservation(replica, reason):
                self.tell(replica, ReservationRefused(replica, reason))
            case RequestEviction(replica, reason):
                self.tell(replica, EvictionRequested(replica, reason))
            case WakeAt(at_s):
                self._performer.wake(None, at_s)
            case _:
                assert_never(effect)

    def tell(self, replica: ReplicaId, event: FleetEvent) -> None:
        """Post a replica's event to its fleet, if it still has one."""
        owner = self._owners.get(replica)
        if owner is not None:
            self.post(owner, event)
            if self._on_change is not None:
                self._on_change(owner)

    def parked(self, replica: ReplicaId, device_bytes: int) -> None:
        """Post that a replica is parked, with so many bytes from its devices in host memory."""
        if device_bytes and replica in self._owners:
            self._parked_bytes[replica] = device_bytes
        self.tell(replica, ReplicaParked(replica))

    def owner(self, replica: ReplicaId) -> Owner | None:
        """Return the owner of a replica that has a reservation or requests one."""
        return self._owners.get(replica)

    def advise(self, replica: ReplicaId) -> EvictionCandidate | None:
        """Return what placement knows of a replica."""
        owner = self._owners.get(replica)
        advice = None if owner is None else owner.fleet.eviction_candidate(replica)
        if owner is None or advice is None or not owner.is_shadow:
            return advice
        is_idle = advice.idle_since_s is not None
        return replace(advice, is_superseded=True, is_evictable=advice.is_evictable or is_idle)

    def check(self) -> None:
        """Assert what must hold whenever no event is being taken."""
        assert not self._is_draining
        assert not self._inbox
        assert self._parked_bytes.keys() <= self._owners.keys()
        for owner in set(self._owners.values()):
            owner.fleet.check()
            theirs = {name for name, whose in self._owners.items() if whose is owner}
            assert theirs == {replica.id for replica in owner.fleet.replicas()}
        assert all(not owner.fleet.is_gone for owner in self._retiring)
