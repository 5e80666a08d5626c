"""The requests of one fleet: their order, the replica that runs each, and their deadlines."""

from collections import OrderedDict
from collections.abc import Iterator

from msgspec import Struct

from coldspark.fleet.deadlines import Deadlines
from coldspark.fleet.replica import Replica
from coldspark.spec.types import RequestId


class OpenRequest(Struct, eq=False):
    """One request whose caller is connected. A Struct, as one is made for every request."""

    arrived_s: float
    deadline_s: float
    size_bytes: int
    target: str | None = None
    replica: Replica | None = None
    """The replica that runs it; None while it waits."""
    forwarded_s: float = 0.0
    run_s: float | None = None
    """How long it may run; None: the deadline from its arrival on holds."""


class RequestQueue:
    """Every request from arrival to its end; no call scans requests it does not concern."""

    def __init__(self) -> None:
        self.opened: dict[RequestId, OpenRequest] = {}
        """Those that wait or run. Read only."""
        self._queue: OrderedDict[RequestId, OpenRequest] = OrderedDict()
        self._deadlines: Deadlines[RequestId] = Deadlines()
        self._aborting: dict[RequestId, Replica] = {}
        # Of those being aborted; one that is not in here any more is overdue.
        self._abort_limits: Deadlines[RequestId] = Deadlines()
        self.queued_bytes = 0
        self.run_limited = 0
        """Open requests whose deadline moves when a replica takes them."""

    @property
    def queued(self) -> int:
        """Return how many wait."""
        return len(self._queue)

    @property
    def open(self) -> int:
        """Return how many wait or run."""
        return len(self.opened)

    @property
    def oldest(self) -> OpenRequest | None:
        """Return the request that has waited longest."""
        return next(iter(self._queue.values()), None)

    def add(self, name: RequestId, request: OpenRequest) -> None:
        """Add a new request."""
        assert name not in self.opened
        assert name not in self._aborting
        self.opened[name] = request
        self._deadlines.add(name, request.deadline_s)
        if request.run_s is not None:
            self.run_limited += 1

    def set_deadline(self, name: RequestId, deadline_s: float) -> None:
        """Move the deadline of a request that a replica takes now."""
        self.opened[name].deadline_s = deadline_s
        self._deadlines.add(name, deadline_s)

    def enqueue(self, name: RequestId) -> None:
        """Put a request at the end of the queue."""
        request = self.opened[name]
        self._queue[name] = request
        self.queued_bytes += request.size_bytes

    def dequeue(self) -> tuple[RequestId, OpenRequest]:
        """Take the first request out of the queue."""
        name, request = self._queue.popitem(last=False)
        self.queued_bytes -= request.size_bytes
        return name, request

    def find(self, name: RequestId) -> OpenRequest | None:
        """Return an open request."""
        return self.opened.get(name)

    def finish(self, name: RequestId) -> OpenRequest | None:
        """Remove a request that its replica has finished; None when it was not open."""
        self._deadlines.remove(name)
        request = self.opened.pop(name, None)
        if request is not None and request.run_s is not None:
            self.run_limited -= 1
        return request

    def abort(self, name: RequestId, give_up_by_s: float) -> Replica | None:
        """Remove a request that has failed; return the replica that must abort it."""
        request = self.opened.pop(name)
        self._deadlines.remove(name)
        if request.run_s is not None:
            self.run_limited -= 1
        if request.replica is None:
            del self._queue[name]
            self.queued_bytes -= request.size_bytes
            return None
        self._aborting[name] = request.replica
        self._abort_limits.add(name, give_up_by_s)
        return request.replica

    def complete_abort(self, name: RequestId) -> Replica | None:
        """Remove an aborted request that its replica has released; return the replica."""
        self._abort_limits.remove(name)
        return self._aborting.pop(name, None)

    def clear_queue(self) -> list[RequestId]:
        """Remove all waiting requests; return them in order."""
        names = list(self._queue)
        for name in names:
            if self.opened.pop(name).run_s is not None:
                self.run_limited -= 1
            self._deadlines.remove(name)
        self._queue.clear()
        self.queued_bytes = 0
        return names

    def expired(self, now: float) -> Iterator[tuple[RequestId, OpenRequest]]:
        """Yield open requests whose deadline has passed. The caller drops each."""
        for name in self._deadlines.due(now):
            yield name, self.opened[name]

    def overdue_replicas(self, now: float) -> list[Replica]:
        """Return, once each, replicas that should have aborted a request by now."""
        late = [self._aborting[name] for name in self._abort_limits.due(now)]
        return list({replica.id: replica for replica in late}.values())

    def is_stuck(self, replica: Replica) -> bool:
        """Return whether all that a replica runs was aborted, and it is overdue."""
        return bool(replica.running) and all(
            name in self._aborting and name not in self._abort_limits for name in replica.running
        )

    def next_s(self) -> float:
        """Return the next moment when a deadline passes, or an overdue replica is to be ended."""
        next_s = self._deadlines.next_s()
        return min(next_s, self._abort_limits.next_s()) if self._aborting else next_s

    def check(self, replicas: list[Replica]) -> None:
        """Assert that queue and replicas agree on which runs which request."""
        held = {name for replica in replicas for name in replica.running}
        running = {name for name, request in self.opened.items() if request.replica is not None}
        assert held == running | self._aborting.keys()
        assert not running & self._aborting.keys()
        assert set(self._queue) == self.opened.keys() - running
        assert self.queued_bytes == sum(request.size_bytes for request in self._queue.values())
        assert len(self._deadlines) == len(self.opened)
        timed = [request for request in self.opened.values() if request.run_s is not None]
        assert self.run_limited == len(timed)
        assert all(name in self._deadlines for name in self.opened)
        assert all(name in self._aborting for name in self._abort_limits)
        self._deadlines.check()
        self._abort_limits.check()
