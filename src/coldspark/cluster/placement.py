"""Placement for several routers: one machine of requests and grants, in the primary.

The primary's ``SharedPlacement`` is the placement itself, and knows the other routers' replicas as
well. A router's ``RemotePlacement`` calls it by messages, and has a copy of what it was granted. An
answer carries its request's number: one that was withdrawn is not mistaken for the next.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import assert_never

from coldspark.cluster.messages import (
    Evict,
    Message,
    ReservationGrant,
    ReservationRefusal,
    ReservationRelease,
    ReservationRequest,
    ReservationYield,
)
from coldspark.fleet.fleet import EvictionCandidate
from coldspark.fleet.placement import CandidateLookup, Placement, SmallestDeviceType
from coldspark.spec.messages import (
    DevicesYielded,
    GrantReservation,
    NodeJoined,
    NodeLeft,
    PlacementEffect,
    PlacementEvent,
    RefuseReservation,
    RequestEviction,
    Reservation,
    ReservationReleased,
    ReservationRequested,
    Ticked,
    WakeAt,
)
from coldspark.spec.types import ReplicaId, Resources


class SharedPlacement:
    """The primary's ``PlacementPort``: what its steps return concerns the primary's replicas.

    Evictions are decided on fresh advice: a step that leaves a request waiting evicts nobody as
    long as other routers hold reservations, but calls ``on_short``. What comes of that is given to
    ``advised``, and the step after it decides.
    """

    def __init__(
        self,
        advice_of: CandidateLookup,
        smallest_type: SmallestDeviceType,
        *,
        deliver: Callable[[int, Message], None],
        on_short: Callable[[], None],
    ) -> None:
        self._own_advice = advice_of
        self._placement = Placement(self._advise, smallest_type)
        self._deliver = deliver
        self._on_short = on_short
        self._owners: dict[ReplicaId, tuple[int, int]] = {}
        """Router and its latest request's number, of each replica that is not the primary's."""
        self._advice: dict[ReplicaId, EvictionCandidate] | None = None
        """Of other routers' replicas; None: it would have to be fetched."""

    def step(self, event: PlacementEvent, now: float) -> list[PlacementEffect]:
        """Take an event of any router's; send the others their effects, return the primary's."""
        effects = self._placement.step(event, now)
        if isinstance(event, ReservationReleased):
            self._owners.pop(event.replica, None)
        is_advised = self._advice is not None or not self._owners
        self._advice = None
        mine = [
            effect
            for effect in effects
            if (is_advised or not isinstance(effect, RequestEviction)) and not self._forward(effect)
        ]
        if self._placement.is_short and not is_advised:
            self._on_short()
        return mine

    def grant(self, replica: ReplicaId) -> Reservation | None:
        """Return a replica's reservation."""
        return self._placement.grant(replica)

    def refusal(self, resources: Resources) -> str | None:
        """Return why no node could ever hold this, or None."""
        return self._placement.refusal(resources)

    def fits_together(self, wanted: Iterable[Resources]) -> bool:
        """Return whether the nodes could hold all of these at once if they were empty."""
        return self._placement.fits_together(wanted)

    def event_of(self, router: int, message: Message) -> PlacementEvent | None:
        """Return the placement event of a router's message, if it is one."""
        match message:
            case ReservationRequest(number, request):
                self._owners[request.replica] = router, number
                return request
            case ReservationRelease(replica):
                return ReservationReleased(replica)
            case ReservationYield(replica):
                return DevicesYielded(replica)
            case _:
                return None

    def held_by(self, router: int) -> list[ReplicaId]:
        """Return the replicas of a router with a reservation or a request."""
        return [name for name, (owner, _) in self._owners.items() if owner == router]

    def advised(self, advice: dict[ReplicaId, EvictionCandidate]) -> None:
        """Set the advice on other routers' replicas, for the next step alone."""
        self._advice = advice

    def check(self) -> None:
        """Assert what must hold after every step."""
        self._placement.check()

    def _advise(self, replica: ReplicaId) -> EvictionCandidate | None:
        if replica in self._owners:
            # One without advice counts as busy.
            return None if self._advice is None else self._advice.get(replica)
        return self._own_advice(replica)

    def _forward(self, effect: PlacementEffect) -> bool:
        """Send an effect to the router that it is for; return whether it was another's."""
        match effect:
            case GrantReservation(grant):
                replica = grant.replica
            case RefuseReservation(replica, _) | RequestEviction(replica, _):
                pass
            case WakeAt():
                return False
            case _:
                assert_never(effect)
        owner = self._owners.get(replica)
        if owner is None:
            return False
        router, number = owner
        self._deliver(router, _message(effect, number))
        if isinstance(effect, RefuseReservation):
            del self._owners[replica]
        return True


def _message(
    effect: GrantReservation | RefuseReservation | RequestEviction, number: int
) -> Message:
    match effect:
        case GrantReservation(grant):
            return ReservationGrant(number, grant)
        case RefuseReservation(replica, reason):
            return ReservationRefusal(number, replica, reason)
        case RequestEviction(replica, reason):
            return Evict(replica, reason)
        case _:
            assert_never(effect)


class RemotePlacement:
    """A router's ``PlacementPort``: steps return nothing, answers come as messages."""

    def __init__(self, smallest_type: SmallestDeviceType, send: Callable[[Message], None]) -> None:
        self._empty = Placement(lambda replica: None, smallest_type)
        """Holds nothing: it knows the node, and so what can never fit."""
        self._send = send
        self._grants: dict[ReplicaId, Reservation] = {}
        self._pending: dict[ReplicaId, int] = {}
        self._last_number = 0

    def step(self, event: PlacementEvent, now: float) -> list[PlacementEffect]:
        """Pass an event on to the primary."""
        match event:
            case NodeJoined() | NodeLeft():
                self._empty.step(event, now)
            case ReservationRequested():
                self._last_number += 1
                self._pending[event.replica] = self._last_number
                self._send(ReservationRequest(self._last_number, event))
            case ReservationReleased(replica):
                self._pending.pop(replica, None)
                self._grants.pop(replica, None)
                self._send(ReservationRelease(replica))
            case DevicesYielded(replica):
                self._pending.pop(replica, None)
                if replica in self._grants:
                    self._grants[replica] = replace(self._grants[replica], devices=())
                self._send(ReservationYield(replica))
            case Ticked():
                pass
            case _:
                assert_never(event)
        return []

    def grant(self, replica: ReplicaId) -> Reservation | None:
        """Return a replica's reservation."""
        return self._grants.get(replica)

    def refusal(self, resources: Resources) -> str | None:
        """Return why no node could ever hold this, or None."""
        return self._empty.refusal(resources)

    def fits_together(self, wanted: Iterable[Resources]) -> bool:
        """Return whether the nodes could hold all of these at once if they were empty."""
        return self._empty.fits_together(wanted)

    @property
    def holders(self) -> list[ReplicaId]:
        """Return the replicas with a reservation."""
        return list(self._grants)

    def effect_of(self, message: Message) -> PlacementEffect | None:
        """Return the placement effect of a primary's message, if it is one."""
        match message:
            case ReservationGrant(number, grant) if self._pending.get(grant.replica) == number:
                del self._pending[grant.replica]
                self._grants[grant.replica] = grant
                return GrantReservation(grant)
            case ReservationRefusal(number, replica, reason) if (
                self._pending.get(replica) == number
            ):
                del self._pending[replica]
                return RefuseReservation(replica, reason)
            case Evict(replica, reason):
                return RequestEviction(replica, reason)
            case _:
                return None
