"""The replicas of one fleet, indexed so that a warm request scans none of them."""

from collections import Counter, OrderedDict
from collections.abc import Iterator

from coldspark.fleet.replica import Replica, ReplicaState
from coldspark.spec.types import ReplicaId, RevisionId

_STARTS = (ReplicaState.PLACING, ReplicaState.STARTING)
_LIVE = (*_STARTS, ReplicaState.READY)


class ReplicaIndex:
    """The replicas by id, state, free slot and idle time."""

    def __init__(self) -> None:
        self._all: dict[ReplicaId, Replica] = {}
        self._free: dict[ReplicaId, Replica] = {}
        self._idle: OrderedDict[ReplicaId, Replica] = OrderedDict()
        self.starting: dict[ReplicaId, Replica] = {}
        """Placing or starting, oldest first. Read only."""
        self.ready = 0
        """How many are ready. Read only."""
        self.failed_starts = 0
        """How many failed starts have processes that have not ended yet. Read only.

        Requests that waited for them fail when they have, with the end of their log.
        """
        self._live: dict[RevisionId, int] = {}
        self.parked: OrderedDict[ReplicaId, Replica] = OrderedDict()
        """Longest parked first. Read only."""

    def __iter__(self) -> Iterator[Replica]:
        return iter(list(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)

    def find(self, name: ReplicaId) -> Replica | None:
        """Return a replica that is not gone."""
        return self._all.get(name)

    def add(self, replica: Replica) -> None:
        """Add a replica that requests a reservation."""
        self._all[replica.id] = replica
        self.starting[replica.id] = replica
        self._live[replica.revision.id] = self.live_count(replica.revision.id) + 1

    def ready_replicas(self) -> list[Replica]:
        """Return the ready replicas."""
        return [r for r in self._all.values() if r.state is ReplicaState.READY]

    def live_count(self, revision: RevisionId) -> int:
        """Return how many of a revision are ready or starting."""
        return self._live.get(revision, 0)

    def fail_start(self, replica: Replica, reason: str) -> None:
        """Mark a start as failed by the platform itself; its process is to be ended."""
        assert replica.failed_start is None
        replica.failed_start = reason
        self.failed_starts += 1

    def mark_ready(self, replica: Replica, now: float) -> None:
        """Set a started replica ready."""
        replica.transition(ReplicaState.READY, now)
        replica.ready_s, replica.parked_s = now, None
        del self.starting[replica.id]
        self.ready += 1

    def mark_parked(self, replica: Replica, now: float) -> None:
        """Set a replica parked that was being parked, or is needed no more."""
        self._uncount(replica)
        replica.transition(ReplicaState.PARKED, now)
        replica.parked_s = now
        self.parked[replica.id] = replica

    def mark_placing(self, replica: Replica, now: float) -> None:
        """Set a parked replica that requests devices again placing."""
        del self.parked[replica.id]
        replica.transition(ReplicaState.PLACING, now)
        replica.requested_s = now
        self.add(replica)

    def take_out_of_service(self, replica: Replica, state: ReplicaState, now: float) -> None:
        """Move a replica to PARKING, DRAINING, STOPPING or GONE; it takes no more requests."""
        if replica.state is ReplicaState.READY:
            self.ready -= 1
            self._free.pop(replica.id, None)
            self.mark_busy(replica)
        self._uncount(replica)
        self.parked.pop(replica.id, None)
        replica.transition(state, now)
        if state is ReplicaState.GONE:
            del self._all[replica.id]
            self.failed_starts -= replica.failed_start is not None

    def _uncount(self, replica: Replica) -> None:
        """Remove a replica from the counts of ready and starting ones."""
        self.starting.pop(replica.id, None)
        if replica.state in _LIVE:
            revision = replica.revision.id
            self._live[revision] -= 1
            if not self._live[revision]:
                del self._live[revision]

    def mark_free(self, replica: Replica) -> None:
        """Record that a ready replica has a free slot."""
        self._free[replica.id] = replica

    def take_free(self) -> Replica | None:
        """Return the replica that was freed last: the others grow idle and can end.

        The caller marks it free again if it still has a free slot.
        """
        return self._free.popitem()[1] if self._free else None

    def take_free_for(self, target: str) -> Replica | None:
        """Return a free one that served the model before, else any free one."""
        for replica in reversed(self._free.values()):
            if target in replica.targets:
                return self._free.pop(replica.id)
        return self.take_free()

    def mark_idle(self, replica: Replica, now: float) -> None:
        """Start the idle clock of a replica that works on nothing."""
        if replica.idle_since_s is None:
            replica.idle_since_s = now
            self._idle[replica.id] = replica

    def mark_busy(self, replica: Replica) -> None:
        """Stop its idle clock."""
        self._idle.pop(replica.id, None)
        replica.idle_since_s = None

    def longest_idle(self) -> Replica | None:
        """Return the replica that has been idle longest."""
        return next(iter(self._idle.values()), None)

    def check(self) -> None:
        """Assert that every index agrees with the replicas."""
        ready = self.ready_replicas()
        assert self.ready == len(ready)
        assert set(self._idle) == {r.id for r in ready if not r.running}
        assert set(self._free) == {r.id for r in ready if r.has_free_slot}
        assert self.failed_starts == sum(
            1 for r in self._all.values() if r.failed_start is not None
        )
        live = Counter(r.revision.id for r in self._all.values() if r.state in _LIVE)
        assert self._live == dict(live)
        parked = {r.id for r in self._all.values() if r.state is ReplicaState.PARKED}
        assert set(self.parked) == parked
        assert set(self.starting) == {r.id for r in self._all.values() if r.state in _STARTS}
        for replica in self._all.values():
            assert replica.state is not ReplicaState.GONE
            assert len(replica.running) <= replica.slots
            assert not (replica.running and replica.state in _STARTS)
