"""How long the unneeded replicas of one fleet stay at each warmth level.

What the policy fixes is kept by each replica's own clock, and so is everything until a start was
measured. The rest is learned: each concurrency level has its keep-alive plan, worked out anew when
an eighth more intervals are known, or wakes take a tenth less or more.
"""

from dataclasses import dataclass

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.idle_intervals import INTERVAL_MIN_S, IdleIntervals
from coldspark.fleet.keep_alive_plan import (
    KeepAlivePlan,
    WarmthCost,
    WarmthLevel,
    cheapest_plan,
    plan_for_unseen_level,
    plan_with_spares,
)
from coldspark.fleet.replica import ReplicaState
from coldspark.fleet.state import FleetState
from coldspark.spec.scaling_rules import Histogram, Learned
from coldspark.spec.types import Revision, Warmth

PARKED_COST = 0.002
"""A second parked costs so many seconds ready: memory that anybody may reclaim at any time."""
_UNUSED = WarmthCost(idle_cost=2.0, wake_s=0.0)
"""Dearer than being ready: no plan leads over it."""
_THAW_FIRST_S = 0.05
"""Taken for a thaw until one was measured."""
_ANEW_SHARE = 0.125
_ALIKE_SHARE = 0.1
_AHEAD = 2.0
"""How many requests, itself included, one that waits has to wait for."""


@dataclass(frozen=True, slots=True)
class _Learned:
    plan: KeepAlivePlan
    intervals: int
    """How many were measured."""
    prices: int = 0
    """The number of the warmth costs then; 0 for a rule that does not use them."""
    is_worth_starting: bool = False
    """Having it costs less from use to use than each use spares."""
    highest: int = 0
    """Of a level that was never up: the highest that was; else 0."""


@dataclass(frozen=True, slots=True)
class _Priced:
    costs: tuple[WarmthCost, WarmthCost, WarmthCost]
    wakes: int
    """How many had been measured."""
    revision: Revision
    number: int
    """From 1 on; the same until a wake takes a tenth less or more.

    Compiled code makes a tuple anew whenever it is read, so that ``is`` does not compare them.
    """


class IdlePolicy:
    """When the warmth level of one fleet's replicas is lowered, and when one is pre-warmed."""

    def __init__(self, state: FleetState) -> None:
        self._state = state
        self._learned: dict[int, _Learned] = {}
        self._policy_state = state.policy_state
        self._priced: _Priced | None = None
        self._prewarmed: dict[int, float] = {}
        """By level: the beginning of the interval in which a replica was pre-warmed."""

    def idle_ends_s(self, now: float) -> float:
        """Return when the replica that has been idle longest leaves READY."""
        replicas, scale = self._state.replicas, self._state.scale
        if replicas.ready <= scale.replicas_min:
            return NEVER
        replica = replicas.longest_idle()
        if replica is None or replica.idle_since_s is None:
            return NEVER
        policy_state = self._state.policy_state
        if not policy_state.has_keep_alive_plans:
            decision = policy_state.decision
            return (
                NEVER
                if replicas.ready <= decision.replicas_min
                else replica.idle_since_s + decision.keep_alive_s
            )
        if not self._is_learning:
            return replica.idle_since_s + scale.first_idle_s
        # Every warm request evaluates this, so what is cheap comes first.
        if now < replica.idle_since_s + INTERVAL_MIN_S:
            return replica.idle_since_s + INTERVAL_MIN_S
        return self._leaves_s(WarmthLevel.READY, replicas.ready, replica.idle_since_s, now)

    def warmth_after_idle(self, now: float) -> WarmthLevel:
        """Return the warmth level of a replica after it leaves READY."""
        scale = self._state.scale
        if not scale.may_park:
            return WarmthLevel.ENDED
        level = self._state.replicas.ready
        since_s = self._state.concurrency_levels.idle_since_s(level)
        if not self._is_learning or scale.park_timeout_s is not None or since_s is None:
            return WarmthLevel.PARKED
        return max(WarmthLevel.PARKED, self._plan_of(level).plan.level_at(now - since_s))

    def parked_ends_s(self, now: float) -> float:
        """Return when the replica that has been parked longest ends."""
        replicas, scale = self._state.replicas, self._state.scale
        replica = next(iter(replicas.parked.values()), None)
        if replica is None or replica.parked_s is None:
            return NEVER
        if not self._is_learning or scale.park_timeout_s is not None:
            return replica.parked_s + scale.first_parked_s
        level = replicas.ready + len(replicas.starting) + len(replicas.parked)
        return self._leaves_s(WarmthLevel.PARKED, level, replica.parked_s, now)

    def _leaves_s(self, warmth: WarmthLevel, level: int, own_s: float, now: float) -> float:
        """Return when a level's replica goes below ``warmth``.

        ``own_s`` is the replica's own clock, for a level that demand never reached.
        """
        levels = self._state.concurrency_levels
        if level <= levels.current:
            return NEVER
        since_s = self._unneeded_since_s(level)
        since_s = own_s if since_s is None else since_s
        plan = self._plan_of(level).plan
        age_s = max(0.0, now - since_s)
        while age_s < NEVER and plan.level_at(age_s) <= warmth:
            age_s = plan.next_s(age_s)
        return max(now, since_s + age_s)

    def prewarm_s(self, now: float) -> float:
        """Return when a replica is to be pre-warmed for a request that is expected."""
        level, since_s = self._next_level()
        if since_s is None or self._prewarmed.get(level) == since_s:
            return NEVER
        age_s = self._plan_of(level).plan.next_prewarm_s(self._spare, max(0.0, now - since_s))
        return max(now, since_s + age_s)

    def replicas_worth_starting(self) -> int:
        """Return how many replicas are worth having, of those that demand fills now.

        Not for the requests that wait, but for those that will reach the same level again.
        """
        state = self._state
        scale = state.revision.spec.scale
        if not self._is_learning or scale.waste_budget:
            return 0
        # What just came is not measured yet.
        height = min(scale.replicas_max, -(-state.queue.open // scale.concurrency))
        level = state.replicas.ready + len(state.replicas.starting) + 1
        while level <= height and self._plan_of(level).is_worth_starting:
            level += 1
        return level - 1

    @property
    def _spare(self) -> WarmthLevel:
        """Return the warmth level of the replica that would be woken next."""
        replicas = self._state.replicas
        is_parking = any(replica.state is ReplicaState.PARKING for replica in replicas)
        return WarmthLevel.PARKED if replicas.parked or is_parking else WarmthLevel.ENDED

    def prewarm(self) -> str:
        """Record that a replica is pre-warmed, once in an interval; return the reason."""
        level, since_s = self._next_level()
        assert since_s is not None
        self._prewarmed[level] = since_s
        known = self._state.concurrency_levels.intervals(level).measured
        return f"a request is expected: {known} gaps between uses of replica {level} were measured"

    def _next_level(self) -> tuple[int, float | None]:
        """Return the lowest level without a replica, and since when it is not needed."""
        state = self._state
        level = state.replicas.ready + len(state.replicas.starting) + 1
        if not self._is_learning or level > state.scale.replicas_max:
            return level, None
        return level, self._unneeded_since_s(level)

    def _is_beyond(self, level: int) -> bool:
        """Return whether a level was never up, though others have shown how levels spread.

        Where there was never more than one request at a time, nothing is known.
        """
        if not level > self._state.concurrency_levels.highest > 1:
            return False
        return isinstance(self._state.policy_state.rule, Learned)

    def _unneeded_since_s(self, level: int) -> float | None:
        """Return since when a level is not needed; of one that never was, since the beginning."""
        levels = self._state.concurrency_levels
        return levels.began_s if self._is_beyond(level) else levels.idle_since_s(level)

    def record_eviction(self) -> None:
        """Record that a replica was evicted for others: none is pre-warmed in its place."""
        levels = self._state.concurrency_levels
        level = self._state.replicas.ready + len(self._state.replicas.starting) + 1
        for each, since_s in enumerate(levels.idle_since()[level - levels.current - 1 :], level):
            self._prewarmed[each] = since_s

    @property
    def replicas_expected(self) -> int:
        """Return how many replicas are kept for requests that are expected."""
        woken, since = self._prewarmed.items(), self._unneeded_since_s
        return max((k for k, since_s in woken if since(k) == since_s), default=0)

    @property
    def _is_learning(self) -> bool:
        scale = self._state.scale
        if isinstance(scale.rule, Histogram):
            return True
        is_open = scale.idle_timeout_s is None and scale.warmth is not Warmth.READY
        return is_open and isinstance(scale.rule, Learned) and self._state.starts_s.taken > 0

    def _plan_of(self, level: int) -> _Learned:
        """Return what was learned of a level."""
        state = self._state
        if state.policy_state is not self._policy_state:
            # What was learned under another rule does not apply now.
            self._policy_state = state.policy_state
            self._learned.clear()
        if isinstance(state.policy_state.rule, Histogram):
            return self._histogram_plan(level)
        if self._is_beyond(level):
            return self._plan_of_unseen(level)
        intervals, priced = state.concurrency_levels.intervals(level), self._price()
        known = self._learned.get(level)
        if (
            known is not None
            and known.prices == priced.number
            and not known.highest
            and intervals.measured <= known.intervals * (1.0 + _ANEW_SHARE)
        ):
            return known
        plan, is_worth_starting = self._learn(level, intervals, priced.costs)
        found = _Learned(plan, intervals.measured, priced.number, is_worth_starting)
        self._learned[level] = found
        return found

    def _learn(
        self, level: int, intervals: IdleIntervals, costs: tuple[WarmthCost, WarmthCost, WarmthCost]
    ) -> tuple[KeepAlivePlan, bool]:
        """Work out the plan of a level, and whether it is worth starting."""
        scale, service_s = self._state.scale, self._state.services_s.mean()
        if level == 1 or service_s is None:
            return cheapest_plan(intervals, costs, scale.wait_value), True
        up_s = intervals.busy_mean_s(self._queue_wait_s(level, service_s))
        return plan_with_spares(intervals, costs, scale.wait_value, up_s)

    def _queue_wait_s(self, level: int, service_s: float) -> float:
        """Return how long a request waits that misses a level (from 2) of which nothing is known.

        About one waits before it, and ``level - 1`` replicas become free once in S each.
        """
        return _AHEAD * service_s / ((level - 1) * self._state.scale.concurrency)

    def _plan_of_unseen(self, level: int) -> _Learned:
        """Return the plan of a level that was never up."""
        highest, priced = self._state.concurrency_levels.highest, self._price()
        known = self._learned.get(level)
        if known is not None and known.prices == priced.number and known.highest == highest:
            return known
        wait_s = self._queue_wait_s(level, self._state.services_s.mean() or 0.0)
        value = self._state.scale.wait_value
        plan = plan_for_unseen_level(highest, level, priced.costs, value, wait_s)
        self._learned[level] = _Learned(plan, 0, priced.number, highest=highest)
        return self._learned[level]

    def _histogram_plan(self, level: int) -> _Learned:
        """Return the plan of a level by the histogram rule."""
        times = self._state.policy_state.idle_times(level)
        known = self._learned.get(level)
        if known is None or known.intervals != times.measured:
            plan = times.keep_alive_plan()
            known = _Learned(plan, times.measured)
            self._learned[level] = known
        return known

    def _price(self) -> _Priced:
        """Return the warmth costs: unchanged until a wake takes a tenth less or more."""
        state = self._state
        revision, wakes = state.revision, state.starts_s.taken + state.thaws_s.taken
        known = self._priced
        if known is not None and known.wakes == wakes and known.revision is revision:
            return known
        costs, number = self._warmth_costs(), 1 if known is None else known.number + 1
        if known is not None and known.revision is revision and _is_alike(known.costs, costs):
            costs, number = known.costs, known.number
        self._priced = _Priced(costs, wakes, revision, number)
        return self._priced

    def _warmth_costs(self) -> tuple[WarmthCost, WarmthCost, WarmthCost]:
        """Return what each warmth level costs; medians of what was measured."""
        scale = self._state.scale
        start_s = self._state.starts_s.quantile(0.5) or 0.0
        thaw_s = self._state.thaws_s.quantile(0.5)
        thaw_s = _THAW_FIRST_S if thaw_s is None else thaw_s
        parked = WarmthCost(PARKED_COST, min(thaw_s, start_s)) if scale.may_park else _UNUSED
        # Pinned to PARKED, ending spares nothing.
        ended = WarmthCost(PARKED_COST if scale.warmth is Warmth.PARKED else 0.0, start_s)
        return (WarmthCost(1.0, 0.0), parked, ended)


def _is_alike(old: tuple[WarmthCost, ...], new: tuple[WarmthCost, ...]) -> bool:
    return all(
        a.idle_cost == b.idle_cost and abs(a.wake_s - b.wake_s) <= _ALIKE_SHARE * a.wake_s
        for a, b in zip(old, new, strict=True)
    )
