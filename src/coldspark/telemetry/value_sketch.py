"""Measurements of one metric in one period, added up so that they can be added up again.

A period keeps its values one by one up to ``VALUES_MAX`` different ones. With more, each value
becomes the middle of its bucket, and buckets grow by a constant factor, as in DDSketch (Masson,
Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch", VLDB 2019): percentiles are then
off by at most ``ACCURACY``, relatively. Rounding what is rounded changes nothing, so periods may be
merged in any order. Count, sum, least and most stay exact.

Worked number: with an accuracy of 0.75 % a bucket's bounds are 1.0151 apart, and 137 becomes
135.99, the middle of 134.98 to 137.02.
"""

import math
from collections.abc import Iterable, Mapping

ACCURACY = 0.0075
"""What rounding may be off by. What requests measured is rounded by 0.25 % before: 1 % in all."""
VALUES_MAX = 128
BUCKETS_MAX = 1_400
"""Over this the lowest buckets become one: enough for values 1.3 billion times apart."""

_GROWTH = (1 + ACCURACY) / (1 - ACCURACY)
_LOG_GROWTH = math.log(_GROWTH)
_MIDDLE = 2 / (1 + _GROWTH)
_TINY = 1e-12
"""What is nearer to zero counts as zero where values are rounded."""


class ValueSketch:
    """What was measured: mutable, as one takes many values."""

    __slots__ = ("is_rounded", "least", "most", "samples", "total", "values")

    def __init__(self) -> None:
        self.is_rounded = False
        """Whether values are buckets' middles."""
        self.samples = 0.0
        self.total = 0.0
        self.least = math.inf
        self.most = -math.inf
        self.values: dict[float, float] = {}
        """How often each value came. Less than ``samples`` where only a summary was sent."""

    def add(self, value: float, count: float = 1.0) -> None:
        """Take a value that came ``count`` times."""
        value, count = float(value), float(count)
        self.samples += count
        self.total += value * count
        self.least = min(self.least, value)
        self.most = max(self.most, value)
        if self.is_rounded:
            value = _middle(value)
        self.values[value] = self.values.get(value, 0.0) + count
        if len(self.values) > (BUCKETS_MAX if self.is_rounded else VALUES_MAX):
            self._round()

    def add_rounded(
        self, value: float, count: float, total: float, least: float, most: float
    ) -> None:
        """Take ``count`` values that are all near ``value``, and of which the rest is exact."""
        before = self.total, self.least, self.most
        self.add(value, count)
        self.total = before[0] + total
        self.least, self.most = min(before[1], least), max(before[2], most)

    def add_summary(self, samples: float, total: float, least: float, most: float) -> None:
        """Take measurements of which only this is known. One sample is a value like any other."""
        if least == most:
            self.add(least, samples)
            return
        self.samples += samples
        self.total += total
        self.least = min(self.least, least)
        self.most = max(self.most, most)

    def merge(self, other: "ValueSketch") -> None:
        """Take all that another has."""
        self.samples += other.samples
        self.total += other.total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        for value, count in other.values.items():
            self.values[value] = self.values.get(value, 0.0) + count
        if self.is_rounded or other.is_rounded or len(self.values) > VALUES_MAX:
            self._round()

    def _round(self) -> None:
        self.is_rounded = True
        self.values = rounded(self.values)


def rounded(values: Mapping[float, float]) -> dict[float, float]:
    """Return the counts by buckets' middles, at most ``BUCKETS_MAX`` of them."""
    buckets: dict[float, float] = {}
    for value, count in values.items():
        middle = _middle(value)
        buckets[middle] = buckets.get(middle, 0.0) + count
    if len(buckets) <= BUCKETS_MAX:
        return buckets
    ordered = sorted(buckets)
    lowest, kept = ordered[: -BUCKETS_MAX + 1], ordered[-BUCKETS_MAX + 1 :]
    return {lowest[-1]: sum(buckets[one] for one in lowest)} | {one: buckets[one] for one in kept}


def _middle(value: float) -> float:
    size = abs(value)
    if size < _TINY:
        return 0.0
    # The small constant keeps a middle in its own bucket whatever the logarithm rounds to.
    bucket = math.ceil(math.log(size) / _LOG_GROWTH - 1e-9)
    return math.copysign(_MIDDLE * _GROWTH**bucket, value)


def percentile(values: Iterable[tuple[float, float]], percent: float) -> float:
    """Return the smallest value that ``percent`` of all are not over (the nearest rank).

    ``values`` are values and counts, by value, at least one. Worked number: of 1, 2, 3 and 4 once
    each, p50 is 2, p51 is 3 and p100 is 4.
    """
    pairs = list(values)
    wanted = sum(count for _, count in pairs) * percent / 100
    passed = 0.0
    for value, count in pairs:
        passed += count
        # Shares such as 0.1 + 0.2 must not fall short by a rounding.
        if passed >= wanted - 1e-9 * max(1.0, wanted):
            return value
    return pairs[-1][0]
