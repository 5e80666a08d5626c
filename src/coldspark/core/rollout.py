"""Replacing one revision by another while requests are served, or taking the update back.

The old revision's replicas serve until new ones are ready: each new one that is ready sends one old
one away, the last sends all. When the new revision spends its budget of failed starts, the fleet
goes back to the old one, which never stopped serving.
"""

from dataclasses import dataclass

from coldspark.core.lives import Lives
from coldspark.core.messages import FleetEffect, RolledBack, RolledOut
from coldspark.core.replicas import Replica
from coldspark.core.state import FleetState
from coldspark.core.types import Failure, Revision


@dataclass(slots=True)
class _Underway:
    previous: Revision
    wanted: int
    """Ready replicas of the new revision that end the roll-out."""
    failed_starts: int = 0


class Rollout:
    """The change of one fleet's revision."""

    def __init__(self, state: FleetState, lives: Lives) -> None:
        self._state = state
        self._lives = lives
        self._underway: _Underway | None = None
        self.failure: str | None = None
        """Why the last update was taken back."""

    @property
    def is_underway(self) -> bool:
        """Return whether a revision is being replaced."""
        return self._underway is not None

    def adopt(self, revision: Revision, now: float, effects: list[FleetEffect]) -> None:
        """Run another revision: one new replica for each ready old one, then the old one goes."""
        previous, self._state.revision = self._state.revision, revision
        if revision.id == previous.id:
            return
        if self._underway is not None:
            previous = self._underway.previous
        self._state.budget.forgive()
        self.failure = self._underway = None
        self._call_off_starts(now, effects)
        self._begin(previous, now, effects)

    def _call_off_starts(self, now: float, effects: list[FleetEffect]) -> None:
        for replica in list(self._state.roster.starting.values()):
            if not self._is_new(replica):
                self._lives.call_off(replica, now, "another revision was adopted", effects)

    def _begin(self, previous: Revision, now: float, effects: list[FleetEffect]) -> None:
        revision, ready = self._state.revision, self._state.roster.ready_ones()
        old = sum(1 for replica in ready if not self._is_new(replica))
        if not old:
            effects.append(RolledOut(revision))
            return
        scale = revision.spec.scale
        wanted = max(scale.replicas_min, min(len(ready), scale.replicas_max))
        self._underway = _Underway(previous, wanted)
        missing = wanted - self._state.roster.live(revision.id)
        self._lives.ask(missing, f"roll out over {old} of {previous.id}", now, effects)
        if missing <= 0:
            self._advance(self._underway, now, effects)

    def resume(self, now: float, effects: list[FleetEffect]) -> None:
        """Try again what is missing, when nothing is on its way and the budget allows it."""
        state = self._state
        if self._underway is not None and not state.roster.starting:
            missing = self._underway.wanted - state.roster.live(state.revision.id)
            allowed = state.budget.allowed(missing, now)
            self._lives.ask(allowed, "roll out: try again", now, effects)

    def became_ready(self, replica: Replica, now: float, effects: list[FleetEffect]) -> None:
        """Let a replica that became ready take an old one's place."""
        if self._underway is not None and self._is_new(replica):
            self._advance(self._underway, now, effects)

    def _advance(self, underway: _Underway, now: float, effects: list[FleetEffect]) -> None:
        ready = self._state.roster.ready_ones()
        old = [replica for replica in ready if not self._is_new(replica)]
        old.sort(key=lambda replica: len(replica.running))
        is_done = len(ready) - len(old) >= underway.wanted
        reason = f"replaced by {self._state.revision.id}"
        for replica in old if is_done else old[:1]:
            self._lives.send_away(replica, now, reason, effects)
        if is_done:
            self._underway = None
            effects.append(RolledOut(self._state.revision))

    def owns(self, replica: Replica) -> bool:
        """Return whether a replica is one of those being rolled out."""
        return self._underway is not None and self._is_new(replica)

    def count_failed_start(self, failure: Failure, now: float, effects: list[FleetEffect]) -> None:
        """Take the update back when the new revision has spent its budget of failed starts."""
        assert self._underway is not None
        self._underway.failed_starts += 1
        if self._underway.failed_starts >= self._state.revision.spec.scale.failed_starts_max:
            self._take_back(self._underway.previous, failure, now, effects)

    def _take_back(
        self, previous: Revision, failure: Failure, now: float, effects: list[FleetEffect]
    ) -> None:
        failed, self._state.revision = self._state.revision, previous
        self._underway = None
        self._state.budget.forgive()
        self.failure = f"update to {failed.id} taken back: {failure.message}"
        self._state.note(now, f"roll back to {previous.id}", failure.message)
        self._call_off_starts(now, effects)
        for replica in self._state.roster.ready_ones():
            if replica.revision.id == failed.id:
                self._lives.send_away(replica, now, "its revision was taken back", effects)
        effects.append(RolledBack(previous, self.failure))

    def abandon(self) -> None:
        """Leave it as it is: the fleet is going away."""
        self._underway = None

    def _is_new(self, replica: Replica) -> bool:
        return replica.revision.id == self._state.revision.id

    def check(self) -> None:
        """Assert what must hold after every step."""
        if self._underway is None:
            return
        state = self._state
        fresh = sum(1 for replica in state.roster.ready_ones() if self._is_new(replica))
        assert self._underway.previous.id != state.revision.id
        assert fresh < self._underway.wanted, "a finished roll-out is still underway"
        assert self._underway.failed_starts < state.revision.spec.scale.failed_starts_max
