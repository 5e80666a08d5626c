"""A bounded window of measurements, and its quantiles."""

from collections import deque


class Samples:
    """The latest ``size`` measurements of one quantity, in seconds."""

    def __init__(self, size: int = 32) -> None:
        self._values: deque[float] = deque(maxlen=size)
        self._ordered: list[float] | None = None
        """Sorted when asked for: a start is asked for far oftener than it is measured."""
        self.taken = 0
        """How many were ever taken."""

    def add(self, value_s: float) -> None:
        """Add a measurement; the oldest is dropped."""
        self._values.append(value_s)
        self._ordered = None
        self.taken += 1

    def mean(self) -> float | None:
        """Return the mean, or None while nothing was measured."""
        return sum(self._values) / len(self._values) if self._values else None

    def quantile(self, share: float) -> float | None:
        """Return the nearest-rank quantile, or None while nothing was measured."""
        if not self._values:
            return None
        if self._ordered is None:
            self._ordered = sorted(self._values)
        ordered = self._ordered
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


_Mark = tuple[float, int]
"""A moment, and how many had come by then."""
_LEAST_S = 1e-3
"""Two that came at once are no endless rate."""


class ArrivalRate:
    """The rate over one to two windows, or since before the last silence."""

    def __init__(self) -> None:
        self._old: _Mark | None = None
        self._new: _Mark = (0.0, 0)

    def per_s(self, came: int, window_s: float, now: float) -> float:
        """Return requests per second, with ``came`` in all until now.

        Worked number: asked at 0 s with 1, at 10 s with 41 and at 15 s with 61, the window is 10 s:
        0, then 40/10 = 4, then 60/15 = 4.
        """
        if self._old is None:
            self._old = self._new = (now, came)
        elif now - self._new[0] >= window_s:
            self._old, self._new = self._new, (now, came)
        since_s, before = self._old
        passed_s = max(window_s, now - since_s, _LEAST_S)
        return max(0.0, (came - before) / passed_s)
