"""How replicas come into a fleet and leave it: each step with its effect and its reason."""

from coldspark.fleet.replica import Replica, ReplicaState
from coldspark.fleet.state import FleetState
from coldspark.spec.messages import (
    AskRoom,
    FleetEffect,
    ParkReplica,
    ReleaseRoom,
    StopReplica,
    YieldRoom,
)
from coldspark.spec.types import ReplicaId


class Lives:
    """Ask for replicas and end them. Whether and when is decided elsewhere."""

    def __init__(self, state: FleetState) -> None:
        self._state = state
        self._born = 0

    def ask(self, count: int, reason: str, now: float, effects: list[FleetEffect]) -> None:
        """Ask for room for ``count`` replicas of the revision that shall run."""
        state = self._state
        if count > 0:
            state.note(now, f"start {count} of {state.revision.id}", reason)
        for _ in range(count):
            replica = self._unparked(now) or self._newborn(now)
            effects.append(AskRoom(replica.id, state.revision, reason))

    def _unparked(self, now: float) -> Replica | None:
        """Return the replica parked last, if one is: it wakes faster than any other starts."""
        roster = self._state.roster
        for replica in reversed(roster.parked.values()):
            if replica.revision.id == self._state.revision.id:
                roster.unpark(replica, now)
                return replica
        return None

    def _newborn(self, now: float) -> Replica:
        state = self._state
        self._born += 1
        replica = Replica(ReplicaId(f"{state.prefix}{self._born}"), state.revision, now)
        state.roster.add(replica)
        return replica

    def park(self, replica: Replica, now: float, reason: str, effects: list[FleetEffect]) -> None:
        """Freeze an idle replica."""
        self._state.roster.leave(replica, ReplicaState.PARKING, now)
        self._state.note(now, f"park {replica.id}", reason)
        effects.append(ParkReplica(replica.id))

    def withdraw(
        self, replica: Replica, now: float, reason: str, effects: list[FleetEffect]
    ) -> None:
        """Call back a replica's ask for room."""
        self._state.note(now, f"withdraw {replica.id}", reason)
        if replica.parked_s is None:
            self.forget(replica, now, effects)
        else:
            self._state.roster.park(replica, now)
            effects.append(YieldRoom(replica.id))

    def call_off(
        self, replica: Replica, now: float, reason: str, effects: list[FleetEffect]
    ) -> None:
        """End a replica that is not ready yet."""
        if replica.state is ReplicaState.PLACING and replica.parked_s is None:
            self.forget(replica, now, effects)
        else:
            self.stop(replica, now, reason, effects)

    def send_away(
        self, replica: Replica, now: float, reason: str, effects: list[FleetEffect]
    ) -> None:
        """Stop a ready replica, after what it is working on."""
        if replica.running:
            self._state.roster.leave(replica, ReplicaState.DRAINING, now)
            self._state.note(now, f"drain {replica.id}", reason)
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
        self._state.roster.leave(replica, ReplicaState.STOPPING, now)
        self._state.note(now, f"stop {replica.id}", reason)
        if grace_s is None:
            grace_s = replica.revision.spec.limits.stop_grace_s
        effects.append(StopReplica(replica.id, grace_s, reason))

    def forget(self, replica: Replica, now: float, effects: list[FleetEffect]) -> None:
        """Give back the room of a replica that has no process, or none any more."""
        self._state.roster.leave(replica, ReplicaState.GONE, now)
        effects.append(ReleaseRoom(replica.id))
