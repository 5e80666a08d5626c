"""When each replica's start passed its marks: what waterfalls are made of."""

from dataclasses import dataclass

from coldspark import clock
from coldspark.fleet.fleet import Fleet
from coldspark.spec.types import ReplicaId
from coldspark.spec.waterfall import StartTimeline


@dataclass(slots=True)
class _Start:
    requested_s: float
    granted_s: float | None = None
    fetched_s: float | None = None
    booted_s: float | None = None
    ready_s: float | None = None

    def timeline(self) -> StartTimeline:
        return StartTimeline(
            requested_s=self.requested_s,
            granted_s=self.granted_s,
            fetched_s=self.fetched_s,
            booted_s=self.booted_s,
            ready_s=self.ready_s,
        )


class StartTimelines:
    """The marks of every living replica, and of each fleet's latest start."""

    def __init__(self) -> None:
        self._starts: dict[ReplicaId, _Start] = {}
        self._latest: dict[str, _Start] = {}
        """By the replicas' common prefix: a failed start is told after its replica is gone."""

    def asked(self, replica: ReplicaId) -> None:
        """Room was asked for, by a new replica or by a parked one."""
        start = _Start(clock.monotonic_s())
        self._starts[replica] = start
        self._latest[_prefix(replica)] = start

    def granted(self, replica: ReplicaId) -> None:
        """Room is held."""
        if (start := self._starts.get(replica)) is not None:
            start.granted_s = clock.monotonic_s()

    def fetched(self, replica: ReplicaId) -> None:
        """Model data and environment are here."""
        if (start := self._starts.get(replica)) is not None:
            start.fetched_s = clock.monotonic_s()

    def booted(self, replica: ReplicaId) -> None:
        """The process exists."""
        if (start := self._starts.get(replica)) is not None:
            start.booted_s = clock.monotonic_s()

    def ready(self, replica: ReplicaId) -> None:
        """It takes calls."""
        if (start := self._starts.get(replica)) is not None:
            start.ready_s = clock.monotonic_s()

    def forget(self, replica: ReplicaId) -> None:
        """The replica is gone."""
        self._starts.pop(replica, None)

    def forget_fleet(self, fleet: Fleet) -> None:
        """The fleet is gone."""
        self._latest.pop(fleet.replica_prefix, None)

    def timeline(self, replica: ReplicaId, since_s: float) -> StartTimeline | None:
        """Return a replica's start, or None if it was over by ``since_s``."""
        start = self._starts.get(replica)
        if start is None or (start.ready_s is not None and start.ready_s <= since_s):
            return None
        return start.timeline()

    def latest(self, fleet: Fleet, since_s: float) -> StartTimeline | None:
        """Return a fleet's latest start, or None if it was over by ``since_s``."""
        start = self._latest.get(fleet.replica_prefix)
        if start is None or (start.ready_s is not None and start.ready_s <= since_s):
            return None
        return start.timeline()


def _prefix(replica: ReplicaId) -> str:
    return replica.rpartition(".")[0] + "."
