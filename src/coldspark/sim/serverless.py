"""Serverless platforms: the same traffic as each scales and bills, and its break-even."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from coldspark.billing.price_book import PriceBook
from coldspark.sim.break_even import crossing, leading_days, scaled
from coldspark.sim.costs import MonthlyCost, book_cost
from coldspark.sim.executor import raise_if_cancelled
from coldspark.sim.plan_request import DAY_S, BreakEven, PlanRequest, PlanRow
from coldspark.sim.platforms import ServerlessPlatform
from coldspark.sim.simulation import Scenario, SimulationResult, simulate
from coldspark.sim.traffic import Durations
from coldspark.spec.types import ScalePolicy

_BREAK_EVEN_REQUESTS = 4_000
"""Each step of the search plays so many, in whole days, at least one."""
_LEAST_A_DAY, _MOST_A_DAY = 1.0, 100_000.0
"""Requests a day beyond which the search does not go."""
_FLEET_PER_DEDICATED = 8
"""A platform may run so many replicas for each dedicated one where traffic is scaled up: a search
ends where the dedicated ones are full, and starting and bursts need more than steady work."""


@dataclass(frozen=True, slots=True)
class ServerlessComparison:
    """Simulates one plan request on the platforms."""

    question: PlanRequest
    books: Mapping[str, PriceBook]
    rivals: Sequence[PlanRow]
    """Dedicated instances, whose cost is to be reached."""

    def rows(self, platform: ServerlessPlatform) -> list[PlanRow]:
        """Return a row for each type."""
        played: dict[str, SimulationResult] = {}
        return [self._row(platform, gpu, played) for gpu in (self.question.gpus or (None,))]

    def _row(
        self, platform: ServerlessPlatform, gpu: str | None, played: dict[str, SimulationResult]
    ) -> PlanRow:
        row = PlanRow(
            platform=platform.name,
            title=platform.title,
            as_of=platform.as_of,
            gpu=gpu,
            result=None,
            cost=None,
            assumptions=platform.assumptions,
        )
        start, book = platform.start_of(gpu or "CPU"), self.books[platform.book]
        if start is None or (gpu or "CPU") not in book.rates:
            what = "runs no GPU" if "CPU" in book.rates else f"sells no {gpu or 'CPU alone'}"
            return replace(row, missing=(f"{platform.title} {what}",))
        result = self._play(platform, gpu, start, played)
        cost = self._price(platform, gpu, result)
        if cost.lacks_main_cost:
            return replace(row, missing=cost.missing)
        even = self._break_even(platform, gpu, start, cost, played)
        return replace(row, result=result, cost=cost, break_even=even, missing=cost.missing)

    def _scale(self, platform: ServerlessPlatform) -> ScalePolicy:
        bounds = self.question.bounds
        least = bounds.replicas_min if platform.sells_provisioned else 0
        return replace(self.question.plain_scale(), rule=platform.rule, replicas_min=least)

    def _play(
        self,
        platform: ServerlessPlatform,
        gpu: str | None,
        start: Durations,
        played: dict[str, SimulationResult],
    ) -> SimulationResult:
        # The same cold start on two types is the same result.
        key = _start_key(platform, gpu)
        if key not in played:
            played[key] = simulate(
                self.question.scenario(self._scale(platform), start), raise_if_cancelled
            )
        return played[key]

    def _price(
        self, platform: ServerlessPlatform, gpu: str | None, result: SimulationResult
    ) -> MonthlyCost:
        return book_cost(
            result,
            self.books[platform.book],
            gpu,
            provisioned=self._scale(platform).replicas_min,
            memory_bytes=self.question.memory_bytes,
            round_up_s=platform.round_up_s,
        )

    def _break_even(
        self,
        platform: ServerlessPlatform,
        gpu: str | None,
        start: Durations,
        cost: MonthlyCost,
        played: dict[str, SimulationResult],
    ) -> BreakEven | None:
        question = self.question
        same = [row for row in self.rivals if row.gpu == gpu]
        if not question.with_break_even or not same:
            return None
        rival = min(same, key=lambda row: row.cost.nanos if row.cost else 0)
        assert rival.cost is not None
        assert rival.replicas is not None
        scale = self._scale(platform)
        scale = replace(
            scale, replicas_max=max(scale.replicas_max, _FLEET_PER_DEDICATED * rival.replicas)
        )

        def nanos(factor: float) -> float:
            if factor == 1.0:
                return float(cost.nanos)
            # Searches of types that start alike pass by the same factors: each is simulated once.
            key = f"{_start_key(platform, gpu)} {scale.replicas_max} {factor!r}"
            if key not in played:
                played[key] = self._play_scaled(scale, start, factor)
            return float(self._price(platform, gpu, played[key]).nanos)

        services = question.traffic.services_s
        mean_s = sum(services) / len(services)
        full = rival.replicas * question.bounds.concurrency * DAY_S / mean_s if mean_s else inf
        per_day = question.requests_a_day
        low, high = min(1.0, _LEAST_A_DAY / per_day), max(1.0, min(full, _MOST_A_DAY) / per_day)
        found = crossing(nanos, rival.cost.nanos, low, high)
        if found is not None:
            return BreakEven(requests_a_day=found * per_day, why=f"against {rival.title}")
        if cost.nanos > rival.cost.nanos:
            why = f"dearer than {rival.title} even at {low * per_day:,.0f} a day"
        elif full <= _MOST_A_DAY:
            why = f"cheaper until {rival.title} is full, at {full:,.0f} a day"
        else:
            why = f"cheaper than {rival.title} even at {high * per_day:,.0f} a day"
        return BreakEven(requests_a_day=None, why=why)

    def _play_scaled(self, scale: ScalePolicy, start: Durations, factor: float) -> SimulationResult:
        question = self.question
        part, cut_s = leading_days(
            question.traffic, question.period_s, _BREAK_EVEN_REQUESTS / factor
        )
        scenario = Scenario(
            traffic=scaled(part, factor, cut_s, question.seed),
            period_s=cut_s,
            scale=scale,
            start=start,
            seed=question.seed,
        )
        return simulate(scenario, raise_if_cancelled)


def _start_key(platform: ServerlessPlatform, gpu: str | None) -> str:
    """Name how a type starts: those of one name come to the same."""
    return str(platform.start_s.get(gpu or "CPU", "*"))
