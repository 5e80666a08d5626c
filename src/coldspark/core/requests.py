"""The requests of one fleet: who waits, in which order, who runs where, and when each must end."""

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from coldspark.core.replicas import Replica
from coldspark.core.types import RequestId

NEVER = float("inf")
_STALE_MAX = 64


@dataclass(slots=True)
class Request:
    """One request that its caller holds open."""

    arrived_s: float
    deadline_s: float
    size_bytes: int
    replica: Replica | None = None
    """Who works on it; None while it waits."""
    forwarded_s: float = 0.0


class RequestBook:
    """Every request from arrival to its end. All calls but ``expired`` and ``overdue`` are O(1)."""

    def __init__(self) -> None:
        self._open: dict[RequestId, Request] = {}
        self._queue: OrderedDict[RequestId, Request] = OrderedDict()
        self._deadlines: list[tuple[float, RequestId]] = []
        self._aborting: dict[RequestId, tuple[Replica, float]] = {}
        self.queued_bytes = 0

    @property
    def queued(self) -> int:
        """Return how many wait."""
        return len(self._queue)

    @property
    def open(self) -> int:
        """Return how many wait or run."""
        return len(self._open)

    @property
    def first(self) -> Request | None:
        """Return the one that has waited longest."""
        return next(iter(self._queue.values()), None)

    def add(self, name: RequestId, request: Request) -> None:
        """Take a new request."""
        assert name not in self._open
        assert name not in self._aborting
        self._open[name] = request
        heapq.heappush(self._deadlines, (request.deadline_s, name))
        if len(self._deadlines) > _STALE_MAX + 2 * len(self._open):
            self._deadlines = [entry for entry in self._deadlines if entry[1] in self._open]
            heapq.heapify(self._deadlines)

    def wait(self, name: RequestId) -> None:
        """Put a request at the end of the queue."""
        request = self._open[name]
        self._queue[name] = request
        self.queued_bytes += request.size_bytes

    def next(self) -> tuple[RequestId, Request]:
        """Take the first request out of the queue."""
        name, request = self._queue.popitem(last=False)
        self.queued_bytes -= request.size_bytes
        return name, request

    def find(self, name: RequestId) -> Request | None:
        """Return an open request."""
        return self._open.get(name)

    def finish(self, name: RequestId) -> Request | None:
        """Forget a request that its replica is done with; None when it was not open."""
        return self._open.pop(name, None)

    def drop(self, name: RequestId, give_up_by_s: float) -> Replica | None:
        """Forget a request that was answered otherwise; return the replica that must give it up."""
        request = self._open.pop(name)
        if request.replica is None:
            del self._queue[name]
            self.queued_bytes -= request.size_bytes
            return None
        self._aborting[name] = (request.replica, give_up_by_s)
        return request.replica

    def given_up(self, name: RequestId) -> Replica | None:
        """Forget a dropped request that its replica has let go of; return the replica."""
        aborting = self._aborting.pop(name, None)
        return None if aborting is None else aborting[0]

    def clear_queue(self) -> list[RequestId]:
        """Forget all who wait; return them in order."""
        names = list(self._queue)
        for name in names:
            del self._open[name]
        self._queue.clear()
        self.queued_bytes = 0
        return names

    def expired(self, now: float) -> Iterator[tuple[RequestId, Request]]:
        """Yield open requests whose deadline has passed. The caller drops each."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, name = heapq.heappop(self._deadlines)
            request = self._open.get(name)
            if request is not None:
                yield name, request

    def overdue(self, now: float) -> list[Replica]:
        """Return, once each, replicas that should have given up a dropped request by now."""
        late = [name for name, (_, until_s) in self._aborting.items() if until_s <= now]
        for name in late:
            self._aborting[name] = (self._aborting[name][0], NEVER)
        return list({id(r): r for r in (self._aborting[name][0] for name in late)}.values())

    def is_stuck(self, replica: Replica) -> bool:
        """Return whether all that a replica works on was dropped, and it is overdue."""
        dropped = [self._aborting.get(name) for name in replica.running]
        return bool(dropped) and all(entry is not None and entry[1] == NEVER for entry in dropped)

    def next_s(self) -> float:
        """Return the next moment when a deadline passes, or an overdue replica must be dealt with.

        It may be early (the heap keeps ended requests for a while), never late.
        """
        next_s = self._deadlines[0][0] if self._deadlines else NEVER
        if self._aborting:
            next_s = min(next_s, min(until_s for _, until_s in self._aborting.values()))
        return next_s

    def check(self, replicas: list[Replica]) -> None:
        """Assert that book and replicas agree on who runs where."""
        held = {name for replica in replicas for name in replica.running}
        running = {name for name, request in self._open.items() if request.replica is not None}
        assert held == running | self._aborting.keys()
        assert not running & self._aborting.keys()
        assert set(self._queue) == self._open.keys() - running
        assert self.queued_bytes == sum(request.size_bytes for request in self._queue.values())
