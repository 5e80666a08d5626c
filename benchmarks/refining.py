"""Where to play another setting: in the steps of one side's sweeps into which the other's fall.

Both sides are refined alike, in turns: where a setting of the other side that none beats costs less
than ``OVER`` of ours that wait as little, and lies between two neighbours of a sweep, of which one
waits less and the other costs less, the setting between those is played: their geometric mean. The
setting that is worst off comes first.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf, sqrt

from benchmarks.regrets import WAIT_TOLERANCE_S, WAITS, Point, frontier
from benchmarks.swept import Setting, Sweep

OVER = 1.05
"""What costs less than so much more, as a factor, is not refined."""
_STEP_LEAST = 1.02
"""Two neighbours are not moved closer than so much, as a factor of the knob."""


class Side:
    """The settings of one side, and what was played of them."""

    def __init__(self, sweeps: Sequence[Sweep]) -> None:
        self._sweeps = [(sweep, sorted(sweep.values)) for sweep in sweeps]
        self._points: dict[Setting, Point] = {}
        self.refined = 0
        """How many were added."""

    @property
    def settings(self) -> list[Setting]:
        """Return all settings there are."""
        return [sweep.of(value) for sweep, values in self._sweeps for value in values]

    @property
    def points(self) -> list[Point]:
        """Return what was played."""
        return list(self._points.values())

    def unplayed(self) -> list[Setting]:
        """Return the settings whose points are not known."""
        return [each for each in self.settings if each not in self._points]

    def learn(self, setting: Setting, point: Point) -> None:
        """Take what came of a setting."""
        self._points[setting] = point

    def on_frontier(self) -> list[Setting]:
        """Return the settings that no other of this side beats, in either wait."""
        kept = {each.setting for wait in WAITS for each in frontier(self.points, wait)}
        return [setting for setting in self._points if setting.name in kept]

    def refine(self, rivals: Sequence[Point]) -> bool:
        """Add the setting that the rivals' settings ask for most; False: none does."""
        asked = [each for wait in WAITS for each in self._asked(frontier(rivals, wait), wait)]
        if not asked:
            return False
        _, _, index, value = max(asked)
        values = self._sweeps[index][1]
        values.append(value)
        values.sort()
        self.refined += 1
        return True

    def _asked(
        self, rivals: Sequence[Point], wait: str
    ) -> Iterator[tuple[float, float, int, float]]:
        """Yield (how much dearer, the least cost around it as a negative, whose sweep, a value)."""
        for rival in rivals:
            limit_s = getattr(rival, wait) + WAIT_TOLERANCE_S
            fast = [each.held_s for each in self.points if getattr(each, wait) <= limit_s]
            over = min(fast, default=inf) / rival.held_s
            if over <= OVER:
                continue
            for index, (sweep, values) in enumerate(self._sweeps):
                for low, high in pairwise(values):
                    points = self._points[sweep.of(low)], self._points[sweep.of(high)]
                    quick, slow = sorted(points, key=lambda each: float(getattr(each, wait)))
                    is_between = getattr(quick, wait) <= limit_s < getattr(slow, wait)
                    if is_between and slow.held_s < OVER * rival.held_s < quick.held_s:
                        value = sqrt(low * high) if low else high / 2
                        if value > low * sqrt(_STEP_LEAST):
                            yield over, -quick.held_s, index, value
