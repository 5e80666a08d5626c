"""The recommended policy, with its reason and how certain it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from coldspark.sim.bootstrap import confidence_interval
from coldspark.sim.frontier import CostAndWait, Objective, frontier, knee, under_the_line
from coldspark.sim.policy_results import SimulatedPolicy
from coldspark.spec.money import format_dollars
from coldspark.spec.units import format_duration

_MONTH_DAYS = 30

Score = Callable[[CostAndWait], float]
"""What a play is worth by the objective: the least is the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The recommended policy and its alternatives."""

    chosen: SimulatedPolicy
    frontier: tuple[SimulatedPolicy, ...]
    """From the cheapest to the fastest by mean wait."""
    reason: str
    runner_up: SimulatedPolicy | None = None
    """What would be recommended without it; None where nothing else comes into question."""
    is_within_noise: bool | None = None
    """The runner-up may be as good, by these simulations; None: simulated once."""
    confidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picked:
    chosen: SimulatedPolicy
    why: str
    rivals: Sequence[SimulatedPolicy]
    score: Score


def recommend(
    simulated: Sequence[SimulatedPolicy], objective: Objective, requests_a_day: float
) -> Recommendation:
    """Return the policy that serves the objective best, by the means of all simulations."""
    best = tuple(simulated[index] for index in frontier([one.point for one in simulated]))
    if objective.p95_s is not None:
        picked = _within(simulated, objective.p95_s)
    elif objective.wait_dollars_per_s is not None:
        picked = _least(best, objective.wait_dollars_per_s, requests_a_day)
    else:
        picked = _knee(best)
    chosen = picked.chosen
    runner_up = _runner_up(picked)
    is_within_noise = None if runner_up is None else _is_within_noise(picked, runner_up)
    return Recommendation(
        chosen=chosen,
        frontier=best,
        reason=_reason(simulated, best, chosen, picked.why),
        runner_up=runner_up,
        is_within_noise=is_within_noise,
        confidence=_confidence(chosen, runner_up, is_within_noise, objective.p95_s),
    )


def _within(simulated: Sequence[SimulatedPolicy], p95_s: float) -> _Picked:
    keeping = [one for one in simulated if one.p95_s <= p95_s and not one.unserved]
    if not keeping:
        fastest = min(simulated, key=lambda one: (one.p95_s, one.cost.nanos))
        why = (
            f"No policy keeps 95 % of requests within {format_duration(p95_s)}: this one is the"
            " nearest, and more replicas, a shorter start or min may help"
        )
        return _Picked(chosen=fastest, why=why, rivals=(), score=_dollars)
    chosen = min(keeping, key=lambda one: (one.cost.nanos, one.point[1]))
    why = (
        f"It is the cheapest of {len(keeping)} that keep 95 % of requests within"
        f" {format_duration(p95_s)}"
    )
    return _Picked(chosen=chosen, why=why, rivals=keeping, score=_dollars)


def _dollars(point: CostAndWait) -> float:
    return point[0]


def _least(best: Sequence[SimulatedPolicy], dollars_per_s: float, per_day: float) -> _Picked:
    month = per_day * _MONTH_DAYS

    def total(point: CostAndWait) -> float:
        dollars, wait_s = point
        return dollars + dollars_per_s * wait_s * month

    chosen = min(best, key=lambda one: total(one.point))
    why = (
        f"Its cost and the callers' waiting at ${dollars_per_s:g} a second add up to"
        f" ${total(chosen.point):,.2f} a month, the least of all"
    )
    return _Picked(chosen=chosen, why=why, rivals=best, score=total)


def _knee(best: Sequence[SimulatedPolicy]) -> _Picked:
    if len(best) == 1:
        why = "It is the cheapest and the fastest at once"
        return _Picked(chosen=best[0], why=why, rivals=best, score=_dollars)
    first, last = best[0].point, best[-1].point
    why = (
        "It is the knee of the frontier: with both axes scaled to 0..1, the point farthest"
        " below the line from the cheapest to the fastest, beyond which money buys less"
    )
    return _Picked(
        chosen=best[knee([one.point for one in best])],
        why=why,
        rivals=best,
        # Of two the cheapest is taken: neither lies below the line between them.
        score=_dollars if len(best) == 2 else lambda point: -under_the_line(point, first, last),
    )


def _runner_up(picked: _Picked) -> SimulatedPolicy | None:
    others = [one for one in picked.rivals if one is not picked.chosen]
    return min(others, key=lambda one: picked.score(one.point), default=None)


def _is_within_noise(picked: _Picked, other: SimulatedPolicy) -> bool | None:
    """Compare both simulation by simulation: what one traffic does to both cancels out."""
    pairs = zip(picked.chosen.points, other.points, strict=True)
    found = confidence_interval(
        [picked.score(theirs) - picked.score(ours) for ours, theirs in pairs]
    )
    return None if found is None else found.low <= 0.0


def _confidence(
    chosen: SimulatedPolicy,
    other: SimulatedPolicy | None,
    is_within_noise: bool | None,
    p95_s: float | None,
) -> str:
    plays = len(chosen.results)
    if plays == 1:
        return (
            "Played once: how far chance moves this is not known; --seeds 5 tells, in five times"
            " the time."
        )
    bound = chosen.p95_s_90
    doubt = ""
    if p95_s is not None and bound is not None and chosen.p95_s <= p95_s < bound.high:
        high = format_duration(bound.high)
        doubt = f" Its p95 may be up to {high}, beyond what is asked: see the 90 % interval."
    if other is None:
        return f"Nothing else comes into question, in {plays} plays.{doubt}"
    name = f"{other.policy.name} ({_figures(other)})"
    if is_within_noise:
        return (
            f"The runner-up, {name}, is within the noise of {plays} plays: it may be as good."
            f" Longer traffic tells them apart.{doubt}"
        )
    return f"The runner-up, {name}, is beyond the noise of {plays} plays.{doubt}"


def _reason(
    simulated: Sequence[SimulatedPolicy],
    best: Sequence[SimulatedPolicy],
    chosen: SimulatedPolicy,
    why: str,
) -> str:
    first, last = best[0], best[-1]
    text = f"{why}. {_describe(chosen, 'It')}."
    if len(best) == 1:
        return (
            f"{text} No other of {len(simulated)} policies is cheaper, or makes callers wait less."
        )
    return (
        f"{text} Of {len(simulated)} policies {len(best)} are on the frontier of cost and mean"
        f" wait: {_describe(first, f'the cheapest ({first.policy.name})')},"
        f" {_describe(last, f'the fastest ({last.policy.name})')}."
    )


def _describe(one: SimulatedPolicy, subject: str) -> str:
    return f"{subject} costs {_figures(one)} and {one.cold_share:.1%} cold"


def _figures(one: SimulatedPolicy) -> str:
    waits_s = fmean(result.wait.mean_s for result in one.results)
    return (
        f"{format_dollars(one.cost.nanos)} a month with a mean wait of {format_duration(waits_s)}"
    )
