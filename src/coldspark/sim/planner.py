"""Plan: the same traffic on every platform and under every policy, priced; and what to choose.

Nothing is modelled twice: each row is the production fleet simulated in virtual time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from coldspark.billing.price_book import PriceBook
from coldspark.sim.bootstrap import resampled_copies
from coldspark.sim.candidates import CandidatePolicy, candidates
from coldspark.sim.costs import own_cost
from coldspark.sim.dedicated import dedicated_rows, fewest
from coldspark.sim.executor import Piece, SerialExecutor, WorkExecutor, raise_if_cancelled
from coldspark.sim.plan_request import PlanRequest, PlanRow
from coldspark.sim.platforms import SERVERLESS
from coldspark.sim.policy_results import SimulatedPolicy
from coldspark.sim.recommendation import Recommendation, recommend
from coldspark.sim.serverless import ServerlessComparison
from coldspark.sim.simulation import SimulationResult, simulate
from coldspark.sim.traffic import Durations, Traffic
from coldspark.spec.types import ScalePolicy

OnStep = Callable[[int, int, str], None]
"""Hears (done, all, what is played); it may raise to cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPlan:
    """The plan."""

    question: PlanRequest
    rows: tuple[PlanRow, ...]
    simulated: tuple[SimulatedPolicy, ...]
    """Every policy that was tried here."""
    choice: Recommendation
    dedicated_replicas: int
    dedicated_wait_s: float
    """So long may 95 % of requests wait at most on dedicated instances."""


class Planner:
    """Computes one plan."""

    def __init__(
        self,
        question: PlanRequest,
        books: Mapping[str, PriceBook],
        on_step: OnStep,
        executor: WorkExecutor | None = None,
    ) -> None:
        """Take the request and the price books by name; without an executor, run serially."""
        self._question = question
        self._books = books
        self._on_step = on_step
        self._executor: WorkExecutor = executor or SerialExecutor()
        self._done = 0
        self._policies = tuple(
            candidates(_parking(question.bounds, question.thaw), question.windows)
        )
        self._steps = simulation_count(question) + 1 + len(SERVERLESS)

    def plan(self) -> CostPlan:
        """Return the plan."""
        question = self._question
        simulated = self._simulate_policies()
        choice = recommend(simulated, question.objective, question.requests_a_day)
        dedicated = self._executor.run(
            [("dedicated instances", partial(fewest, question))], self._report_step
        )
        replicas, steady = dedicated[0]
        rivals = [
            row
            for gpu in question.gpus
            for row in dedicated_rows(self._books, gpu, replicas, steady)
        ]
        return CostPlan(
            question=question,
            rows=(self._here(choice), *_without_repeats(self._serverless(rivals)), *rivals),
            simulated=simulated,
            choice=choice,
            dedicated_replicas=replicas,
            dedicated_wait_s=question.wait_max_s,
        )

    def _report_step(self, what: str) -> None:
        self._on_step(self._done, self._steps, what)
        self._done += 1

    def _simulate_policies(self) -> tuple[SimulatedPolicy, ...]:
        """Simulate every policy on every traffic."""
        question = self._question
        copies = resampled_copies(
            question.traffic, question.period_s, question.seeds, question.seed
        )
        pieces: list[Piece[SimulationResult]] = [
            (policy.name, self._piece(policy, traffic, number))
            for policy in self._policies
            for number, traffic in enumerate(copies)
        ]
        outcomes = self._executor.run(pieces, self._report_step)
        each = question.seeds
        return tuple(
            _swept(policy, outcomes[index * each : (index + 1) * each])
            for index, policy in enumerate(self._policies)
        )

    def _piece(
        self, policy: CandidatePolicy, traffic: Traffic, number: int
    ) -> Callable[[], SimulationResult]:
        question = self._question
        scenario = question.scenario(policy.scale, question.start, question.thaw)
        scenario = replace(scenario, traffic=traffic, seed=question.seed + number)
        return partial(simulate, scenario, raise_if_cancelled)

    def _here(self, choice: Recommendation) -> PlanRow:
        chosen = choice.chosen
        return PlanRow(
            platform="here",
            title=f"coldspark on your own machine ({chosen.policy.name})",
            as_of="as configured",
            gpu=self._question.gpus[0] if self._question.gpus else None,
            result=chosen.result,
            cost=own_cost(chosen.result),
            assumptions=("the rest of the machine's bill is carried by what else it does",),
        )

    def _serverless(self, rivals: Sequence[PlanRow]) -> list[PlanRow]:
        serverless = ServerlessComparison(self._question, self._books, rivals)
        pieces = [(platform.title, partial(serverless.rows, platform)) for platform in SERVERLESS]
        return [row for rows in self._executor.run(pieces, self._report_step) for row in rows]


def simulation_count(question: PlanRequest) -> int:
    """Return the number of simulations here, one for each policy and seed."""
    return question.seeds * len(tuple(candidates(question.bounds, question.windows)))


def _swept(policy: CandidatePolicy, outcomes: Sequence[SimulationResult]) -> SimulatedPolicy:
    costs = tuple(own_cost(result) for result in outcomes)
    return SimulatedPolicy(policy=policy, results=tuple(outcomes), costs=costs)


def _parking(bounds: ScalePolicy, thaw: Durations | None) -> ScalePolicy:
    """Without a known thaw nothing is parked."""
    return replace(bounds, park_timeout_s=0.0) if thaw is None else bounds


def _without_repeats(rows: list[PlanRow]) -> list[PlanRow]:
    """Leave out rows that repeat a platform's reason for another type of device."""
    known: set[tuple[str, tuple[str, ...]]] = set()
    distinct = []
    for row in rows:
        if row.result is None and (row.platform, row.missing) in known:
            continue
        known.add((row.platform, row.missing))
        distinct.append(row if row.result is not None else replace(row, gpu=None))
    return distinct
