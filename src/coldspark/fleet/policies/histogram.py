"""The hybrid histogram policy of "Serverless in the Wild" (Shahrad et al., ATC 2020), section 4.2.

Idle times are counted in bins of a minute, up to four hours. With h the 5th percentile (its bin's
lower edge) and t the 99th (its bin's upper edge):

    pre-warm window  = 0.9 h        the replica ends, and is pre-warmed after this
    keep-alive       = 1.1 t - 0.9 h    and is kept for so long from then on

A head in the first bin means that it is not ended at all. The histogram counts when it is
representative: the coefficient of variation of its bins is at least 2, and less than half of the
idle times lie beyond its range. Otherwise the replica is kept for the whole range: the paper's
fallback, without its time series forecast for the few that lie beyond. Worked number: idle times of
30 to 31 minutes: h = 1800, t = 1860, so it is pre-warmed after 1,620 s and kept until 2,046 s.
"""

import math

from coldspark.fleet.keep_alive_plan import KeepAlivePlan, WarmthLevel
from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.fleet.policies.rule_policy import RulePolicy
from coldspark.spec.scaling_rules import Histogram
from coldspark.spec.types import ScalePolicy

_BEYOND_MAX = 0.5


class IdleTimeHistogram:
    """The idle times of one level, counted."""

    def __init__(self, rule: Histogram) -> None:
        self._rule = rule
        self._counts = [0] * math.ceil(rule.range_s / rule.bin_s)
        self._beyond = 0
        self.measured = 0

    def add(self, idle_s: float) -> None:
        """Count an idle time."""
        self.measured += 1
        index = int(idle_s / self._rule.bin_s)
        if index < len(self._counts):
            self._counts[index] += 1
        else:
            self._beyond += 1

    def keep_alive_plan(self) -> KeepAlivePlan:
        """Return the warmth level by the age of the idle time."""
        rule = self._rule
        inside = self.measured - self._beyond
        if self.measured == 0 or not self._is_representative(inside):
            return KeepAlivePlan((0.0, rule.range_s), (WarmthLevel.READY, WarmthLevel.ENDED))
        head_s = self._edge(rule.head, inside, 0) * (1.0 - rule.margin)
        until_s = self._edge(rule.tail, inside, 1) * (1.0 + rule.margin)
        if head_s == 0.0:
            return KeepAlivePlan((0.0, until_s), (WarmthLevel.READY, WarmthLevel.ENDED))
        # The replica ends at once; READY at age 0 alone is what every plan begins with.
        ages_s = (0.0, math.ulp(1.0), head_s, until_s)
        levels = (WarmthLevel.READY, WarmthLevel.ENDED, WarmthLevel.READY, WarmthLevel.ENDED)
        return KeepAlivePlan(ages_s, levels, ((head_s, until_s),))

    def _is_representative(self, inside: int) -> bool:
        if self._beyond > _BEYOND_MAX * self.measured:
            return False
        mean = inside / len(self._counts)
        squares = sum(count * count for count in self._counts) / len(self._counts)
        return mean > 0 and math.sqrt(max(0.0, squares - mean * mean)) / mean >= self._rule.cv_min

    def _edge(self, share: float, inside: int, side: int) -> float:
        """Return the lower (0) or upper (1) edge of the bin in which a quantile lies."""
        left = share * inside
        for index, count in enumerate(self._counts):
            left -= count
            if left <= 0 and count:
                return (index + side) * self._rule.bin_s
        return self._rule.range_s


def _evaluate(
    scale: ScalePolicy, observation: Observation, memory: None
) -> tuple[ScaleDecision, None]:
    want = math.ceil(observation.open / observation.slots)
    reason = f"histogram: {observation.open} open"
    return ScaleDecision(max(want, observation.present), reason), None


POLICY = RulePolicy(evaluate=_evaluate, initial_memory=lambda: None)
