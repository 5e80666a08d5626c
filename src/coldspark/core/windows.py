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
        """Take a measurement; the oldest falls out."""
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
