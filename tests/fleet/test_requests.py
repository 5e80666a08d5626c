"""The book of requests agrees with the replicas, in order, to the byte, in any history."""

from example_counts import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from worlds import revision

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.replica import Replica
from coldspark.fleet.request_queue import OpenRequest, RequestQueue
from coldspark.spec.types import ReplicaId, RequestId

PICK = st.integers(0, 99)
GRACE_S = 2.0


class BookHistory(RuleBasedStateMachine):
    """Let requests come, wait, run, end, be dropped and let go of, in time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.book = RequestQueue()
        self.replicas = [Replica(ReplicaId(name), revision(), 0.0) for name in ("a", "b")]
        self.waiting: list[RequestId] = []
        self.running: dict[RequestId, Replica] = {}
        self.aborting: dict[RequestId, float] = {}
        self.deadlines: dict[RequestId, float] = {}

    @rule(name=st.integers(0, 12), timeout_s=st.integers(1, 10), size_bytes=st.integers(0, 9))
    def arrive(self, name: int, timeout_s: int, size_bytes: int) -> None:
        """Ids come again once they are free."""
        id = RequestId(str(name))
        if id in self.deadlines or id in self.aborting:
            return
        self.deadlines[id] = self.now + timeout_s
        self.book.add(id, OpenRequest(self.now, self.now + timeout_s, size_bytes))
        self.book.enqueue(id)
        self.waiting.append(id)

    @rule(pick=PICK)
    def run(self, pick: int) -> None:
        if not self.waiting:
            return
        name, request = self.book.dequeue()
        assert name == self.waiting.pop(0)
        request.replica = self.replicas[pick % 2]
        request.replica.running.add(name)
        self.running[name] = request.replica

    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        if self.running:
            name = sorted(self.running)[pick % len(self.running)]
            assert self.book.finish(name) is not None
            self.running.pop(name).running.discard(name)
            del self.deadlines[name]

    @rule(pick=PICK)
    def hang_up(self, pick: int) -> None:
        if self.deadlines:
            self.drop(sorted(self.deadlines)[pick % len(self.deadlines)])

    def drop(self, name: RequestId) -> None:
        replica = self.book.abort(name, self.now + GRACE_S)
        assert replica is self.running.pop(name, None)
        del self.deadlines[name]
        if replica is None:
            self.waiting.remove(name)
        else:
            self.aborting[name] = self.now + GRACE_S

    @rule(pick=PICK)
    def let_go(self, pick: int) -> None:
        if self.aborting:
            name = sorted(self.aborting)[pick % len(self.aborting)]
            del self.aborting[name]
            replica = self.book.complete_abort(name)
            assert replica is not None
            replica.running.discard(name)

    @rule()
    def clear(self) -> None:
        assert self.book.clear_queue() == self.waiting
        for name in self.waiting:
            del self.deadlines[name]
        self.waiting.clear()

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        late = {name for name, at_s in self.deadlines.items() if at_s <= self.now}
        expired = [name for name, _ in self.book.expired(self.now)]
        assert set(expired) == late
        for name in expired:
            self.drop(name)
        for replica in self.book.overdue_replicas(self.now):
            assert any(self.aborting.get(name, NEVER) <= self.now for name in replica.running)
        for replica in self.replicas:
            is_stuck = bool(replica.running) and all(
                self.aborting.get(name, NEVER) <= self.now for name in replica.running
            )
            assert self.book.is_stuck(replica) == is_stuck

    @invariant()
    def book_and_replicas_agree(self) -> None:
        self.book.check(self.replicas)
        assert (self.book.queued, self.book.open) == (len(self.waiting), len(self.deadlines))
        pending = [at_s for at_s in self.aborting.values() if at_s > self.now]
        assert self.book.next_s() == min([*self.deadlines.values(), *pending], default=NEVER)


TestBookHistory = BookHistory.TestCase
TestBookHistory.settings = settings(
    max_examples=examples(50), stateful_step_count=50, deadline=None
)
