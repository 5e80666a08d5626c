"""Transitions of the replica life cycle, each with its effect and its reason."""

from coldspark.fleet.replica import Replica, ReplicaState
from coldspark.fleet.state import FleetState
from coldspark.spec.messages import (
    FleetEffect,
    ParkReplica,
    ReleaseReservation,
    RequestReservation,
    StopReplica,
    YieldDevices,
)
from coldspark.spec.types import ReplicaId


class ReplicaLifecycle:
    """Request, park and end replicas. Whether and when is decided elsewhere."""

    def __init__(self, state: FleetState) -> None:
        self._state = state
        self._created = 0

    def request(self, count: int, reason: str, now: float, effects: list[FleetEffect]) -> None:
        """Request reservations for ``count`` replicas of the desired revision."""
        state = self._state
        if count > 0:
            state.record_decision(now, f"start {count} of {state.revision.id}", reason)
        for _ in range(count):
            replica = self._unparked(now) or self._new_replica(now)
            effects.append(RequestReservation(replica.id, state.revision, reason))

    def _unparked(self, now: float) -> Replica | None:
        """Return the replica parked last, if one is: it wakes faster than any other starts."""
        replicas = self._state.replicas
        for replica in reversed(replicas.parked.values()):
            if replica.revision.id == self._state.revision.id:
                replicas.mark_placing(replica, now)
                return replica
        return None

    def _new_replica(self, now: float) -> Replica:
        state = self._state
        self._created += 1
        replica = Replica(ReplicaId(f"{state.prefix}{self._created}"), state.revision, now)
        state.replicas.add(replica)
        return replica

    def park(self, replica: Replica, now: float, reason: str, effects: list[FleetEffect]) -> None:
        """Freeze an idle replica."""
        self._state.replicas.take_out_of_service(replica, ReplicaState.PARKING, now)
        self._state.record_decision(now, f"park {replica.id}", reason)
        effects.append(ParkReplica(replica.id))

    def withdraw_request(
        self, replica: Replica, now: float, reason: str, effects: list[FleetEffect]
    ) -> None:
        """Withdraw a replica's reservation request."""
        self._state.record_decision(now, f"withdraw {replica.id}", reason)
        if replica.parked_s is None:
            self.remove(replica, now, effects)
        else:
            self._state.replicas.mark_parked(replica, now)
            effects.append(YieldDevices(replica.id))

    def cancel_start(
        self, replica: Replica, now: float, reason: str, effects: list[FleetEffect]
    ) -> None:
        """End a replica that is not ready yet."""
        if replica.state is ReplicaState.PLACING and replica.parked_s is None:
            self.remove(replica, now, effects)
        else:
            self.stop(replica, now, reason, effects)

    def drain(self, replica: Replica, now: float, reason: str, effects: list[FleetEffect]) -> None:
        """Stop a ready replica after the requests it runs."""
        if replica.running:
            self._state.replicas.take_out_of_service(replica, ReplicaState.DRAINING, now)
            self._state.record_decision(now, f"drain {replica.id}", reason)
        else:
            self.stop(replica, now, reason, effects)

    def stop(
        self,
        replica: Replica,
        now: float,
        reason: str,
        effects: list[FleetEffect],
        grace_s: float | None = None,
    ) -> None:
        """End a replica's process, by default with its revision's own grace."""
        self._state.replicas.take_out_of_service(replica, ReplicaState.STOPPING, now)
        self._state.record_decision(now, f"stop {replica.id}", reason)
        if grace_s is None:
            grace_s = replica.revision.spec.limits.stop_grace_s
        effects.append(StopReplica(replica.id, grace_s, reason))

    def remove(self, replica: Replica, now: float, effects: list[FleetEffect]) -> None:
        """Release the reservation of a replica that has no process, or none any more."""
        self._state.replicas.take_out_of_service(replica, ReplicaState.GONE, now)
        effects.append(ReleaseReservation(replica.id))
