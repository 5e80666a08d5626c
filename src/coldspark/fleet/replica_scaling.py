"""Carrying out what ``autoscaling`` decides: ask for more, call asks back, let idle ones go."""

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.idle_intervals import FIRST_S
from coldspark.fleet.idle_policy import Resting
from coldspark.fleet.keep_alive_plan import Rest
from coldspark.fleet.measurements import Arrivals
from coldspark.fleet.policies.demand import Demand
from coldspark.fleet.policies.learned import RATE_STARTS
from coldspark.fleet.policies.observation import Observed, Verdict
from coldspark.fleet.replica import Replica, ReplicaState
from coldspark.fleet.replica_lifecycle import Lives
from coldspark.fleet.rollout import Rollout
from coldspark.fleet.state import FleetState
from coldspark.spec.messages import FleetEffect
from coldspark.spec.types import Warmth

_TRIMMED = (ReplicaState.PLACING, ReplicaState.STARTING, ReplicaState.READY)
# Looking a member up on its Enum takes longer than the comparison; every request does it.
_READY = Warmth.READY
_SILENT = Demand(1.0)
"""What rules that do not look back are given."""


class Scaling:
    """How many replicas one fleet has."""

    def __init__(self, state: FleetState, lives: Lives, rollout: Rollout) -> None:
        self._state = state
        self._lives = lives
        self._rollout = rollout
        self._resting = Resting(state)
        self._arrivals = Arrivals()

    def rescale(self, now: float, effects: list[FleetEffect]) -> None:
        """Go on with an update; start what the rule asks for, or call asks for room back."""
        state = self._state
        if state.is_retired:
            return
        if state.roster.live(state.revision.id) > state.scale.replicas_max:
            self._trim(now, effects)
        self._rollout.resume(now, effects)
        starts, reason = self._missing(now)
        if starts > 0:
            self._lives.ask(state.budget.allowed(starts, now), reason, now, effects)
        elif not state.waiting and not self._rollout.is_underway:
            self._withdraw(now, effects)

    def _trim(self, now: float, effects: list[FleetEffect]) -> None:
        """Let those go that are over a ceiling that has come down, the least useful first."""
        state = self._state
        over = state.roster.live(state.revision.id) - state.scale.replicas_max
        reason = f"over the ceiling of {state.scale.replicas_max}: {state.floor_reason}"
        for replica in sorted(state.roster, key=_use):
            if over <= 0:
                break
            if replica.revision.id != state.revision.id or replica.state not in _TRIMMED:
                continue
            over -= 1
            if replica.state is ReplicaState.PLACING:
                self._lives.withdraw(replica, now, reason, effects)
            elif replica.state is ReplicaState.STARTING:
                self._lives.call_off(replica, now, reason, effects)
            else:
                self._lives.send_away(replica, now, reason, effects)

    def _missing(self, now: float) -> tuple[int, str]:
        """Return how many starts the rule wants and ``replicas_max`` allows, and why."""
        state = self._state
        roster, scale = state.roster, state.scale
        verdict = self._judge(now)
        room = scale.replicas_max - roster.live(state.revision.id) - roster.failing
        if room <= 0:
            return 0, f"at replicas_max={scale.replicas_max}"
        wanted, reason = verdict.replicas, verdict.reason
        if wanted < scale.replicas_min or (wanted == scale.replicas_min and not state.book.queued):
            wanted, reason = scale.replicas_min, state.floor_reason
        worth = self._resting.worth_starting() if state.book.queued else 0
        if worth > wanted:
            wanted, reason = worth, f"{reason}; {worth} are worth having for those to come"
        return min(wanted - roster.ready - len(roster.starting) - roster.failing, room), reason

    def _judge(self, now: float) -> Verdict:
        """Ask the rule."""
        state = self._state
        if (demand := state.ruling.demand) is not None:
            # It is asked in the middle of a step: what just came counts already.
            demand.note(state.book.open, now)
        return state.ruling.judge(state.scale, self._observe(now))

    def _observe(self, now: float) -> Observed:
        state, first = self._state, self._state.book.first
        start_s = state.starts_s.quantile(0.25)
        return Observed(
            now=now,
            running=state.book.open - state.book.queued,
            slots=state.scale.concurrency,
            demand=state.ruling.demand or _SILENT,
            queued=state.waiting,
            ready=state.roster.ready,
            starting_ages_s=tuple(now - r.asked_s for r in state.roster.starting.values()),
            oldest_wait_s=0.0 if first is None else now - first.arrived_s,
            start_s=start_s,
            arrivals_per_s=self._arrivals.per_s(
                state.services_s.taken + state.book.open, RATE_STARTS * (start_s or 0.0), now
            ),
            service_s=state.services_s.quantile(0.75),
            service_mean_s=state.services_s.mean(),
        )

    def _withdraw(self, now: float, effects: list[FleetEffect]) -> None:
        """Nobody waits any more: stop asking for room beyond the floor."""
        roster = self._state.roster
        floor = max(self._state.scale.replicas_min, self._resting.expected)
        spare = roster.ready + len(roster.starting) - floor
        placing = [r for r in roster.starting.values() if r.state is ReplicaState.PLACING]
        for replica in placing[: max(0, spare)]:
            self._lives.withdraw(replica, now, "nobody waits any more", effects)

    def expire_idle(self, now: float, effects: list[FleetEffect]) -> None:
        """Take replicas a rung down: idle ones are parked or ended, parked ones ended."""
        resting, roster = self._resting, self._state.roster
        while resting.idle_ends_s(now) <= now:
            replica = roster.longest_idle()
            assert replica is not None
            assert replica.idle_since_s is not None
            reason = f"idle for {now - replica.idle_since_s:.1f} s"
            if resting.rest_after_idle(now) is Rest.PARKED:
                self._lives.park(replica, now, reason, effects)
            else:
                self._lives.stop(replica, now, reason, effects)
        while resting.parked_ends_s(now) <= now:
            replica = next(iter(roster.parked.values()))
            assert replica.parked_s is not None
            reason = f"parked for {now - replica.parked_s:.1f} s"
            # It is idle and frozen: there is nothing that grace could let it finish.
            self._lives.stop(replica, now, reason, effects, grace_s=0.0)

    def wake_ahead(self, now: float, effects: list[FleetEffect]) -> None:
        """Wake a replica for a request that the measured gaps let expect."""
        state = self._state
        if state.is_retired or state.budget.failed or self._rollout.is_underway:
            return
        if self._resting.wakes_ahead_s(now) <= now:
            self._lives.ask(1, self._resting.wake_ahead(), now, effects)

    def idles_for_s(self) -> float:
        """Return the least time for which a replica that begins to idle stays ready."""
        state = self._state
        scale, ready, ruling = state.scale, state.roster.ready, state.ruling
        if ready <= scale.replicas_min or scale.warmth is _READY:
            return NEVER
        if not ruling.rests_by_level:
            verdict = ruling.verdict
            return NEVER if ready <= verdict.floor else verdict.keep_s
        timeout_s = scale.idle_timeout_s
        return FIRST_S if timeout_s is None else timeout_s

    def looks_s(self) -> float:
        """Return when the rule wants to be asked again."""
        state, roster = self._state, self._state.roster
        present = roster.ready + len(roster.starting)
        return state.ruling.looks_s(state.book.open, roster.ready, present)

    def evicted(self) -> None:
        """Hear that a replica was given up for others."""
        self._resting.evicted()

    def next_s(self, now: float) -> float:
        """Return when the next replica goes a rung down, or is woken ahead."""
        resting = self._resting
        next_s = min(resting.idle_ends_s(now), resting.parked_ends_s(now))
        next_s = min(next_s, self.looks_s())
        if self._state.is_retired or self._state.budget.failed or self._rollout.is_underway:
            return next_s
        return min(next_s, resting.wakes_ahead_s(now))


def _use(replica: Replica) -> tuple[int, int, float]:
    """Order replicas by what is lost with each: its place in its life, its requests, its age."""
    is_started = replica.state is not ReplicaState.PLACING
    is_ready = replica.state is ReplicaState.READY
    return is_started + is_ready, len(replica.running), -replica.asked_s
