"""Request counters for Prometheus: plain integers, read when somebody asks for metrics."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from coldspark.spec.types import EndpointName
from coldspark.spec.waterfall import Waterfall

WAKE_BUCKETS_S = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
NO_ENDPOINT = EndpointName("")


class RequestCounters:
    """Replies since the process began. One per server."""

    def __init__(self) -> None:
        self.requests: dict[tuple[EndpointName, int], int] = {}
        """Answers by endpoint and status; the name is empty where no endpoint was found."""
        self.wakes = [0] * (len(WAKE_BUCKETS_S) + 1)
        """Cold requests by how long they waited for a start; the last has no upper bound."""
        self.wake_s_sum = 0.0
        self.other_processes: Callable[[], Sequence[RequestCounters]] = tuple
        """What other processes of the server have counted."""

    def total(self) -> "RequestCounters":
        """Return the counts of the whole server."""
        total = RequestCounters()
        for each in (self, *self.other_processes()):
            for key, count in each.requests.items():
                total.requests[key] = total.requests.get(key, 0) + count
            total.wakes = [a + b for a, b in zip(total.wakes, each.wakes, strict=True)]
            total.wake_s_sum += each.wake_s_sum
        return total

    def count_reply(self, endpoint: EndpointName, status: int) -> None:
        """Count one answer."""
        key = (endpoint, status)
        self.requests[key] = self.requests.get(key, 0) + 1

    def count_wake(self, waterfall: Waterfall) -> None:
        """Count one request that waited for a start."""
        wake_us = waterfall.placed_us + waterfall.fetched_us
        wake_us += waterfall.booted_us + waterfall.loaded_us
        self.wakes[bisect_left(WAKE_BUCKETS_S, wake_us / 1e6)] += 1
        self.wake_s_sum += wake_us / 1e6
