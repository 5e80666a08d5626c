"""One policy, and its result of each simulation."""

from dataclasses import dataclass
from statistics import fmean

from coldspark.sim.bootstrap import ConfidenceInterval, confidence_interval
from coldspark.sim.candidates import CandidatePolicy
from coldspark.sim.costs import MonthlyCost
from coldspark.sim.frontier import CostAndWait
from coldspark.sim.simulation import SimulationResult
from coldspark.spec.money import NANOS_PER_DOLLAR


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPolicy:
    """One policy, simulated on the traffic as it is and on copies. Figures are means."""

    policy: CandidatePolicy
    results: tuple[SimulationResult, ...]
    """The first is of the traffic as it is."""
    costs: tuple[MonthlyCost, ...]
    """A month's, of each."""

    @property
    def result(self) -> SimulationResult:
        """Return the result of the traffic as it is."""
        return self.results[0]

    @property
    def points(self) -> tuple[CostAndWait, ...]:
        """Return a month's dollars and the mean wait in seconds, of each simulation."""
        pairs = zip(self.costs, self.results, strict=True)
        return tuple((cost.nanos / NANOS_PER_DOLLAR, _wait_s(result)) for cost, result in pairs)

    @property
    def point(self) -> CostAndWait:
        """Return the mean of both."""
        points = self.points
        return fmean(dollars for dollars, _ in points), fmean(wait_s for _, wait_s in points)

    @property
    def cost(self) -> MonthlyCost:
        """Return the mean of a month's cost, part by part."""
        if len(self.costs) == 1:
            return self.costs[0]
        names = dict.fromkeys(name for cost in self.costs for name, _ in cost.parts)
        sums = {name: sum(dict(cost.parts).get(name, 0) for cost in self.costs) for name in names}
        count = len(self.costs)
        return MonthlyCost(
            parts=tuple((name, round(total / count)) for name, total in sums.items())
        )

    @property
    def cost_nanos_90(self) -> ConfidenceInterval | None:
        """Return where a month's cost lies in nine of ten cases."""
        return _at_least_0(confidence_interval([cost.nanos for cost in self.costs]))

    @property
    def p95_s(self) -> float:
        """Return the latency that 95 % of requests keep."""
        return fmean(result.latency.p95_s for result in self.results)

    @property
    def p95_s_90(self) -> ConfidenceInterval | None:
        """Return where it lies in nine of ten cases."""
        return _at_least_0(confidence_interval([result.latency.p95_s for result in self.results]))

    @property
    def cold_share(self) -> float:
        """Return the share of requests that waited for a start or a thaw."""
        return fmean(result.cold_share for result in self.results)

    @property
    def unserved(self) -> int:
        """Return how many requests were never taken, in all simulations."""
        return sum(result.unserved for result in self.results)


def _at_least_0(values: ConfidenceInterval | None) -> ConfidenceInterval | None:
    return None if values is None else ConfidenceInterval(max(0.0, values.low), values.high)


def _wait_s(result: SimulationResult) -> float:
    # Those who were never served count as having waited for all of the period.
    waited_s = result.wait.mean_s * result.served + result.period_s * result.unserved
    return waited_s / max(1, result.requests)
