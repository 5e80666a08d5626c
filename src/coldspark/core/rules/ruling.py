"""The rule of one fleet at work: what it remembers, measures and said last."""

from coldspark.core.rules.deciding import Memory, decide, demand_of, first_memory
from coldspark.core.rules.demand import Demand
from coldspark.core.rules.histogram import IdleTimes
from coldspark.core.rules.seen import Observed, Verdict
from coldspark.core.rules.settings import Histogram, Learned, Rule
from coldspark.core.types import ScalePolicy


class Ruling:
    """One rule and its state. Another rule begins anew."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.demand: Demand | None = demand_of(rule)
        """Measures for a rule that looks back. Read only, but for ``note``."""
        self.verdict = Verdict(0, "nothing has happened yet")
        """What it said last. Read only."""
        self._memory: Memory = first_memory(rule)
        self._idle_times: dict[int, IdleTimes] = {}

    @property
    def rests_by_level(self) -> bool:
        """Return whether replicas go by the gaps of their level, not by the verdict."""
        return isinstance(self.rule, Learned | Histogram)

    def judge(self, scale: ScalePolicy, seen: Observed) -> Verdict:
        """Ask the rule."""
        self.verdict, self._memory = decide(scale, seen, self._memory)
        return self.verdict

    def idle_times(self, level: int) -> IdleTimes:
        """Return the idle times of a level, for the histogram rule."""
        assert isinstance(self.rule, Histogram)
        if level not in self._idle_times:
            self._idle_times[level] = IdleTimes(self.rule)
        return self._idle_times[level]
