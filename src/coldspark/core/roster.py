"""The replicas of one fleet, indexed so that a warm request scans none of them."""

from collections import OrderedDict
from collections.abc import Iterator

from coldspark.core.replicas import Replica, ReplicaState
from coldspark.core.types import ReplicaId, RevisionId

_STARTS = (ReplicaState.PLACING, ReplicaState.STARTING)
_LIVE = (*_STARTS, ReplicaState.READY)


class Roster:
    """Who there is, who is ready, who has a free slot, who idles since when."""

    def __init__(self) -> None:
        self._all: dict[ReplicaId, Replica] = {}
        self._free: list[Replica] = []
        self._idle: OrderedDict[ReplicaId, Replica] = OrderedDict()
        self.starting: dict[ReplicaId, Replica] = {}
        """Placing or starting, oldest first. Read only."""
        self.ready = 0
        """How many take requests. Read only."""

    def __iter__(self) -> Iterator[Replica]:
        return iter(list(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)

    def find(self, name: ReplicaId) -> Replica | None:
        """Return a replica that is not gone."""
        return self._all.get(name)

    def add(self, replica: Replica) -> None:
        """Take a replica that asks for room."""
        self._all[replica.id] = replica
        self.starting[replica.id] = replica

    def ready_ones(self) -> list[Replica]:
        """Return those that take requests."""
        return [r for r in self._all.values() if r.state is ReplicaState.READY]

    def live(self, revision: RevisionId) -> int:
        """Return how many of a revision are ready or on their way."""
        return sum(1 for r in self._all.values() if r.revision.id == revision and r.state in _LIVE)

    def failing(self) -> int:
        """Return how many starts were given up whose processes have not ended yet.

        Those who waited for them are told when they have, with the end of their log.
        """
        return sum(1 for replica in self._all.values() if replica.failed_start is not None)

    def become_ready(self, replica: Replica, now: float) -> None:
        """Let a started replica take requests."""
        replica.move(ReplicaState.READY, now)
        replica.ready_s = now
        del self.starting[replica.id]
        self.ready += 1

    def leave(self, replica: Replica, state: ReplicaState, now: float) -> None:
        """Move a replica to DRAINING, STOPPING or GONE; it takes no more requests."""
        if replica.state is ReplicaState.READY:
            self.ready -= 1
            self._idle.pop(replica.id, None)
            replica.idle_since_s = None
        self.starting.pop(replica.id, None)
        replica.move(state, now)
        if state is ReplicaState.GONE:
            del self._all[replica.id]

    def offer(self, replica: Replica) -> None:
        """Note that a ready replica has a free slot."""
        if not replica.is_offered:
            replica.is_offered = True
            self._free.append(replica)

    def take_free(self) -> Replica | None:
        """Return the replica that was freed last: the others grow idle and can go."""
        while self._free:
            replica = self._free.pop()
            replica.is_offered = False
            if replica.has_room:
                return replica
        return None

    def rest(self, replica: Replica, now: float) -> None:
        """Start the idle clock of a replica that works on nothing."""
        if replica.idle_since_s is None:
            replica.idle_since_s = now
            self._idle[replica.id] = replica

    def wake(self, replica: Replica) -> None:
        """Stop its idle clock."""
        self._idle.pop(replica.id, None)
        replica.idle_since_s = None

    def longest_idle(self) -> Replica | None:
        """Return the replica that has been idle longest."""
        return next(iter(self._idle.values()), None)

    def check(self) -> None:
        """Assert that every index agrees with the replicas."""
        ready = self.ready_ones()
        offered = {replica.id for replica in self._free}
        assert self.ready == len(ready)
        assert set(self._idle) == {r.id for r in ready if not r.running}
        assert set(self.starting) == {r.id for r in self._all.values() if r.state in _STARTS}
        for replica in self._all.values():
            assert replica.state is not ReplicaState.GONE
            assert len(replica.running) <= replica.slots
            assert not (replica.running and replica.state in _STARTS)
            assert not replica.has_room or replica.id in offered
