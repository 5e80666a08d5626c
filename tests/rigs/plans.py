"""Small questions for the planner, and what it says to them."""

from array import array
from functools import cache

from coldspark.billing import prices
from coldspark.sim.frontier import Objective
from coldspark.sim.plan_request import PlanRequest
from coldspark.sim.planner import CostPlan, Planner
from coldspark.sim.traffic import Durations, Traffic
from coldspark.spec.types import ScalePolicy

DAY_S = 86_400.0
BOOKS = {name: prices.load(name) for name in prices.names()}


def every(gap_s: float, service_s: float, period_s: float = DAY_S) -> Traffic:
    """Return requests at even distances."""
    count = round(period_s / gap_s)
    arrivals = array("d", (gap_s * index for index in range(count)))
    return Traffic(arrivals, array("d", [service_s] * count))


def question(**changes: object) -> PlanRequest:
    """Return the guide's example: 1,000 requests a day of 2 s on A10G; change what is named."""
    values: dict[str, object] = {
        "traffic": every(86.4, 2.0),
        "period_s": DAY_S,
        "gpus": ("A10G",),
        "start": Durations.fixed(40.0),
        "bounds": ScalePolicy(replicas_max=4),
        "own_hour_nanos": 760_000_000,
        "memory_bytes": 2**30,
        "objective": Objective(),
        "with_break_even": False,
    }
    return PlanRequest(**(values | changes))  # type: ignore[arg-type]


def plan_of(asked: PlanRequest) -> CostPlan:
    """Return the plan."""
    return Planner(asked, BOOKS, lambda done, total, what: None).plan()


@cache
def the_guides_plan() -> CostPlan:
    """Return the plan of the guide's example with its two provisioned slots."""
    return plan_of(question(bounds=ScalePolicy(replicas_min=2, replicas_max=4)))
