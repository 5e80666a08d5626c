"""The planner: the guide's example with the right sums, choices that keep their objective."""

import pytest
from plans import every, plan_of, question, the_guides_plan

from coldspark.sim.frontier import Objective
from coldspark.sim.plan_request import PlanRow
from coldspark.sim.planner import CostPlan, Planner
from coldspark.sim.traffic import Durations, synthetic_traffic
from coldspark.spec.types import ScalePolicy

pytestmark = pytest.mark.seconds

DOLLAR = 1_000_000_000


def row(plan: CostPlan, platform: str, gpu: str | None = "A10G") -> PlanRow:
    """Return one row."""
    return next(one for one in plan.rows if (one.platform, one.gpu) == (platform, gpu))


def test_the_guides_example_costs_what_its_own_rates_say() -> None:
    """$38.16 + $21 + $2.50, where the guide prints ~$160."""
    cost = row(the_guides_plan(), "sagemaker").cost
    assert cost is not None
    assert dict(cost.parts) == {
        "invocations": 21 * DOLLAR,
        "compute": 2_500_000_000,
        "provisioned concurrency": 38_160_000_000,
    }


def test_a_dedicated_instance_costs_the_same_whether_used_or_not() -> None:
    """$0.76 an hour is $547.20 a month; one carries 1,000 requests of 2 s with ease."""
    found = row(the_guides_plan(), "dedicated")
    assert found.cost is not None
    assert (found.cost.nanos, found.replicas) == (547_200_000_000, 1)


def test_runpod_bills_starts_and_idling_too() -> None:
    """Each request wakes a worker: 10 s of start, 2 of work, 5 of idling, half a second rounded."""
    plan = the_guides_plan()
    found, outcome = row(plan, "runpod"), row(plan, "runpod").outcome
    assert outcome is not None
    assert found.cost is not None
    assert outcome.cold_share == 1.0
    seconds = 30_000 * (10 + 2 + 5 + 0.5)
    assert found.cost.nanos == pytest.approx(seconds * 0.00019 * DOLLAR, rel=0.02)
    assert found.cost.is_estimated


def test_what_a_platform_cannot_run_is_told_once_and_has_no_price() -> None:
    """Lambda has no GPU, whatever the type."""
    plan = plan_of(question(gpus=("T4", "A10G"), traffic=every(1728.0, 2.0)))
    untold = [one for one in plan.rows if one.outcome is None]
    assert [(one.platform, one.cost, one.missing) for one in untold] == [
        ("lambda", None, ("AWS Lambda (CPU) runs no GPU",))
    ]


def test_on_cpu_lambda_is_compared_and_the_others_are_not() -> None:
    """Its memory is billed, in starts (1-3 s) too: a request every 864 s finds none there."""
    traffic, start = every(864.0, 2.0), Durations.fixed(1.0)
    plan = plan_of(question(gpus=(), traffic=traffic, start=start, memory_bytes=2 * 2**30))
    found = row(plan, "lambda", None)
    assert found.cost is not None
    assert dict(found.cost.parts)["invocations"] == 600_000
    compute = 3_000 * (2 + 2) * 2 * 0.0000166667
    assert dict(found.cost.parts)["compute"] == pytest.approx(compute * DOLLAR, rel=0.1)
    assert [one.platform for one in plan.rows if one.outcome] == ["here", "lambda"]


def test_more_memory_than_lambda_has_is_missing_not_free() -> None:
    """15 GB do not fit."""
    traffic = every(8640.0, 2.0)
    plan = plan_of(question(gpus=(), traffic=traffic, memory_bytes=15 * 10**9))
    assert row(plan, "lambda", None).cost is None
    assert "at most 10,240 MiB" in row(plan, "lambda", None).missing[0]


def test_the_break_even_is_where_the_bill_of_an_instance_is_reached() -> None:
    """SageMaker's guide: $547.20 buys 23,000 requests a day at $0.0007 + 2 s of $0.15/h each."""
    plan = plan_of(question(traffic=every(864.0, 2.0), with_break_even=True))
    even = row(plan, "sagemaker").break_even
    assert even is not None
    a_request = 0.0007 + 2 * 0.15 / 3600
    assert even.requests_a_day == pytest.approx(547.20 / 30 / a_request, rel=0.05)


def test_dedicated_instances_may_be_dearer_until_they_are_full() -> None:
    """Eight A100s a month cost more than anything one of them can do."""
    plan = plan_of(question(gpus=("A100",), traffic=every(864.0, 20.0), with_break_even=True))
    even = row(plan, "sagemaker", "A100").break_even
    assert even is not None
    assert even.requests_a_day is None
    assert "is full, at 4,320 a day" in even.why


def test_dedicated_instances_are_as_few_as_keep_the_wait() -> None:
    """Ten at once, of 10 s each: with n of them the last waits for ceil(10/n) - 1 turns."""
    bursts = synthetic_traffic(rate_per_hour=60, days=0.2, burst=8, service=Durations.fixed(10.0))
    asked = question(traffic=bursts, period_s=17_280.0, bounds=ScalePolicy(replicas_max=32))
    plan = plan_of(asked)
    served = row(plan, "dedicated").outcome
    assert served is not None
    assert 1 < plan.dedicated_replicas < 32
    assert served.wait.p95_s <= plan.dedicated_wait_s == 10.0


def test_a_bound_of_p95_is_kept_by_the_cheapest_that_can() -> None:
    """And every policy that is cheaper breaks it."""
    plan = plan_of(question(traffic=every(900.0, 2.0), objective=Objective(p95_s=5.0)))
    chosen = plan.choice.chosen
    assert chosen.result.latency.p95_s <= 5.0
    cheaper = [one for one in plan.swept if one.cost.nanos < chosen.cost.nanos]
    assert all(one.result.latency.p95_s > 5.0 for one in cheaper)
    assert "the cheapest of" in plan.choice.reason


def test_a_bound_that_nothing_keeps_is_told() -> None:
    """A request alone takes longer."""
    plan = plan_of(question(traffic=every(600.0, 9.0), objective=Objective(p95_s=5.0)))
    assert "No policy keeps 95 % of requests within 5 s" in plan.choice.reason


def test_dear_waiting_keeps_replicas_and_cheap_waiting_does_not() -> None:
    """Callers' seconds against a replica's."""
    traffic = every(900.0, 2.0)
    cheap, dear = (
        plan_of(question(traffic=traffic, objective=Objective(wait_dollars_per_s=cost))).choice
        for cost in (0.0, 10.0)
    )
    assert cheap.chosen.cost.nanos < dear.chosen.cost.nanos
    assert cheap.chosen.result.wait.mean_s > dear.chosen.result.wait.mean_s


def test_the_same_question_has_the_same_answer() -> None:
    """Down to the nano-dollar."""
    traffic = synthetic_traffic(
        rate_per_hour=20, days=0.25, burst=3, service=Durations.lognormal(2, 9)
    )
    asked = question(traffic=traffic, period_s=21_600.0, start=Durations.lognormal(10, 30))
    one, other = plan_of(asked), plan_of(asked)
    assert [r.cost for r in one.rows] == [r.cost for r in other.rows]
    assert [s.point for s in one.swept] == [s.point for s in other.swept]


def test_a_plan_can_be_cancelled_at_every_step() -> None:
    """What hears of progress may raise."""
    heard: list[tuple[int, int]] = []

    def cancel(done: int, total: int, what: str) -> None:
        heard.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Planner(question(traffic=every(8640.0, 2.0)), {}, cancel).plan()
    assert [done for done, _ in heard] == [0, 1, 2, 3]
