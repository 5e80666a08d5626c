"""Replacing one revision by another while requests are served, or rolling the update back.

The old revision's replicas serve until new ones are ready: each new one that is ready sends one old
one away, unless too few would be left, and the last sends all. When the new revision spends its
budget of failed starts, the fleet goes back to the old one, which never stopped serving.
"""

from dataclasses import dataclass

from coldspark.fleet.replica import Replica
from coldspark.fleet.replica_lifecycle import ReplicaLifecycle
from coldspark.fleet.state import FleetState
from coldspark.spec.messages import FleetEffect, RolledBack, RolledOut
from coldspark.spec.types import Failure, Revision


@dataclass(slots=True)
class _Underway:
    previous: Revision
    target: int
    """Ready replicas of the new revision that end the roll-out."""
    failed_starts: int = 0


class Rollout:
    """The change of one fleet's revision."""

    def __init__(self, state: FleetState, lifecycle: ReplicaLifecycle) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._underway: _Underway | None = None
        self.failure: str | None = None
        """Why the last update was taken back."""

    @property
    def is_underway(self) -> bool:
        """Return whether a revision is being replaced."""
        return self._underway is not None

    def adopt(self, revision: Revision, now: float, effects: list[FleetEffect]) -> None:
        """Run another revision: one new replica for each ready old one, then the old one ends."""
        previous = self._state.revision
        self._state.adopt(revision)
        if revision.id == previous.id:
            return
        if self._underway is not None and self._underway.previous.id != revision.id:
            previous = self._underway.previous
        self._state.start_budget.reset()
        self.failure = self._underway = None
        self._call_off_starts(now, effects)
        self._begin(previous, now, effects)

    def clamp_to_bounds(self) -> None:
        """Clamp its target to replica bounds that may have changed."""
        if self._underway is not None:
            scale = self._state.scale
            target = min(self._underway.target, scale.replicas_max)
            self._underway.target = max(target, scale.replicas_min)

    def _call_off_starts(self, now: float, effects: list[FleetEffect]) -> None:
        for replica in list(self._state.replicas.starting.values()):
            if not self._is_new(replica):
                self._lifecycle.cancel_start(replica, now, "another revision was adopted", effects)
        for replica in list(self._state.replicas.parked.values()):
            if not self._is_new(replica):
                self._lifecycle.stop(replica, now, "another revision was adopted", effects, 0.0)

    def _begin(self, previous: Revision, now: float, effects: list[FleetEffect]) -> None:
        state, scale = self._state, self._state.scale
        old = state.replicas.ready - self._fresh
        if not old:
            effects.append(RolledOut(state.revision))
            return
        target = max(scale.replicas_min, min(state.replicas.ready, scale.replicas_max))
        self._underway = _Underway(previous, target)
        reason = f"roll out over {old} of {previous.id}"
        self._lifecycle.request(target - self._fresh, reason, now, effects)

    @property
    def _fresh(self) -> int:
        """Return how many of the new revision are ready: all that are starting are of it."""
        replicas = self._state.replicas
        return replicas.live_count(self._state.revision.id) - len(replicas.starting)

    def resume(self, now: float, effects: list[FleetEffect]) -> None:
        """End it when it is done; else, when nothing is on its way, try again what is missing."""
        state = self._state
        if self._underway is None:
            return
        if self._is_done(self._underway):
            self._conclude(now, effects)
        elif not (state.replicas.starting or state.replicas.failed_starts):
            missing = self._underway.target - self._fresh
            allowed = state.start_budget.allowed(missing, now)
            self._lifecycle.request(allowed, "roll out: try again", now, effects)

    def replica_ready(self, replica: Replica, now: float, effects: list[FleetEffect]) -> None:
        """Replace an old replica by one that became ready."""
        if self._underway is None or not self._is_new(replica):
            return
        if self._state.replicas.ready > self._underway.target and not self._is_done(self._underway):
            self._send_away(self._old()[:1], now, effects)
        self.resume(now, effects)

    def _is_done(self, underway: _Underway) -> bool:
        """Return whether there are enough new ones, or some and no old one any more."""
        fresh = self._fresh
        return fresh >= underway.target or 0 < fresh == self._state.replicas.ready

    def _conclude(self, now: float, effects: list[FleetEffect]) -> None:
        self._underway = None
        self._send_away(self._old(), now, effects)
        effects.append(RolledOut(self._state.revision))

    def _old(self) -> list[Replica]:
        """Return ready replicas that are to be replaced, the least busy first."""
        old = [r for r in self._state.replicas.ready_replicas() if not self._is_new(r)]
        return sorted(old, key=lambda replica: len(replica.running))

    def _send_away(self, old: list[Replica], now: float, effects: list[FleetEffect]) -> None:
        for replica in old:
            reason = f"replaced by {self._state.revision.id}"
            self._lifecycle.drain(replica, now, reason, effects)

    def includes(self, replica: Replica) -> bool:
        """Return whether a replica is one of those being rolled out."""
        return self._underway is not None and self._is_new(replica)

    def count_failed_start(self, failure: Failure, now: float, effects: list[FleetEffect]) -> None:
        """Roll the update back when the new revision has spent its budget of failed starts."""
        assert self._underway is not None
        self._underway.failed_starts += 1
        if self._underway.failed_starts >= self._state.scale.failed_starts_max:
            self._take_back(self._underway.previous, failure, now, effects)

    def _take_back(
        self, previous: Revision, failure: Failure, now: float, effects: list[FleetEffect]
    ) -> None:
        failed = self._state.revision
        self._state.adopt(previous)
        self._underway = None
        self._state.start_budget.reset()
        self.failure = f"update to {failed.id} taken back: {failure.message}"
        self._state.record_decision(now, f"roll back to {previous.id}", failure.message)
        self._call_off_starts(now, effects)
        for replica in self._old():
            self._lifecycle.drain(replica, now, "its revision was taken back", effects)
        effects.append(RolledBack(previous, self.failure))

    def abandon(self) -> None:
        """Leave it as it is: the fleet is going away."""
        self._underway = None

    def _is_new(self, replica: Replica) -> bool:
        return replica.revision.id == self._state.revision.id

    def check(self) -> None:
        """Assert what must hold after every step."""
        state, underway = self._state, self._underway
        assert all(self._is_new(replica) for replica in state.replicas.starting.values())
        if underway is None:
            assert not self._old(), "a revision serves that nobody asked for"
            return
        assert underway.previous.id != state.revision.id
        assert not self._is_done(underway), "a finished roll-out is still underway"
        assert underway.failed_starts < state.scale.failed_starts_max
        is_awaited = (
            state.replicas.starting or state.replicas.failed_starts or state.start_budget.failed
        )
        assert is_awaited, "an update waits for nothing"
