"""How long a fleet's n-th replica goes unneeded: measured by concurrency level, in log-scaled bins.

The n-th concurrency level is up while more than ``(n - 1) * c`` requests are open, with c slots per
replica. An idle interval of a level is the time from its going down to its coming up again: exactly
the time over which an n-th replica would idle. Each level has its own distribution, so a rare peak
does not teach how long to keep the replica that serves the daily trickle.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

INTERVAL_MIN_S = 1.0
"""Shorter intervals are not counted: no replica is ended within one."""
BINS_PER_OCTAVE = 4
OCTAVES = 20
"""Up to 2**20 seconds: twelve days. The last bin takes longer ones as well."""
BINS = BINS_PER_OCTAVE * OCTAVES
LEVELS_MAX = 32
"""Higher levels share one distribution."""
_WEIGHT_MAX = 256.0
"""Older intervals count half, each time so many were added: what was true last week fades."""
_STEP = 2.0 ** (1.0 / BINS_PER_OCTAVE)

EDGES_S: tuple[float, ...] = (0.0, *(INTERVAL_MIN_S * _STEP**i for i in range(BINS + 1)))
"""Bin i holds the intervals from ``EDGES_S[i]`` to ``EDGES_S[i + 1]``."""
_PRIOR_WEIGHT = 2.0
_PRIOR_ENDS = 1.0 - 1.0 / _STEP


class IdleIntervals:
    """The measured idle intervals of one level."""

    def __init__(self) -> None:
        self._counts = [0.0] * (BINS + 1)
        self.weight = 0.0
        """How many intervals were measured, the older ones counted less."""
        self.measured = 0
        self._up_s = 0.0

    def add(self, idle_s: float, up_s: float = 0.0) -> None:
        """Add an interval, unless too short to count, and how long the level was up before."""
        if idle_s < INTERVAL_MIN_S:
            return
        self._up_s += up_s
        self._counts[min(BINS, bisect_right(EDGES_S, idle_s) - 1)] += 1.0
        self.weight += 1.0
        self.measured += 1
        if self.weight > _WEIGHT_MAX:
            self._counts = [0.5 * count for count in self._counts]
            self.weight *= 0.5
            self._up_s *= 0.5

    def busy_mean_s(self, prior_s: float) -> float:
        """Return the mean time for which the level is up between two intervals, with a prior.

        Worked number: ups of 3 s and 5 s beside a prior of 1 s give (3 + 5 + 2) / 4 = 2.5 s.
        """
        return (self._up_s + _PRIOR_WEIGHT * prior_s) / (self.weight + _PRIOR_WEIGHT)

    def end_probabilities(self) -> list[float]:
        """Return, for each bin, the chance that an interval that reached it ends within it.

        Beside the measured intervals stand two prior ones whose chance to have lasted t falls as
        1/t: with those alone, keeping a replica for what a wake costs is best, as in the ski rental
        problem. Worked number: no interval measured gives 1 - 2**(-1/4) = 0.159 per bin.
        """
        found: list[float] = []
        left = self.weight
        for count in self._counts:
            found.append((count + _PRIOR_WEIGHT * _PRIOR_ENDS) / (left + _PRIOR_WEIGHT))
            left = max(0.0, left - count)
        found[0] = 0.0
        return found


class ConcurrencyLevels:
    """The demand of one fleet by concurrency level, and the idle intervals of each."""

    def __init__(self) -> None:
        self.current = 0
        """How many replicas the open requests fill now. Read only."""
        self.rises_above = 0.0
        """With more open requests than this, the level rises. Read only."""
        self.falls_at = -1.0
        """With so few, it falls. Read only."""
        self.listener: Callable[[int, float], None] | None = None
        """Called with every interval and its level; those below ``INTERVAL_MIN_S`` too."""
        self.began_s: float | None = None
        """When the first level came up first. Read only."""
        self._down_since_s: list[float] = [float("-inf")]
        """By level; those above it were never up."""
        self._up_since_s: list[float] = [float("-inf")]
        """By level: when its last counted interval ended."""
        self._intervals: list[IdleIntervals] = [IdleIntervals()]

    def measure(self, open: int, slots: int, level_max: int, now: float) -> None:
        """Record how many are open, when above ``rises_above`` or not above ``falls_at``."""
        level, down = self.current, self._down_since_s
        if self.began_s is None and open:
            self.began_s = now
        while open > level * slots and level < level_max:
            level += 1
            if level == len(down):
                down.append(now)
                self._up_since_s.append(now)
                continue
            idle_s = now - down[level]
            if idle_s >= INTERVAL_MIN_S:
                self.intervals(level).add(idle_s, down[level] - self._up_since_s[level])
                self._up_since_s[level] = now
            if self.listener is not None:
                self.listener(level, idle_s)
        while open <= (level - 1) * slots and level:
            down[level] = now
            level -= 1
        self.current = level
        self.rises_above = float(level * slots) if level < level_max else float("inf")
        self.falls_at = float((level - 1) * slots)

    def intervals(self, level: int) -> IdleIntervals:
        """Return the idle intervals of a level (from 1)."""
        index = min(level, LEVELS_MAX)
        while index >= len(self._intervals):
            self._intervals.append(IdleIntervals())
        return self._intervals[index]

    @property
    def highest(self) -> int:
        """Return the highest level that was ever up, 0 when none was."""
        return len(self._down_since_s) - 1

    def idle_since_s(self, level: int) -> float | None:
        """Return since when a level is not needed; None when it is, or never was."""
        if level <= self.current or level >= len(self._down_since_s):
            return None
        return self._down_since_s[level]

    def idle_since(self) -> Sequence[float]:
        """Return since when each level above the present one is not needed, lowest first."""
        return self._down_since_s[self.current + 1 :]

    def check(self) -> None:
        """Assert that a higher level went down no later than those below it."""
        down = self.idle_since()
        assert all(high <= low for low, high in pairwise(down))
