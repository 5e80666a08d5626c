"""The roster's indexes agree with the replicas, whatever becomes of them."""

from example_counts import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from worlds import revision

from coldspark.fleet.replica import TRANSITIONS, Replica, ReplicaState
from coldspark.fleet.replica_index import ReplicaIndex
from coldspark.spec.types import ReplicaId, RequestId, Revision, ScalePolicy

PICK = st.integers(0, 99)


def a_ready_one(roster: ReplicaIndex, number: int, now: float = 0.0) -> Replica:
    """Add a replica that is ready, idle and offered."""
    replica = Replica(ReplicaId(str(number)), revision(), now)
    roster.add(replica)
    replica.transition(ReplicaState.STARTING, now)
    roster.mark_ready(replica, now)
    roster.mark_free(replica)
    roster.mark_idle(replica, now)
    return replica


def test_who_was_freed_last_is_taken_first() -> None:
    """The others grow idle and can go."""
    roster = ReplicaIndex()
    first, second = a_ready_one(roster, 1), a_ready_one(roster, 2)
    assert roster.take_free() is second
    assert roster.take_free() is first
    assert roster.take_free() is None


def test_replicas_that_left_do_not_pile_up_beneath_one_that_stays() -> None:
    """An endpoint that is never saturated forgets its old replicas too."""
    roster = ReplicaIndex()
    for number in range(100):
        replica = a_ready_one(roster, number)
        if number:
            roster.take_out_of_service(replica, ReplicaState.GONE, 1.0)
        roster.check()
    assert len(roster) == 1


class RosterHistory(RuleBasedStateMachine):
    """Add replicas, let them serve, idle, fail and leave, as their table allows."""

    @initialize(slots=st.integers(1, 3))
    def begin(self, slots: int) -> None:
        self.now = 0.0
        self.born = 0
        self.roster = ReplicaIndex()
        scale = ScalePolicy(concurrency=slots, replicas_max=9)
        self.revisions: list[Revision] = [revision(name, scale=scale) for name in ("a", "b")]

    def some(self, pick: int, *states: ReplicaState) -> Replica | None:
        found = [replica for replica in self.roster if replica.state in states]
        return found[pick % len(found)] if found else None

    @rule(pick=PICK)
    def add(self, pick: int) -> None:
        self.born += 1
        name = ReplicaId(str(self.born))
        self.roster.add(Replica(name, self.revisions[pick % 2], self.now))

    @rule(pick=PICK)
    def start(self, pick: int) -> None:
        replica = self.some(pick, ReplicaState.PLACING)
        if replica is not None:
            replica.transition(ReplicaState.STARTING, self.now)

    @rule(pick=PICK)
    def become_ready(self, pick: int) -> None:
        replica = self.some(pick, ReplicaState.STARTING)
        if replica is not None:
            self.roster.mark_ready(replica, self.now)
            self.roster.mark_free(replica)
            self.roster.mark_idle(replica, self.now)

    @rule()
    def serve(self) -> None:
        had_room = [replica for replica in self.roster if replica.has_free_slot]
        replica = self.roster.take_free()
        assert (replica is None) == (not had_room)
        if replica is not None:
            self.born += 1
            self.roster.mark_busy(replica)
            replica.running.add(RequestId(str(self.born)))
            if replica.has_free_slot:
                self.roster.mark_free(replica)

    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        replica = self.some(pick, ReplicaState.READY, ReplicaState.DRAINING)
        if replica is None or not replica.running:
            return
        replica.running.pop()
        if replica.state is ReplicaState.READY:
            self.roster.mark_free(replica)
            if not replica.running:
                self.roster.mark_idle(replica, self.now)

    @rule(pick=PICK)
    def give_up(self, pick: int) -> None:
        replica = self.some(pick, ReplicaState.STARTING)
        if replica is not None:
            self.roster.fail_start(replica, "too slow")
            self.roster.take_out_of_service(replica, ReplicaState.STOPPING, self.now)

    @rule(pick=PICK, state=st.sampled_from(ReplicaState))
    def leave(self, pick: int, state: ReplicaState) -> None:
        replica = self.some(pick, *ReplicaState)
        is_leaving = state in (ReplicaState.DRAINING, ReplicaState.STOPPING, ReplicaState.GONE)
        if replica is not None and is_leaving and state in TRANSITIONS[replica.state]:
            self.roster.take_out_of_service(replica, state, self.now)

    @rule()
    def pass_time(self) -> None:
        self.now += 1.0

    @precondition(lambda self: hasattr(self, "roster"))
    @invariant()
    def its_indexes_agree(self) -> None:
        self.roster.check()
        idle = [replica.idle_since_s for replica in self.roster if replica.idle_since_s is not None]
        first = self.roster.longest_idle()
        assert (first.idle_since_s if first else None) == min(idle, default=None)


TestRosterHistory = RosterHistory.TestCase
TestRosterHistory.settings = settings(
    max_examples=examples(50), stateful_step_count=50, deadline=None
)
