"""The rule of one fleet at work: what it remembers, measures and said last."""

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.policies.demand import Demand
from coldspark.fleet.policies.evaluation import (
    Memory,
    advance,
    decide,
    demand_of,
    due_s,
    first_memory,
)
from coldspark.fleet.policies.histogram import IdleTimes
from coldspark.fleet.policies.observation import Observed, Verdict
from coldspark.spec.scaling_rules import Histogram, Learned, Rule
from coldspark.spec.types import ScalePolicy


class Ruling:
    """One rule and its state. Another rule begins anew."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.demand: Demand | None = demand_of(rule)
        """Measures for a rule that looks back. Read only, but for ``note``."""
        self.verdict = Verdict(0, "nothing has happened yet")
        """What it said last. Read only."""
        self.due_s = NEVER
        """When the next tick of a rule that ticks is. Read only."""
        self._memory: Memory = first_memory(rule)
        self._judged: tuple[int, int, int] = (0, 0, 0)
        self._idle_times: dict[int, IdleTimes] = {}

    @property
    def rests_by_level(self) -> bool:
        """Return whether replicas go by the gaps of their level, not by the verdict."""
        return isinstance(self.rule, Learned | Histogram)

    def judge(self, scale: ScalePolicy, seen: Observed) -> Verdict:
        """Ask the rule."""
        self.verdict, self._memory = decide(scale, seen, self._memory)
        self.due_s = due_s(self._memory)
        self._judged = (seen.open, seen.ready, seen.present)
        if self.demand is not None:
            self.demand.is_watched = self.verdict.look_again_s < NEVER
        return self.verdict

    def advance(self, scale: ScalePolicy, open: int, ready: int, now: float) -> None:
        """Work out the ticks until now, with what was open and ready before what happens now."""
        assert self.demand is not None
        memory = self._memory
        self._memory = advance(scale, memory, self.demand, now, open=open, ready=ready)
        self.due_s = due_s(self._memory)

    def looks_s(self, open: int, ready: int, present: int) -> float:
        """Return when it wants to be asked again, with so many there now."""
        again_s = self.verdict.look_again_s
        if self.verdict.is_firm or self._judged == (open, ready, present):
            return again_s
        return min(again_s, self.due_s)

    def idle_times(self, level: int) -> IdleTimes:
        """Return the idle times of a level, for the histogram rule."""
        assert isinstance(self.rule, Histogram)
        if level not in self._idle_times:
            self._idle_times[level] = IdleTimes(self.rule)
        return self._idle_times[level]
