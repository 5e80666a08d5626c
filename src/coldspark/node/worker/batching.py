"""When a batch is closed: pure, so the time is passed in. Seconds of one monotonic clock.

A free replica takes what waits as one batch, at most ``size_max``. It lingers for more only while
that pays:

- while fewer wait than there were requests when its last batch ended. Callers that were just
  answered are those that come again at once, so that number is halved for each ``wait_s`` since.
  A caller who is alone was the only one when the last batch ended, and so never waits;
- while the next may still be worth it: those that wait lose, together, the time until it comes,
  and it gains a batch's time, and whom it would make wait gains as much. So without a newcomer
  they wait for twice the last batch's time divided by their number;
- while it was not in vain lately. If less than half of the missing ones came, the next batch is
  closed at once, then the next 3, 7, 15: where callers come at random, nobody comes again;
- and never for longer than ``wait_s`` from when the replica was free and had one.

Worked number: 16 callers, batches of 6.6 ms. One of 15 ends while 1 waits, so 16 are expected,
and the first waits 5 ms at most. With 15 there, the last is waited for 2 * 6.6 / 15 = 0.88 ms.

Simulated, 5 ms + 0.1 ms for each of a batch, at most 16, wait 5 ms: 16 callers that come again
get 1,871 a second (1,339 without lingering); at random, 400 a second, p50 is 8.5 ms (8.0 without
lingering, 10.6 with the first and the last rule alone): ``python -m benchmarks.batch_rule``.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

_WORTH = 2.0
_SKIPS_MAX = 15
_HALVINGS_MAX = 64


class BatchQueue(Generic[T]):
    """What waits for a batch, oldest first. The router's slots bound it.

    ``delay_s`` and ``take`` are for when no batch runs; each ``take`` is followed by an ``ended``.
    """

    def __init__(self, size_max: int, wait_s: float) -> None:
        assert size_max >= 1
        assert wait_s >= 0.0
        self._size_max = size_max
        self._wait_s = wait_s
        self._waiting: deque[tuple[T, float]] = deque()
        self._linger = _Linger()
        self._size = 0
        """Of the batch that runs, or ran last."""
        self._taken_s = 0.0
        self._batch_s = 0.0
        """How long the last batch ran."""
        self._ended_s = 0.0
        self._present = 0
        """Requests there were when the last batch ended, its own included."""

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def add(self, item: T, now_s: float) -> None:
        """Let one more wait."""
        self._waiting.append((item, now_s))

    def drop(self, item: T) -> None:
        """Forget one whose caller is gone; one that does not wait is left alone."""
        for index, (waiting, _) in enumerate(self._waiting):
            if waiting is item:
                del self._waiting[index]
                return

    def delay_s(self, now_s: float) -> float | None:
        """Return when to ask again, unless one comes first; 0.0: take now. None: none waits."""
        count = len(self._waiting)
        if not count:
            return None
        passed = int(max(0.0, now_s - self._ended_s) / self._wait_s) if self._wait_s else 0
        wanted = min(self._size_max, self._present >> min(passed, _HALVINGS_MAX))
        if count >= wanted or not self._wait_s or self._linger.is_skipped:
            return 0.0
        end_s = min(
            max(self._waiting[0][1], self._ended_s) + self._wait_s,
            max(self._waiting[-1][1], self._ended_s) + _WORTH * self._batch_s / count,
        )
        if now_s >= end_s:
            return 0.0
        self._linger.begin(count, wanted)
        halved_s = self._ended_s + (passed + 1) * self._wait_s
        return max(0.0, min(end_s, halved_s) - now_s)

    def take(self, now_s: float) -> list[T]:
        """Close the batch: return the oldest that wait, at most ``size_max``."""
        self._linger.end(len(self._waiting))
        self._size = min(self._size_max, len(self._waiting))
        self._taken_s = now_s
        return [self._waiting.popleft()[0] for _ in range(self._size)]

    def ended(self, now_s: float) -> None:
        """Note that the batch is done: all of it was answered."""
        self._batch_s = max(0.0, now_s - self._taken_s)
        self._ended_s = now_s
        self._present = self._size + len(self._waiting)


class _Linger:
    """Whether lingering was in vain lately, and for how many batches it is left out."""

    def __init__(self) -> None:
        self._begun: tuple[int, int] | None = None
        """How many waited when it began, and how many were wanted."""
        self._skips = 0
        self._penalty = 0

    @property
    def is_skipped(self) -> bool:
        """Return whether this batch does without."""
        return self._skips > 0

    def begin(self, count: int, wanted: int) -> None:
        """Note what is there and what is hoped for, when it begins."""
        if self._begun is None:
            self._begun = (count, wanted)

    def end(self, count: int) -> None:
        """Judge it when the batch is closed."""
        if self._begun is None:
            self._skips = max(0, self._skips - 1)
            return
        began, wanted = self._begun
        self._begun = None
        if 2 * (count - began) < wanted - began:
            self._penalty = min(_SKIPS_MAX, 2 * self._penalty + 1)
            self._skips = self._penalty
        else:
            self._penalty //= 2
