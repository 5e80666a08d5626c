"""Carrying out what ``autoscaling`` decides: ask for more, call asks back, let idle ones go."""

from coldspark.core.autoscaling import Observed, decide
from coldspark.core.deadlines import NEVER
from coldspark.core.lives import Lives
from coldspark.core.messages import FleetEffect
from coldspark.core.replicas import ReplicaState
from coldspark.core.rollout import Rollout
from coldspark.core.state import FleetState


class Scaling:
    """How many replicas one fleet has."""

    def __init__(self, state: FleetState, lives: Lives, rollout: Rollout) -> None:
        self._state = state
        self._lives = lives
        self._rollout = rollout

    def rescale(self, now: float, effects: list[FleetEffect]) -> None:
        """Go on with an update; start what the rule asks for, or call asks for room back."""
        state = self._state
        if state.is_retired:
            return
        self._rollout.resume(now, effects)
        starts, reason = self._missing(now)
        if starts > 0:
            self._lives.ask(state.budget.allowed(starts, now), reason, now, effects)
        elif not state.book.queued and not self._rollout.is_underway:
            self._withdraw(now, effects)

    def _missing(self, now: float) -> tuple[int, str]:
        """Return how many starts the rule wants and ``replicas_max`` allows, and why."""
        roster, revision = self._state.roster, self._state.revision
        scale = revision.spec.scale
        room = scale.replicas_max - roster.live(revision.id) - roster.failing
        if room <= 0:
            return 0, f"at replicas_max={scale.replicas_max}"
        verdict = decide(scale, self._observe(now))
        missing = verdict.replicas - roster.ready - len(roster.starting) - roster.failing
        return min(missing, room), verdict.reason

    def _observe(self, now: float) -> Observed:
        state, first = self._state, self._state.book.first
        return Observed(
            queued=state.book.queued,
            ready=state.roster.ready,
            starting_ages_s=tuple(now - r.asked_s for r in state.roster.starting.values()),
            oldest_wait_s=0.0 if first is None else now - first.arrived_s,
            start_s=state.starts_s.quantile(0.25),
            service_s=state.services_s.quantile(0.75),
        )

    def _withdraw(self, now: float, effects: list[FleetEffect]) -> None:
        """Nobody waits any more: stop asking for room beyond the floor."""
        roster = self._state.roster
        floor = self._state.revision.spec.scale.replicas_min
        spare = roster.ready + len(roster.starting) - floor
        placing = [r for r in roster.starting.values() if r.state is ReplicaState.PLACING]
        for replica in placing[: max(0, spare)]:
            self._lives.withdraw(replica, now, "nobody waits any more", effects)

    def expire_idle(self, now: float, effects: list[FleetEffect]) -> None:
        """Take replicas a rung down: idle ones are parked (above the floor), parked ones end."""
        parks = self._state.revision.spec.scale.parks_for_s > 0
        while now >= self._next_idle_s():
            replica = self._state.roster.longest_idle()
            assert replica is not None
            assert replica.idle_since_s is not None
            reason = f"idle for {now - replica.idle_since_s:.1f} s"
            if parks:
                self._lives.park(replica, now, reason, effects)
            else:
                self._lives.stop(replica, now, reason, effects)
        while now >= self._next_parked_s():
            replica = next(iter(self._state.roster.parked.values()))
            assert replica.parked_s is not None
            reason = f"parked for {now - replica.parked_s:.1f} s"
            # It is idle and frozen: there is nothing that grace could let it finish.
            self._lives.stop(replica, now, reason, effects, grace_s=0.0)

    def next_s(self) -> float:
        """Return when the next replica goes a rung down."""
        return min(self._next_idle_s(), self._next_parked_s())

    def _next_parked_s(self) -> float:
        first = next(iter(self._state.roster.parked.values()), None)
        if first is None or first.parked_s is None:
            return NEVER
        return first.parked_s + self._state.revision.spec.scale.parks_for_s

    def _next_idle_s(self) -> float:
        scale, roster = self._state.revision.spec.scale, self._state.roster
        if roster.ready <= scale.replicas_min:
            return NEVER
        first = roster.longest_idle()
        if first is None or first.idle_since_s is None:
            return NEVER
        return first.idle_since_s + scale.idle_timeout_s
