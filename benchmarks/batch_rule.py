"""When batches are closed, in virtual time: ``python -m benchmarks.batch_rule``.

A device that takes 5 ms and 0.1 ms for each request of a batch (at most 16) serves callers who
come again 0.4 ms or more after their answer, or ones who come at random. Beside the worker's own
rule: no lingering, and lingering that learns nothing (5 ms while fewer wait than were there).
"""

import heapq
import random
import statistics
from collections.abc import Iterator
from itertools import count

from coldspark.node.worker.batching import BatchQueue

_SIZE_MAX, _WAIT_S = 16, 0.005
_FIXED_S, _EACH_S, _SPREAD = 0.005, 0.0001, (0.97, 1.1)
_THINK_S = 0.0008
_LASTS_S = 20.0
CALLERS = (1, 2, 4, 8, 16, 24, 64)
RATES = (50, 200, 400, 800, 1_500)


class Eager(BatchQueue[int]):
    """Waits for all that were there, whatever came of it the last time."""

    def delay_s(self, now_s: float) -> float | None:
        """Return when to ask again."""
        if not self._waiting or not self._wait_s:
            return 0.0 if self._waiting else None
        wanted = min(self._size_max, self._present)
        end_s = max(self._waiting[0][1], self._ended_s) + self._wait_s
        return 0.0 if len(self._waiting) >= wanted else max(0.0, end_s - now_s)


class Run:
    """One device, and those who ask it: ``callers`` who come again, or ``rate`` a second."""

    def __init__(self, gathering: BatchQueue[int], callers: int = 0, rate: float = 0.0) -> None:
        self._gathering = gathering
        self._rate = rate
        self._random = random.Random(1)
        self._events: list[tuple[float, int, str]] = []
        self._order = count()
        self._born: dict[int, float] = {}
        self._running: list[int] = []
        self.latencies_s: list[float] = []
        self.sizes: list[int] = []
        for _ in range(callers):
            self._at(self._random.uniform(0, 0.01), "arrive")
        if rate:
            self._at(self._random.expovariate(rate), "arrive")

    def play(self) -> "Run":
        """Let the time pass."""
        while self._events[0][0] < _LASTS_S:
            now_s, number, what = heapq.heappop(self._events)
            if what == "arrive":
                self._born[number] = now_s
                self._gathering.add(number, now_s)
                if self._rate:
                    self._at(now_s + self._random.expovariate(self._rate), "arrive")
            elif what == "end":
                self._end(now_s)
            self._look(now_s)
        return self

    def _end(self, now_s: float) -> None:
        self._gathering.ended(now_s)
        for number in self._running:
            self.latencies_s.append(now_s - self._born.pop(number))
            if not self._rate:
                again_s = (1 + self._random.expovariate(1.0)) * _THINK_S / 2
                self._at(now_s + again_s, "arrive")
        self._running = []

    def _look(self, now_s: float) -> None:
        delay_s = None if self._running else self._gathering.delay_s(now_s)
        if delay_s == 0.0:
            self._running = self._gathering.take(now_s)
            self.sizes.append(len(self._running))
            fixed_s = _FIXED_S * self._random.uniform(*_SPREAD)
            self._at(now_s + fixed_s + _EACH_S * len(self._running), "end")
        elif delay_s is not None:
            self._at(now_s + delay_s + 1e-7, "look")

    def _at(self, moment_s: float, what: str) -> None:
        heapq.heappush(self._events, (moment_s, next(self._order), what))


def _rows(callers: int, rate: float) -> Iterator[str]:
    rules = {
        "no lingering": BatchQueue[int](_SIZE_MAX, 0.0),
        "learns nothing": Eager(_SIZE_MAX, _WAIT_S),
        "the worker's": BatchQueue[int](_SIZE_MAX, _WAIT_S),
    }
    for name, gathering in rules.items():
        run = Run(gathering, callers, rate).play()
        run.latencies_s.sort()
        p50, p99 = (run.latencies_s[int(len(run.latencies_s) * q)] * 1e3 for q in (0.5, 0.99))
        yield (
            f"  {name:15} {len(run.latencies_s) / _LASTS_S:6.0f}/s  p50 {p50:5.2f} ms"
            f"  p99 {p99:5.2f} ms  batches of {statistics.mean(run.sizes):4.1f}"
        )


def main() -> None:
    """Print all."""
    for callers in CALLERS:
        print(f"{callers} callers who come again", *_rows(callers, 0.0), sep="\n")
    for rate in RATES:
        print(f"{rate} a second, at random", *_rows(0, rate), sep="\n")


if __name__ == "__main__":
    main()
