"""Dedicated instances: as few as keep the wait, up all the time, whatever comes."""

import math
from collections.abc import Mapping
from dataclasses import replace

from coldspark.billing.price_book import PriceBook
from coldspark.sim.costs import instances_cost
from coldspark.sim.executor import raise_if_cancelled
from coldspark.sim.plan_request import PlanRequest, PlanRow
from coldspark.sim.platforms import DEDICATED_BOOKS
from coldspark.sim.simulation import SimulationResult, simulate
from coldspark.sim.traffic import Durations


def fewest(question: PlanRequest) -> tuple[int, SimulationResult]:
    """Return how few replicas keep the wait; the most that are allowed where none do."""
    low, high = 1, question.bounds.replicas_max
    best = _steady(question, high)
    wait_max_s = question.wait_max_s
    if best.wait.p95_s > wait_max_s or best.unserved:
        return high, best
    while low < high:
        middle = (low + high) // 2
        found = _steady(question, middle)
        if found.wait.p95_s <= wait_max_s and not found.unserved:
            high, best = middle, found
        else:
            low = middle + 1
    return high, best


def dedicated_rows(
    books: Mapping[str, PriceBook], gpu: str, replicas: int, steady: SimulationResult
) -> list[PlanRow]:
    """Return what so many replicas cost, by every book that rents whole instances."""
    rows = []
    for book in (books[name] for name in DEDICATED_BOOKS):
        instance = book.dedicated.get(gpu)
        if instance is None:
            continue
        count = math.ceil(replicas / instance.gpus)
        cost = instances_cost(instance.hour_nanos, count, is_estimated=instance.is_estimated)
        kind = instance.name or "instance"
        spare = f" of {instance.gpus} GPUs" if instance.gpus > 1 else ""
        row = PlanRow(
            platform="dedicated",
            title=f"dedicated: {count} x {kind}{spare} ({book.name})",
            as_of=book.as_of,
            gpu=gpu,
            result=steady,
            cost=cost,
            replicas=replicas,
        )
        rows.append(row)
    return rows


def _steady(question: PlanRequest, replicas: int) -> SimulationResult:
    # They are up before the first request comes.
    scale = replace(question.plain_scale(), replicas_min=replicas, replicas_max=replicas)
    return simulate(question.scenario(scale, Durations.fixed(0.0)), raise_if_cancelled)
