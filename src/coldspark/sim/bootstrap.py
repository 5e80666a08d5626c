"""Confidence intervals: the same plan on resampled traffic.

The traffic is cut into blocks, and blocks drawn with replacement make as much traffic again (the
block bootstrap, Künsch 1989). With m the mean of n simulations and s their standard deviation, a
figure lies in nine of ten cases within m - t s and m + t s, t being Student's for n - 1 degrees.
Worked number: 10, 12 and 14 have m = 12, s = 2 and t = 2.920: 6.16 to 17.84.
"""

import statistics
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from coldspark.sim.traffic import Traffic, resampled

_HOUR_S, _DAY_S = 3600.0, 86_400.0
_DAYS_LEAST = 4
_HOURS_LEAST = 6
_BLOCKS = 12
# One-sided 95 %, from 1 degree of freedom on: any table of Student's t.
_STUDENT = (
    6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771,
    1.761, 1.753, 1.746, 1.740, 1.734, 1.729, 1.725, 1.721, 1.717, 1.714, 1.711, 1.708, 1.706,
    1.703, 1.701, 1.699, 1.697,
)  # fmt: skip
SEEDS_MAX = len(_STUDENT) + 1


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """Where a figure lies in nine of ten cases."""

    low: float
    high: float


def confidence_interval(values: Sequence[float]) -> ConfidenceInterval | None:
    """Return the interval of a figure that was measured several times; None of one alone."""
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    reach = _STUDENT[len(values) - 2] * statistics.stdev(values)
    return ConfidenceInterval(mean - reach, mean + reach)


def block_s(period_s: float) -> float:
    """Return how long a block is: a day where there are several, so that hours keep their place."""
    if period_s >= _DAYS_LEAST * _DAY_S:
        return _DAY_S
    return _HOUR_S if period_s >= _HOURS_LEAST * _HOUR_S else period_s / _BLOCKS


def resampled_copies(
    traffic: Traffic, period_s: float, seeds: int, seed: int
) -> tuple[Traffic, ...]:
    """Return the traffic as it came, and ``seeds - 1`` resampled copies."""
    copies = (
        _within(resampled(traffic, block_s(period_s), seed + number), period_s)
        for number in range(1, seeds)
    )
    return (traffic, *copies)


def _within(traffic: Traffic, period_s: float) -> Traffic:
    """Leave out what comes after the period: its last block is a part of one."""
    arrivals, services = array("d", traffic.arrivals_s), array("d", traffic.services_s)
    count = bisect_left(arrivals, period_s)
    return Traffic(arrivals[:count], services[:count])
