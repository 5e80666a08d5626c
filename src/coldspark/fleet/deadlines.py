"""Moments by name, the next one first. Adding, dropping and asking for the next are O(log n)."""

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

NEVER = float("inf")
_STALE_MAX = 64

Name = TypeVar("Name", bound=str)


class Deadlines(Generic[Name]):
    """The deadline of each name.

    What was dropped stays in the heap until its turn comes, or until the heap is rebuilt because
    most of it is stale: it never holds more than ``64 + 2n`` entries.
    """

    def __init__(self) -> None:
        self._at_s: dict[Name, float] = {}
        self._heap: list[tuple[float, Name]] = []

    def __len__(self) -> int:
        return len(self._at_s)

    def __iter__(self) -> Iterator[Name]:
        return iter(self._at_s)

    def __contains__(self, name: Name) -> bool:
        return name in self._at_s

    def add(self, name: Name, at_s: float) -> None:
        """Set the deadline of a name."""
        self._at_s[name] = at_s
        heapq.heappush(self._heap, (at_s, name))

    def remove(self, name: Name) -> None:
        """Forget a name, if it is there."""
        self._at_s.pop(name, None)
        if len(self._heap) > _STALE_MAX + 2 * len(self._at_s):
            self._heap = [(at_s, name) for name, at_s in self._at_s.items()]
            heapq.heapify(self._heap)

    def next_s(self) -> float:
        """Return the next deadline."""
        heap = self._heap
        while heap:
            at_s, name = heap[0]
            if self._at_s.get(name) == at_s:
                return at_s
            heapq.heappop(heap)
        return NEVER

    def due(self, now: float) -> Iterator[Name]:
        """Remove and yield the names whose deadline has passed, the longest overdue first."""
        while self.next_s() <= now:
            name = heapq.heappop(self._heap)[1]
            self.remove(name)
            yield name

    def check(self) -> None:
        """Assert that no moment is lost and that the heap is bounded."""
        assert self._at_s.items() <= {(name, at_s) for at_s, name in self._heap}
        assert len(self._heap) <= _STALE_MAX + 2 * len(self._at_s)
