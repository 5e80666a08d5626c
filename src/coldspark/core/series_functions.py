"""Functions of one series over its time, as CloudWatch's metric math has them.

Worked, with a period of 60 s: of 10, 40, 30 a ``diff`` is 30, -10, a ``rate`` 0.5, -0.1667, and a
``running_sum`` 10, 50, 80.
"""

from itertools import pairwise
from typing import TypeAlias

Series: TypeAlias = dict[int, float]
"""Values by the begin of their period in milliseconds, in order."""


def diff(series: Series) -> Series:
    """Return how much more each value is than the one before it; the first has none."""
    return {at: series[at] - series[before] for before, at in pairwise(sorted(series))}


def rate(series: Series) -> Series:
    """Return the same per second that lies between."""
    return {
        at: (series[at] - series[before]) * 1_000 / (at - before)
        for before, at in pairwise(sorted(series))
    }


def running_sum(series: Series) -> Series:
    """Return the sum of each value and all before it, from the start of what is asked for."""
    total, sums = 0.0, {}
    for at in sorted(series):
        total += series[at]
        sums[at] = total
    return sums
