"""Plan: the same traffic on every platform and under every policy, priced; and what to choose.

Nothing is modelled twice: each row is the production core played in virtual time.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

from coldspark.core.messages import FloorMoved
from coldspark.core.pricing import Book
from coldspark.core.provisioning import Window
from coldspark.core.rules.settings import KeepAlive
from coldspark.core.types import ScalePolicy
from coldspark.sim.advising import Choice, Swept, choose
from coldspark.sim.breakeven import crossing, first_days, scaled
from coldspark.sim.choosing import Objective
from coldspark.sim.costing import Cost, book_cost, instances_cost, own_cost
from coldspark.sim.outcomes import Outcome, Trial, play
from coldspark.sim.platforms import DEDICATED_BOOKS, SERVERLESS, Platform
from coldspark.sim.policies import Policy, candidates
from coldspark.sim.traffic import Durations, Traffic

DAY_S = 86_400.0
_BREAK_EVEN_REQUESTS = 4_000
"""Each step of the search plays so many, in whole days, at least one."""
_LEAST_A_DAY, _MOST_A_DAY = 1.0, 100_000.0
"""Requests a day beyond which the search does not go."""
_FLEET_PER_DEDICATED = 8
"""A platform may run so many replicas for each dedicated one where traffic is scaled up: a search
ends where the dedicated ones are full, and starting and bursts need more than steady work."""

Step = Callable[[int, int, str], None]
"""Hears (done, all, what is played next); it may raise to cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be planned."""

    traffic: Traffic
    period_s: float
    gpus: tuple[str, ...]
    """Types to compare, those that fit the model; none: it runs on CPU."""
    start: Durations
    """Of a replica here, from room granted to ready."""
    thaw: Durations | None = None
    """None: nothing is parked here."""
    bounds: ScalePolicy = field(default_factory=lambda: ScalePolicy(replicas_max=4))
    """Min, max and concurrency for every policy and platform."""
    own_hour_nanos: int
    """What a replica's hour here costs."""
    memory_bytes: int
    """Of a replica: what is billed where memory is."""
    objective: Objective = field(default_factory=Objective)
    windows: tuple[Window, ...] = ()
    """Times at which another floor might hold."""
    moves: tuple[tuple[float, FloorMoved], ...] = ()
    """What a fleet with those windows is told, and when."""
    seed: int = 0
    with_break_even: bool = True

    @property
    def requests_a_day(self) -> float:
        """Return the mean."""
        return len(self.traffic) * DAY_S / self.period_s


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Where a platform begins to cost more than dedicated instances."""

    requests_a_day: float | None
    """None: nowhere in the range, and ``why`` says on which side it stays."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One platform with one type of device."""

    platform: str
    title: str
    as_of: str
    gpu: str | None
    outcome: Outcome | None
    """None: it was not played, and ``missing`` says why."""
    cost: Cost | None
    replicas: int | None = None
    """Of dedicated instances: how many it takes."""
    break_even: BreakEven | None = None
    missing: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The answer."""

    question: Question
    rows: tuple[Row, ...]
    swept: tuple[Swept, ...]
    """Every policy that was tried here."""
    choice: Choice
    dedicated_replicas: int
    dedicated_wait_s: float
    """So long may 95 % of requests wait at most on dedicated instances."""


class Planner:
    """Works one question out."""

    def __init__(self, question: Question, books: Mapping[str, Book], on_step: Step) -> None:
        """Take the question; ``books`` are the price books by name."""
        self._question = question
        self._books = books
        self._on_step = on_step
        self._done = 0
        self._policies = tuple(
            candidates(_parking(question.bounds, question.thaw), question.windows)
        )
        types = max(1, len(question.gpus))
        self._steps = len(self._policies) + 1 + types * len(SERVERLESS)
        self._played: dict[tuple[str, str], Outcome] = {}

    def plan(self) -> Plan:
        """Return the plan."""
        question = self._question
        swept = tuple(self._sweep(policy) for policy in self._policies)
        choice = choose(swept, question.objective, question.requests_a_day)
        self._say("dedicated instances")
        replicas, steady = self._dedicated()
        rivals = [
            row for gpu in question.gpus for row in self._dedicated_rows(gpu, replicas, steady)
        ]
        rows = [
            self._row(platform, gpu, rivals)
            for platform in SERVERLESS
            for gpu in (question.gpus or (None,))
        ]
        return Plan(
            question=question,
            rows=(self._here(choice, rivals), *_told_once(rows), *rivals),
            swept=swept,
            choice=choice,
            dedicated_replicas=replicas,
            dedicated_wait_s=self._wait_max_s(),
        )

    def _say(self, what: str) -> None:
        self._on_step(self._done, self._steps, what)
        self._done += 1

    def _sweep(self, policy: Policy) -> Swept:
        self._say(policy.name)
        outcome = play(self._trial(policy.scale, self._question.start, self._question.thaw))
        return Swept(policy=policy, outcome=outcome, cost=own_cost(outcome))

    def _trial(self, scale: ScalePolicy, start: Durations, thaw: Durations | None = None) -> Trial:
        question = self._question
        return Trial(
            traffic=question.traffic,
            period_s=question.period_s,
            scale=scale,
            start=start,
            thaw=thaw,
            hour_nanos=question.own_hour_nanos,
            seed=question.seed,
            moves=question.moves if scale.windows else (),
        )

    def _here(self, choice: Choice, rivals: list[Row]) -> Row:
        chosen = choice.chosen
        return Row(
            platform="here",
            title=f"coldspark on your own machine ({chosen.policy.name})",
            as_of="as configured",
            gpu=self._question.gpus[0] if self._question.gpus else None,
            outcome=chosen.outcome,
            cost=chosen.cost,
            assumptions=("the rest of the machine's bill is carried by what else it does",),
        )

    # --- dedicated -------------------------------------------------------------------------------

    def _wait_max_s(self) -> float:
        """Return the wait that 95 % must keep: of the bound, or of a long request's own time."""
        services = sorted(self._question.traffic.services_s)
        long_s = services[min(len(services) - 1, int(0.95 * len(services)))]
        bound_s = self._question.objective.p95_s
        return long_s if bound_s is None else max(0.0, bound_s - long_s)

    def _dedicated(self) -> tuple[int, Outcome]:
        """Return how few replicas keep the wait; the most that are allowed where none do."""
        low, high = 1, self._question.bounds.replicas_max
        best = self._steady(high)
        wait_max_s = self._wait_max_s()
        if best.wait.p95_s > wait_max_s or best.unserved:
            return high, best
        while low < high:
            middle = (low + high) // 2
            found = self._steady(middle)
            if found.wait.p95_s <= wait_max_s and not found.unserved:
                high, best = middle, found
            else:
                low = middle + 1
        return high, best

    def _steady(self, replicas: int) -> Outcome:
        # They are up before the first request comes.
        scale = replace(
            _always(self._question.bounds), replicas_min=replicas, replicas_max=replicas
        )
        return play(self._trial(scale, Durations.fixed(0.0)))

    def _dedicated_rows(self, gpu: str, replicas: int, steady: Outcome) -> list[Row]:
        rows = []
        for book in (self._books[name] for name in DEDICATED_BOOKS):
            instance = book.dedicated.get(gpu)
            if instance is None:
                continue
            count = math.ceil(replicas / instance.gpus)
            cost = instances_cost(instance.hour_nanos, count, is_estimated=instance.is_estimated)
            kind = instance.name or "instance"
            spare = f" of {instance.gpus} GPUs" if instance.gpus > 1 else ""
            row = Row(
                platform="dedicated",
                title=f"dedicated: {count} x {kind}{spare} ({book.name})",
                as_of=book.as_of,
                gpu=gpu,
                outcome=steady,
                cost=cost,
                replicas=replicas,
            )
            rows.append(row)
        return rows

    # --- serverless ------------------------------------------------------------------------------

    def _row(self, platform: Platform, gpu: str | None, rivals: list[Row]) -> Row:
        self._say(f"{platform.title}, {gpu or 'CPU'}")
        row = Row(
            platform=platform.name,
            title=platform.title,
            as_of=platform.as_of,
            gpu=gpu,
            outcome=None,
            cost=None,
            assumptions=platform.assumptions,
        )
        start, book = platform.start_of(gpu or "CPU"), self._books[platform.book]
        if start is None or (gpu or "CPU") not in book.rates:
            what = "runs no GPU" if "CPU" in book.rates else f"sells no {gpu or 'CPU alone'}"
            return replace(row, missing=(f"{platform.title} {what}",))
        outcome = self._play(platform, gpu, start)
        cost = self._price(platform, gpu, outcome)
        if cost.is_hollow:
            return replace(row, missing=cost.missing)
        even = self._break_even(platform, gpu, start, cost, rivals)
        return replace(row, outcome=outcome, cost=cost, break_even=even, missing=cost.missing)

    def _scale(self, platform: Platform) -> ScalePolicy:
        bounds = self._question.bounds
        least = bounds.replicas_min if platform.sells_provisioned else 0
        return replace(_always(bounds), rule=platform.rule, replicas_min=least)

    def _play(self, platform: Platform, gpu: str | None, start: Durations) -> Outcome:
        # The same cold start on two types is the same outcome.
        key = (platform.name, str(platform.start_s.get(gpu or "CPU", "*")))
        if key not in self._played:
            self._played[key] = play(self._trial(self._scale(platform), start))
        return self._played[key]

    def _price(self, platform: Platform, gpu: str | None, outcome: Outcome) -> Cost:
        return book_cost(
            outcome,
            self._books[platform.book],
            gpu,
            provisioned=self._scale(platform).replicas_min,
            memory_bytes=self._question.memory_bytes,
            round_up_s=platform.round_up_s,
        )

    def _break_even(
        self,
        platform: Platform,
        gpu: str | None,
        start: Durations,
        cost: Cost,
        rivals: list[Row],
    ) -> BreakEven | None:
        question = self._question
        same = [row for row in rivals if row.gpu == gpu]
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
            return float(self._price(platform, gpu, self._play_scaled(scale, start, factor)).nanos)

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

    def _play_scaled(self, scale: ScalePolicy, start: Durations, factor: float) -> Outcome:
        question = self._question
        part, cut_s = first_days(question.traffic, question.period_s, _BREAK_EVEN_REQUESTS / factor)
        trial = Trial(
            traffic=scaled(part, factor, cut_s, question.seed),
            period_s=cut_s,
            scale=scale,
            start=start,
            seed=question.seed,
        )
        return play(trial)


def _parking(bounds: ScalePolicy, thaw: Durations | None) -> ScalePolicy:
    """Without a known thaw nothing is parked."""
    return replace(bounds, park_timeout_s=0.0) if thaw is None else bounds


def _always(bounds: ScalePolicy) -> ScalePolicy:
    """Return bounds under a plain rule: what other platforms do is not learned, nor parked."""
    return ScalePolicy(
        replicas_max=bounds.replicas_max,
        concurrency=bounds.concurrency,
        park_timeout_s=0.0,
        rule=KeepAlive(),
    )


def _told_once(rows: list[Row]) -> list[Row]:
    """Leave out what a platform says again of another type, such as that it runs no GPU."""
    said: set[tuple[str, tuple[str, ...]]] = set()
    kept = []
    for row in rows:
        if row.outcome is None and (row.platform, row.missing) in said:
            continue
        said.add((row.platform, row.missing))
        kept.append(row if row.outcome is not None else replace(row, gpu=None))
    return kept
