"""At how many requests a day one way of serving begins to cost more than another."""

import math
import random
from array import array
from bisect import bisect_left
from collections.abc import Callable

from coldspark.sim.traffic import Traffic

_DAY_S = 86_400.0
_JITTER_S = 300.0
"""Copies of a request arrive within so many seconds of it: bursts and hours of the day remain."""
TOLERANCE = 0.02
_STEPS_MAX = 60
_STRIDE_MAX = 8.0

CostAt = tuple[float, float]
"""An argument, and what it costs."""


def crossing(
    cost: Callable[[float], float], bound: float, low: float, high: float, first: float = 1.0
) -> float | None:
    """Return where a cost that rises with its argument reaches ``bound``, between two arguments.

    Searched from ``first`` outwards, then between what brackets it, by a power law through both
    ends and by halves of the logarithm in turn. None: it reaches it nowhere in the range. What is
    returned costs within 2 % of the bound, or lies within 2 % of where a jump crosses it.
    """
    assert 0 < low <= first <= high
    here, known = first, cost(first)
    is_rising = known < bound
    while not _is_near(known, bound):
        there = _outwards(here, known, bound, low, high)
        found = cost(there)
        if (found < bound) is not is_rising:
            ends = ((here, known), (there, found)) if is_rising else ((there, found), (here, known))
            return _within(cost, bound, *ends)
        if there in (low, high):
            return there if _is_near(found, bound) else None
        here, known = there, found
    return here


def _is_near(cost: float, bound: float) -> bool:
    return abs(cost - bound) <= TOLERANCE * bound


def _outwards(here: float, known: float, bound: float, low: float, high: float) -> float:
    """Return where the bound should be passed if the cost were proportional: a bit beyond."""
    ratio = bound / known if known > 0 else _STRIDE_MAX
    stride = ratio * 1.3 if ratio > 1 else ratio / 1.3
    return min(high, max(low, here * min(_STRIDE_MAX, max(1 / _STRIDE_MAX, stride))))


def _within(cost: Callable[[float], float], bound: float, lower: CostAt, upper: CostAt) -> float:
    (low, below), (high, above) = lower, upper
    for step in range(_STEPS_MAX):
        if high <= low * (1.0 + TOLERANCE):
            break
        middle = _between(low, high, below, above, bound, is_halved=step % 3 == 2)
        found = cost(middle)
        if _is_near(found, bound):
            return middle
        if found < bound:
            low, below = middle, found
        else:
            high, above = middle, found
    return math.sqrt(low * high)


def _between(
    low: float, high: float, below: float, above: float, bound: float, *, is_halved: bool
) -> float:
    if is_halved or below <= 0 or above <= below or bound <= 0:
        return math.sqrt(low * high)
    share = math.log(bound / below) / math.log(above / below)
    # Not too near to an end, or a jump there would never be bracketed.
    share = min(0.95, max(0.05, share))
    return low * math.exp(share * math.log(high / low))


def scaled(traffic: Traffic, factor: float, period_s: float, seed: int = 0) -> Traffic:
    """Return traffic of ``factor`` times as many requests with the same shape.

    Below 1 requests are left out, always the same ones first; above it each comes several times,
    the copies within minutes of the first.
    """
    chance = random.Random(seed)
    whole, part = int(factor), factor - int(factor)
    rows: list[tuple[float, float]] = []
    for arrived_s, service_s in zip(traffic.arrivals_s, traffic.services_s, strict=True):
        copies = whole + (chance.random() < part)
        for copy in range(copies):
            at_s = arrived_s + (chance.uniform(-_JITTER_S, _JITTER_S) if copy else 0.0)
            rows.append((min(max(at_s, 0.0), period_s), service_s))
    rows.sort()
    return Traffic(array("d", (row[0] for row in rows)), array("d", (row[1] for row in rows)))


def leading_days(traffic: Traffic, period_s: float, requests_max: float) -> tuple[Traffic, float]:
    """Return the first whole days with at most so many requests, at least one day."""
    days = max(1, math.floor(period_s / _DAY_S))
    while days > 1 and bisect_left(traffic.arrivals_s, days * _DAY_S) > requests_max:
        days -= 1
    cut_s = min(period_s, days * _DAY_S)
    count = bisect_left(traffic.arrivals_s, cut_s)
    return Traffic(traffic.arrivals_s[:count], traffic.services_s[:count]), cut_s
