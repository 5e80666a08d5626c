"""A plan as plain data: what ``--json`` prints, and what tables and the report are made of."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from coldspark.sim.bootstrap import ConfidenceInterval, block_s
from coldspark.sim.candidates import as_toml
from coldspark.sim.plan_request import DAY_S, PlanRequest, PlanRow
from coldspark.sim.planner import CostPlan
from coldspark.sim.policy_results import SimulatedPolicy
from coldspark.sim.simulation import SimulationResult, WaitSummary, summarize
from coldspark.spec.units import format_duration

Json = dict[str, Any]
_BARS_MAX = 168
_FEW_A_DAY = 10


def to_json(plan: CostPlan, remarks: Sequence[str] = ()) -> Json:
    """Return the plan; money in nano-dollars a month of 30 days, times in seconds."""
    question, chosen = plan.question, plan.choice.chosen
    runner_up = plan.choice.runner_up
    best = [id(one) for one in plan.choice.frontier]
    return {
        "traffic": {
            "requests": len(question.traffic),
            "period_s": question.period_s,
            "requests_a_day": question.requests_a_day,
            "service": _spread(summarize(question.traffic.services_s)),
            "start_p50_s": question.start.quantile(0.5),
            "start_p95_s": question.start.quantile(0.95),
            "histogram": histogram(question.traffic.arrivals_s, question.period_s),
        },
        "platforms": [_row(row) for row in plan.rows],
        "policies": [
            _simulated(one) | {"is_on_frontier": id(one) in best, "is_chosen": one is chosen}
            for one in plan.simulated
        ],
        "dedicated": {
            "replicas": plan.dedicated_replicas,
            "p95_wait_max_s": plan.dedicated_wait_s,
        },
        "recommended": {
            "policy": chosen.policy.name,
            "toml": as_toml(chosen.policy.scale),
            "reason": plan.choice.reason,
            "sureness": plan.choice.confidence,
            "runner_up": None if runner_up is None else runner_up.policy.name,
            "is_within_noise": plan.choice.is_within_noise,
        },
        "seeds": _seeds(question),
        "remarks": list(remarks),
    }


def requests_of(traffic: Json) -> str:
    """Format how many requests there were."""
    count = traffic["requests"]
    return f"{count:,} request{'' if count == 1 else 's'}"


def rate_of(traffic: Json) -> str:
    """Format how many come in a day: few are not none."""
    rate = traffic["requests_a_day"]
    return f"{rate:,.0f}" if rate >= _FEW_A_DAY else f"{rate:.2g}"


def _seeds(question: PlanRequest) -> Json:
    if question.seeds == 1:
        return {"plays": 1, "block_s": None, "told": None}
    length_s = block_s(question.period_s)
    text = (
        f"means of {question.seeds} plays: the traffic as it is, which the table of platforms"
        f" shows alone, and made anew of its blocks of {format_duration(length_s)};"
        " 90 %: where nine of ten such plays would lie"
    )
    return {"plays": question.seeds, "block_s": length_s, "told": text}


def histogram(arrivals_s: Sequence[float], period_s: float) -> Json:
    """Return how many requests came in each of at most 168 equal windows, of an hour or more."""
    bars = max(1, min(_BARS_MAX, round(period_s / 3600)))
    counts = [0] * bars
    for arrived_s in arrivals_s:
        counts[min(bars - 1, int(arrived_s / period_s * bars))] += 1
    return {"window_s": period_s / bars, "counts": counts}


def _row(row: PlanRow) -> Json:
    cost, even = row.cost, row.break_even
    return {
        "platform": row.platform,
        "title": row.title,
        "as_of": row.as_of,
        "gpu": row.gpu,
        "month_nanos": None if cost is None else cost.nanos,
        "parts": {} if cost is None else dict(cost.parts),
        "is_estimated": cost is not None and cost.is_estimated,
        "missing": list(row.missing),
        "replicas": row.replicas,
        "break_even": None
        if even is None
        else {"requests_a_day": even.requests_a_day, "why": even.why},
        "assumptions": list(row.assumptions),
    } | (_result(row.result) if row.result is not None else {"wait": None})


def _simulated(one: SimulatedPolicy) -> Json:
    """Return the means of all simulations, with the interval of nine in ten."""
    count = len(one.results)
    return {
        "policy": one.policy.name,
        "month_nanos": one.cost.nanos,
        "month_nanos_90": _interval(one.cost_nanos_90),
        "parts": dict(one.cost.parts),
        "toml": as_toml(one.policy.scale),
        "wait": _means([result.wait for result in one.results]),
        "latency": _means([result.latency for result in one.results]),
        "latency_p95_s_90": _interval(one.p95_s_90),
        "cold_share": one.cold_share,
        "utilisation": fmean(result.utilisation for result in one.results),
        "starts": sum(result.starts for result in one.results) / count,
        "starts_a_day": fmean(map(_starts_a_day, one.results)),
        "unserved": one.unserved,
    }


def _result(result: SimulationResult) -> Json:
    return {
        "wait": _spread(result.wait),
        "latency": _spread(result.latency),
        "cold_share": result.cold_share,
        "utilisation": result.utilisation,
        "starts": result.starts,
        "starts_a_day": _starts_a_day(result),
        "unserved": result.unserved,
    }


def _starts_a_day(result: SimulationResult) -> float:
    return result.starts * DAY_S / result.period_s


def _interval(found: ConfidenceInterval | None) -> list[float] | None:
    return None if found is None else [found.low, found.high]


def _means(spreads: Sequence[WaitSummary]) -> Json:
    rows = [_spread(spread) for spread in spreads]
    return {name: fmean(row[name] for row in rows) for name in rows[0]}


def _spread(spread: WaitSummary) -> Json:
    return {
        "mean_s": spread.mean_s,
        "p50_s": spread.p50_s,
        "p95_s": spread.p95_s,
        "p99_s": spread.p99_s,
    }
