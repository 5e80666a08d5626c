"""The policy to take, with its reason in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from coldspark.core.metering import NANOS_PER_DOLLAR
from coldspark.core.money import format_dollars
from coldspark.core.sizes import format_duration
from coldspark.sim.choosing import Objective, Point, frontier, knee
from coldspark.sim.costing import Cost
from coldspark.sim.outcomes import Outcome
from coldspark.sim.policies import Policy

_MONTH_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """One policy, and what came of it."""

    policy: Policy
    outcome: Outcome
    cost: Cost

    @property
    def point(self) -> Point:
        """Return a month's dollars and the mean wait in seconds."""
        # Those who were never served count as having waited for all of the period.
        outcome = self.outcome
        waited_s = outcome.wait.mean_s * outcome.served + outcome.period_s * outcome.unserved
        return self.cost.nanos / NANOS_PER_DOLLAR, waited_s / max(1, outcome.requests)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is recommended."""

    chosen: Swept
    frontier: tuple[Swept, ...]
    """From the cheapest to the fastest by mean wait."""
    reason: str


def choose(swept: Sequence[Swept], objective: Objective, requests_a_day: float) -> Choice:
    """Return the policy that serves the objective best."""
    best = tuple(swept[index] for index in frontier([one.point for one in swept]))
    if objective.p95_s is not None:
        chosen, why = _within(swept, best, objective.p95_s)
    elif objective.wait_dollars_per_s is not None:
        chosen, why = _least(best, objective.wait_dollars_per_s, requests_a_day)
    elif len(best) == 1:
        chosen, why = best[0], "It is the cheapest and the fastest at once"
    else:
        chosen = best[knee([one.point for one in best])]
        why = (
            "It is the knee of the frontier: with both axes scaled to 0..1, the point farthest"
            " below the line from the cheapest to the fastest, beyond which money buys less"
        )
    return Choice(chosen=chosen, frontier=best, reason=_reason(swept, best, chosen, why))


def _within(swept: Sequence[Swept], best: Sequence[Swept], p95_s: float) -> tuple[Swept, str]:
    keeping = [
        one for one in swept if one.outcome.latency.p95_s <= p95_s and not one.outcome.unserved
    ]
    if not keeping:
        fastest = min(swept, key=lambda one: (one.outcome.latency.p95_s, one.cost.nanos))
        return fastest, (
            f"No policy keeps 95 % of requests within {format_duration(p95_s)}: this one is the"
            " nearest, and more replicas, a shorter start or min may help"
        )
    chosen = min(keeping, key=lambda one: (one.cost.nanos, one.point[1]))
    return chosen, (
        f"It is the cheapest of {len(keeping)} that keep 95 % of requests within"
        f" {format_duration(p95_s)}"
    )


def _least(best: Sequence[Swept], dollars_per_s: float, per_day: float) -> tuple[Swept, str]:
    month = per_day * _MONTH_DAYS

    def total(one: Swept) -> float:
        dollars, wait_s = one.point
        return dollars + dollars_per_s * wait_s * month

    chosen = min(best, key=total)
    return chosen, (
        f"Its cost and the callers' waiting at ${dollars_per_s:g} a second add up to"
        f" ${total(chosen):,.2f} a month, the least of all"
    )


def _reason(swept: Sequence[Swept], best: Sequence[Swept], chosen: Swept, why: str) -> str:
    first, last = best[0], best[-1]
    told = f"{why}. {_told(chosen, 'It')}."
    if len(best) == 1:
        return f"{told} No other of {len(swept)} policies is cheaper, or makes callers wait less."
    return (
        f"{told} Of {len(swept)} policies {len(best)} are on the frontier of cost and mean wait:"
        f" {_told(first, f'the cheapest ({first.policy.name})')},"
        f" {_told(last, f'the fastest ({last.policy.name})')}."
    )


def _told(one: Swept, who: str) -> str:
    outcome = one.outcome
    return (
        f"{who} costs {format_dollars(one.cost.nanos)} a month with a mean wait of"
        f" {format_duration(outcome.wait.mean_s)} and {outcome.cold_share:.1%} cold"
    )
