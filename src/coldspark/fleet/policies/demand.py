"""How many requests were open over the last minutes: means of a step function, in O(log n).

To record again what is open already changes no mean: however often it is read, it is the same.
"""

import math
from bisect import bisect_right

STEP_S = 1.0
"""Changes within a second are kept as one point: their integral is exact at its end."""


class DemandWindow:
    """The integral of open requests over time, as far back as ``horizon_s``."""

    def __init__(self, horizon_s: float) -> None:
        self._horizon_s = horizon_s
        self._times_s: list[float] = []
        self._sums: list[float] = []
        self._open = 0
        self._at_s = 0.0
        self._sum = 0.0
        self._noted_s = 0.0
        self.since_s = 0.0
        """Since when it was not silent for a whole horizon."""
        self.is_watched = False
        """A rule looks at it tick by tick: what it sees is demand, even where nothing is open."""

    @property
    def changed_s(self) -> float:
        """Return since when as many are open as now."""
        return self._at_s

    def is_steady(self, window_s: float, at_s: float) -> bool:
        """Return whether a window that ends then saw no change: its mean is what is open."""
        return max(at_s - window_s, self.since_s) >= self._at_s

    def record(self, open: int, now: float) -> None:
        """Take the number of open requests from ``now`` on."""
        if self._open == 0 and not self.is_watched and now - self._noted_s >= self._horizon_s:
            self.since_s = now
        self._noted_s = now
        if open == self._open:
            return
        self._sum += self._open * (now - self._at_s)
        self._at_s, self._open = now, open
        if self._times_s and now - self._times_s[-1] < STEP_S:
            return
        self._times_s.append(now)
        self._sums.append(self._sum)
        if self._times_s[len(self._times_s) // 2] < now - self._horizon_s:
            # The one before the horizon stays: it is where the oldest mean begins.
            keep_from = max(0, bisect_right(self._times_s, now - self._horizon_s) - 1)
            del self._times_s[:keep_from], self._sums[:keep_from]

    def mean(self, window_s: float, now: float) -> float:
        """Return the mean over the last ``window_s`` seconds, or over as many as there were."""
        begin_s = max(now - window_s, self.since_s)
        if begin_s >= self._at_s:
            return float(self._open)
        total = self._sum + self._open * (now - self._at_s)
        return (total - self._until(begin_s)) / (now - begin_s)

    def _until(self, at_s: float) -> float:
        """Return the integral until a moment in the past."""
        index = bisect_right(self._times_s, at_s) - 1
        if index < 0:
            return 0.0
        left_s, left = self._times_s[index], self._sums[index]
        if index + 1 < len(self._times_s):
            right_s, right = self._times_s[index + 1], self._sums[index + 1]
        else:
            right_s, right = self._at_s, self._sum
        if at_s >= right_s:
            return right + self._open * (at_s - right_s)
        return left + (right - left) * (at_s - left_s) / (right_s - left_s)


TICKS_MAX = 10_000
"""So many ticks at most are left for later: working them out takes milliseconds."""

_ROUNDING = 1e-3
"""Of a tick: what adding up so many of them may be off by, many times over."""


def ticks_before(next_s: float, tick_s: float, at_s: float) -> int:
    """Return how many ticks after the one at ``next_s`` surely come before a moment.

    One that falls on it does not: adding ticks up rounds. Worked number: of ticks at 0, 1, 2 and 3
    two come after the first and before 3.
    """
    return max(0, math.floor((at_s - next_s) / tick_s - _ROUNDING))


def resume_tick_s(next_s: float, tick_s: float, now: float) -> float:
    """Return where to go on: after a machine has slept for hours the ticks missed are skipped."""
    return now if now - next_s > 10 * TICKS_MAX * tick_s else next_s
