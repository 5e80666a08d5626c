"""The policy state of one fleet: its rule's memory, measurements and last decision."""

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.policies.demand import DemandWindow
from coldspark.fleet.policies.evaluation import demand_window, initial_memory, policy_of
from coldspark.fleet.policies.histogram import IdleTimeHistogram
from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.spec.scaling_rules import Histogram, Learned, Rule
from coldspark.spec.types import ScalePolicy


class PolicyState:
    """One rule and its state. Another rule starts with a new one."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.demand: DemandWindow | None = demand_window(rule)
        """Measures for a rule that looks back. Read only, but for ``record``."""
        self.decision = ScaleDecision(0, "nothing has happened yet")
        """What it said last. Read only."""
        self.next_tick_s = NEVER
        """When the next tick of a rule that ticks is. Read only."""
        self._policy = policy_of(rule)
        self._memory = initial_memory(rule)
        self._evaluated: tuple[int, int, int] = (0, 0, 0)
        self._idle_times: dict[int, IdleTimeHistogram] = {}

    @property
    def has_keep_alive_plans(self) -> bool:
        """Return whether replicas end by the intervals of their level, not by the decision."""
        return isinstance(self.rule, Learned | Histogram)

    def evaluate(self, scale: ScalePolicy, observation: Observation) -> ScaleDecision:
        """Evaluate the rule and keep its decision."""
        policy = self._policy
        self.decision, self._memory = policy.evaluate(scale, observation, self._memory)
        if policy.next_tick_s is not None:
            self.next_tick_s = policy.next_tick_s(self._memory)
        self._evaluated = (observation.open, observation.ready, observation.present)
        if self.demand is not None:
            self.demand.is_watched = self.decision.evaluate_again_s < NEVER
        return self.decision

    def advance(self, scale: ScalePolicy, open: int, ready: int, now: float) -> None:
        """Work out the ticks until now, with what was open and ready before what happens now."""
        assert self.demand is not None
        policy = self._policy
        assert policy.advance is not None, "it has no ticks"
        assert policy.next_tick_s is not None
        self._memory = policy.advance(scale, self._memory, self.demand, now, open, ready)
        self.next_tick_s = policy.next_tick_s(self._memory)

    def next_evaluation_s(self, open: int, ready: int, present: int) -> float:
        """Return when it is to be evaluated again, with so many replicas now."""
        again_s = self.decision.evaluate_again_s
        if self.decision.is_fixed or self._evaluated == (open, ready, present):
            return again_s
        return min(again_s, self.next_tick_s)

    def idle_times(self, level: int) -> IdleTimeHistogram:
        """Return the idle times of a level, for the histogram rule."""
        assert isinstance(self.rule, Histogram)
        if level not in self._idle_times:
            self._idle_times[level] = IdleTimeHistogram(self.rule)
        return self._idle_times[level]
