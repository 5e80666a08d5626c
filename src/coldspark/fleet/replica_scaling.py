"""Carrying out what ``autoscaling`` decides: ask for more, call asks back, let idle ones go."""

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.idle_intervals import INTERVAL_MIN_S
from coldspark.fleet.idle_policy import IdlePolicy
from coldspark.fleet.keep_alive_plan import WarmthLevel
from coldspark.fleet.measurements import ArrivalRate
from coldspark.fleet.policies.demand import DemandWindow
from coldspark.fleet.policies.learned import RATE_STARTS
from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.fleet.replica import Replica, ReplicaState
from coldspark.fleet.replica_lifecycle import ReplicaLifecycle
from coldspark.fleet.rollout import Rollout
from coldspark.fleet.state import FleetState
from coldspark.spec.messages import FleetEffect
from coldspark.spec.types import Warmth

_TRIMMED = (ReplicaState.PLACING, ReplicaState.STARTING, ReplicaState.READY)
# Looking a member up on its Enum takes longer than the comparison; every request does it.
_READY = Warmth.READY
_SILENT = DemandWindow(1.0)
"""What rules that do not look back are given."""


class ReplicaScaling:
    """How many replicas one fleet has."""

    def __init__(self, state: FleetState, lives: ReplicaLifecycle, rollout: Rollout) -> None:
        self._state = state
        self._lifecycle = lives
        self._rollout = rollout
        self._idle_policy = IdlePolicy(state)
        self._arrivals = ArrivalRate()

    def rescale(self, now: float, effects: list[FleetEffect]) -> None:
        """Go on with an update; start what the rule asks for, or call asks for room back."""
        state = self._state
        if state.is_retired:
            return
        if state.replicas.live_count(state.revision.id) > state.scale.replicas_max:
            self._trim(now, effects)
        self._rollout.resume(now, effects)
        starts, reason = self._missing(now)
        if starts > 0:
            self._lifecycle.request(state.start_budget.allowed(starts, now), reason, now, effects)
        elif not state.requests_waiting and not self._rollout.is_underway:
            self._withdraw(now, effects)

    def _trim(self, now: float, effects: list[FleetEffect]) -> None:
        """Let those go that are over a ceiling that has come down, the least useful first."""
        state = self._state
        over = state.replicas.live_count(state.revision.id) - state.scale.replicas_max
        reason = f"over the ceiling of {state.scale.replicas_max}: {state.bounds_reason}"
        for replica in sorted(state.replicas, key=_use):
            if over <= 0:
                break
            if replica.revision.id != state.revision.id or replica.state not in _TRIMMED:
                continue
            over -= 1
            if replica.state is ReplicaState.PLACING:
                self._lifecycle.withdraw_request(replica, now, reason, effects)
            elif replica.state is ReplicaState.STARTING:
                self._lifecycle.cancel_start(replica, now, reason, effects)
            else:
                self._lifecycle.drain(replica, now, reason, effects)

    def _missing(self, now: float) -> tuple[int, str]:
        """Return how many starts the rule wants and ``replicas_max`` allows, and why."""
        state = self._state
        roster, scale = state.replicas, state.scale
        verdict = self._evaluate(now)
        room = scale.replicas_max - roster.live_count(state.revision.id) - roster.failed_starts
        if room <= 0:
            return 0, f"at replicas_max={scale.replicas_max}"
        wanted, reason = verdict.replicas, verdict.reason
        if wanted < scale.replicas_min or (wanted == scale.replicas_min and not state.queue.queued):
            wanted, reason = scale.replicas_min, state.bounds_reason
        worth = self._idle_policy.replicas_worth_starting() if state.queue.queued else 0
        if worth > wanted:
            wanted, reason = worth, f"{reason}; {worth} are worth having for those to come"
        return min(
            wanted - roster.ready - len(roster.starting) - roster.failed_starts, room
        ), reason

    def _evaluate(self, now: float) -> ScaleDecision:
        """Ask the rule."""
        state = self._state
        if (demand := state.policy_state.demand) is not None:
            # It is asked in the middle of a step: what just came counts already.
            demand.record(state.queue.open, now)
        return state.policy_state.evaluate(state.scale, self._observe(now))

    def _observe(self, now: float) -> Observation:
        state, first = self._state, self._state.queue.oldest
        start_s = state.starts_s.quantile(0.25)
        return Observation(
            now=now,
            running=state.queue.open - state.queue.queued,
            slots=state.scale.concurrency,
            demand=state.policy_state.demand or _SILENT,
            queued=state.requests_waiting,
            ready=state.replicas.ready,
            starting_ages_s=tuple(now - r.requested_s for r in state.replicas.starting.values()),
            oldest_wait_s=0.0 if first is None else now - first.arrived_s,
            start_s=start_s,
            arrivals_per_s=self._arrivals.per_s(
                state.services_s.taken + state.queue.open, RATE_STARTS * (start_s or 0.0), now
            ),
            service_s=state.services_s.quantile(0.75),
            service_mean_s=state.services_s.mean(),
        )

    def _withdraw(self, now: float, effects: list[FleetEffect]) -> None:
        """Nobody waits any more: stop asking for room beyond the floor."""
        roster = self._state.replicas
        floor = max(self._state.scale.replicas_min, self._idle_policy.replicas_expected)
        spare = roster.ready + len(roster.starting) - floor
        placing = [r for r in roster.starting.values() if r.state is ReplicaState.PLACING]
        for replica in placing[: max(0, spare)]:
            self._lifecycle.withdraw_request(replica, now, "nobody waits any more", effects)

    def expire_idle(self, now: float, effects: list[FleetEffect]) -> None:
        """Take replicas a rung down: idle ones are parked or ended, parked ones ended."""
        resting, roster = self._idle_policy, self._state.replicas
        while resting.idle_ends_s(now) <= now:
            replica = roster.longest_idle()
            assert replica is not None
            assert replica.idle_since_s is not None
            reason = f"idle for {now - replica.idle_since_s:.1f} s"
            if resting.warmth_after_idle(now) is WarmthLevel.PARKED:
                self._lifecycle.park(replica, now, reason, effects)
            else:
                self._lifecycle.stop(replica, now, reason, effects)
        while resting.parked_ends_s(now) <= now:
            replica = next(iter(roster.parked.values()))
            assert replica.parked_s is not None
            reason = f"parked for {now - replica.parked_s:.1f} s"
            # It is idle and frozen: there is nothing that grace could let it finish.
            self._lifecycle.stop(replica, now, reason, effects, grace_s=0.0)

    def prewarm(self, now: float, effects: list[FleetEffect]) -> None:
        """Wake a replica for a request that the measured gaps let expect."""
        state = self._state
        if state.is_retired or state.start_budget.failed or self._rollout.is_underway:
            return
        if self._idle_policy.prewarm_s(now) <= now:
            self._lifecycle.request(1, self._idle_policy.prewarm(), now, effects)

    def idle_min_s(self) -> float:
        """Return the least time for which a replica that begins to idle stays ready."""
        state = self._state
        scale, ready, ruling = state.scale, state.replicas.ready, state.policy_state
        if ready <= scale.replicas_min or scale.warmth is _READY:
            return NEVER
        if not ruling.has_keep_alive_plans:
            verdict = ruling.decision
            return NEVER if ready <= verdict.replicas_min else verdict.keep_alive_s
        timeout_s = scale.idle_timeout_s
        return INTERVAL_MIN_S if timeout_s is None else timeout_s

    def next_evaluation_s(self) -> float:
        """Return when the rule wants to be asked again."""
        state, roster = self._state, self._state.replicas
        if state.is_retired:
            return NEVER  # Nothing is started any more, so nobody asks it.
        present = roster.ready + len(roster.starting)
        return state.policy_state.next_evaluation_s(state.queue.open, roster.ready, present)

    def record_eviction(self) -> None:
        """Hear that a replica was given up for others."""
        self._idle_policy.record_eviction()

    def next_s(self, now: float) -> float:
        """Return when the next replica goes a rung down, or is woken ahead."""
        resting = self._idle_policy
        next_s = min(resting.idle_ends_s(now), resting.parked_ends_s(now))
        next_s = min(next_s, self.next_evaluation_s())
        if self._state.is_retired or self._state.start_budget.failed or self._rollout.is_underway:
            return next_s
        return min(next_s, resting.prewarm_s(now))


def _use(replica: Replica) -> tuple[int, int, float]:
    """Order replicas by what is lost with each: its place in its life, its requests, its age."""
    is_started = replica.state is not ReplicaState.PLACING
    is_ready = replica.state is ReplicaState.READY
    return is_started + is_ready, len(replica.running), -replica.requested_s
