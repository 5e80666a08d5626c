"""How far one family of settings lies from the frontier of others, and how sure that is.

For each setting of a competitor that no other competitor's setting beats in both cost and wait, the
regret is the least cost of ours with at most its wait, divided by its cost: 1.0 or less means that
ours is on or below its frontier. Only settings that were played count: nothing is interpolated.

``mixed`` is the worst regret against two of our settings in turn, each for a part of the time. A
sweep of a price finds the corners of the lower convex hull of cost and wait alone: where ``worst``
is over 1 and ``mixed`` is not, a competitor's setting lies in a dent between two corners of ours.
"""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, inf, log

WAITS = ("p95_s", "mean_s")
WAIT_TOLERANCE_S = 0.01
_DRAWS = 2000
# The 95th percentile of Student's t with 1, 2, ... degrees of freedom; 1.645 from there on.
_T95 = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83, 1.81, 1.80, 1.78, 1.77, 1.76, 1.75)


@dataclass(frozen=True, slots=True)
class Point:
    """What a setting cost on one trace."""

    setting: str
    held_s: float
    p95_s: float
    mean_s: float


@dataclass(frozen=True, slots=True)
class Regret:
    """How much more ours costs than the competitors' frontier: factors, 1.0 is the same."""

    worst: float
    median: float
    against: str
    """The competitor's setting at which it is worst."""
    mixed: float
    """The worst against any two of our settings in turn."""
    behind_s: float = 0.0
    """Where ``worst`` is infinite: how much longer than there ours waits at least."""


def frontier(points: Sequence[Point], wait: str) -> list[Point]:
    """Return the points that no other beats in both cost and wait, cheapest first."""
    best, found = inf, []
    for each in sorted(points, key=lambda p: (p.held_s, getattr(p, wait))):
        if getattr(each, wait) < best:
            best = getattr(each, wait)
            found.append(each)
    return found


def hull(points: Sequence[Point], wait: str) -> list[tuple[float, float]]:
    """Return the corners (cost, wait) of the lower convex hull, cheapest first."""
    found: list[tuple[float, float]] = []
    for each in frontier(points, wait):
        cost, wait_s = each.held_s, getattr(each, wait)
        while len(found) > 1:
            (cost_a, wait_a), (cost_b, wait_b) = found[-2:]
            if (cost_b - cost_a) * (wait_s - wait_a) > (wait_b - wait_a) * (cost - cost_a):
                break
            found.pop()
        found.append((cost, wait_s))
    return found


def cost_at(corners: Sequence[tuple[float, float]], wait_s: float) -> float:
    """Return the least cost on a hull with at most a wait. Worked: (1, 9), (3, 5) at 7: 2."""
    if wait_s >= corners[0][1]:
        return corners[0][0]
    for (cost_a, wait_a), (cost_b, wait_b) in pairwise(corners):
        if wait_b <= wait_s:
            return cost_a + (cost_b - cost_a) * (wait_a - wait_s) / (wait_a - wait_b)
    return inf


def regret(ours: Sequence[Point], others: Sequence[Point], wait: str) -> Regret:
    """Compare the frontiers."""
    factors: list[tuple[float, str]] = []
    corners, mixed = hull(ours, wait), 0.0
    for each in frontier(others, wait):
        limit_s = getattr(each, wait) + WAIT_TOLERANCE_S
        costs = [p.held_s for p in ours if getattr(p, wait) <= limit_s]
        factors.append((min(costs, default=inf) / each.held_s, each.setting))
        mixed = max(mixed, cost_at(corners, limit_s) / each.held_s)
    worst, against = max(factors)
    least_s = min(getattr(p, wait) for p in ours) - min(getattr(p, wait) for p in others)
    return Regret(
        worst,
        statistics.median(factor for factor, _ in factors),
        against,
        mixed,
        least_s if worst == inf else 0.0,
    )


def answering(ours: Sequence[Point], others: Sequence[Point]) -> list[str]:
    """Return our settings that the regrets hang on, and their neighbours on our frontier."""
    found: dict[str, None] = {}
    for wait in WAITS:
        best = frontier(ours, wait)
        for each in frontier(others, wait):
            limit_s = getattr(each, wait) + WAIT_TOLERANCE_S
            # Cheapest first, so that waits become shorter: the first that is short enough answers.
            at = sum(getattr(p, wait) > limit_s for p in best)
            found |= dict.fromkeys(p.setting for p in best[max(0, at - 1) : at + 2])
    return list(found)


def interval(estimate: float, copies: Sequence[float]) -> tuple[float, float]:
    """Return a 90 % interval: the copies' spread about the estimate, in logarithms.

    estimate * exp(+-t sd), with sd the standard deviation of the copies' logarithms and t Student's
    95th percentile. Worked number: 1.10 with copies 1.0, 1.1, 1.2: sd is 0.091, t 2.92, so 0.84 to
    1.44.
    """
    if len(copies) < 2 or estimate == inf or inf in copies:
        return min([estimate, *copies]), max([estimate, *copies])
    sd = statistics.stdev(map(log, copies))
    t = _T95[len(copies) - 2] if len(copies) - 2 < len(_T95) else 1.645
    return estimate * exp(-t * sd), estimate * exp(t * sd)


def by_family(regrets: Mapping[str, Sequence[float]]) -> tuple[float, float, float]:
    """Return the geometric mean over all rows with a 90 % interval, whole families drawn.

    Rows of one family of traces are alike: what is drawn with replacement, 2,000 times, is
    families. An infinite regret counts as 3.
    """
    logs = [[log(min(value, 3.0)) for value in values] for values in regrets.values()]

    def mean(drawn: Sequence[Sequence[float]]) -> float:
        return exp(statistics.fmean(value for values in drawn for value in values))

    chance = random.Random(0)
    means = sorted(mean(chance.choices(logs, k=len(logs))) for _ in range(_DRAWS))
    return mean(logs), means[_DRAWS // 20], means[-_DRAWS // 20]
