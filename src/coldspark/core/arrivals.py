"""How many requests come per second, lately: from two marks, set only while somebody waits.

A warm request pays nothing for it. After silence the older mark lies before the silence, so one
burst says little; a load that goes on has its marks one window apart.
"""

_Mark = tuple[float, int]
"""A moment, and how many had come by then."""
_LEAST_S = 1e-3
"""Two that came at once are no endless rate."""


class Arrivals:
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
