"""When a batch is closed: any history of arrivals, callers who give up, and batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from coldspark.node.worker.batching import BatchQueue

SIZE_MAX, WAIT_S = 4, 0.005
TIMES = st.floats(0.0, 0.02)


class Histories(RuleBasedStateMachine):
    """One replica's gathering beside what must come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.gathering: BatchQueue[int] = BatchQueue(SIZE_MAX, WAIT_S)
        self.now_s = 0.0
        self.born = 0
        self.waiting: list[tuple[int, float]] = []
        self.running: list[int] = []
        self.free_s = 0.0

    @rule(after_s=TIMES)
    def arrive(self, after_s: float) -> None:
        """A request comes."""
        self.now_s += after_s
        self.born += 1
        self.gathering.add(self.born, self.now_s)
        self.waiting.append((self.born, self.now_s))

    @precondition(lambda self: self.waiting)
    @rule(pick=st.integers(0, 100))
    def give_up(self, pick: int) -> None:
        """A waiting caller goes."""
        item, _ = self.waiting.pop(pick % len(self.waiting))
        self.gathering.drop(item)

    @precondition(lambda self: self.running)
    @rule(pick=st.integers(0, 100))
    def give_up_late(self, pick: int) -> None:
        """One whose batch runs goes: that is not the gathering's business."""
        self.gathering.drop(self.running[pick % len(self.running)])

    @precondition(lambda self: not self.running)
    @rule()
    def ask(self) -> None:
        """The free replica does what it is told: takes a batch, or waits."""
        delay_s = self.gathering.delay_s(self.now_s)
        assert (delay_s is None) == (not self.waiting)
        if delay_s is None:
            return
        assert len(self.waiting) < SIZE_MAX or delay_s == 0.0, "a full batch waits for nobody"
        held_s = self.now_s + delay_s - max(self.waiting[0][1], self.free_s)
        assert delay_s == 0.0 or held_s <= WAIT_S + 1e-9, "nobody is held back for longer"
        if delay_s > 0.0:
            self.now_s += delay_s
            return
        taken = self.gathering.take(self.now_s)
        expected, self.waiting = self.waiting[:SIZE_MAX], self.waiting[SIZE_MAX:]
        assert taken == [item for item, _ in expected], "in order, none lost and none twice"
        assert 1 <= len(taken) <= SIZE_MAX
        self.running = taken

    @precondition(lambda self: self.running)
    @rule(after_s=TIMES)
    def end(self, after_s: float) -> None:
        """The batch is answered."""
        self.now_s += after_s
        self.gathering.ended(self.now_s)
        self.running, self.free_s = [], self.now_s

    @invariant()
    def counts(self) -> None:
        """It holds exactly those that wait."""
        assert len(self.gathering) == len(self.waiting)


TestHistories = Histories.TestCase


@given(gaps=st.lists(st.tuples(TIMES, TIMES), max_size=30))
def test_a_lone_caller_never_waits(gaps: list[tuple[float, float]]) -> None:
    """Who comes again only after the answer is taken at once, every time."""
    gathering: BatchQueue[int] = BatchQueue(SIZE_MAX, WAIT_S)
    now_s = 0.0
    for think_s, service_s in gaps:
        now_s += think_s
        gathering.add(1, now_s)
        assert gathering.delay_s(now_s) == 0.0
        assert gathering.take(now_s) == [1]
        now_s += service_s
        gathering.ended(now_s)


@given(gaps=st.lists(st.tuples(TIMES, TIMES, st.integers(1, 9)), max_size=20))
def test_without_a_wait_a_free_replica_takes_what_there_is(
    gaps: list[tuple[float, float, int]],
) -> None:
    """A wait of 0 lingers for nobody, whatever came before."""
    gathering: BatchQueue[int] = BatchQueue(SIZE_MAX, 0.0)
    now_s = 0.0
    for think_s, service_s, count in gaps:
        now_s += think_s
        for item in range(count):
            gathering.add(item, now_s)
        assert gathering.delay_s(now_s) == 0.0
        gathering.take(now_s)
        now_s += service_s
        gathering.ended(now_s)


def run(gathering: BatchQueue[int], came: int, at_s: float, left: int = 0) -> None:
    """Take a batch of so many, 5 ms long, with others left waiting at its end."""
    for item in range(came):
        gathering.add(item, at_s)
    gathering.take(at_s)
    for item in range(left):
        gathering.add(100 + item, at_s + 0.001)
    gathering.ended(at_s + 0.005)


def test_callers_that_were_just_answered_are_waited_for() -> None:
    """3 were there: the first to come again waits for the others, and the third closes."""
    gathering: BatchQueue[int] = BatchQueue(SIZE_MAX, WAIT_S)
    run(gathering, 3, 0.0)

    gathering.add(1, 0.0055)
    assert gathering.delay_s(0.0055) == pytest.approx(0.0045), "until 3 is halved"
    gathering.add(2, 0.006)
    assert gathering.delay_s(0.006) == pytest.approx(0.004)
    gathering.add(3, 0.0065)
    assert gathering.delay_s(0.0065) == 0.0


def test_the_longer_ago_the_fewer_are_expected() -> None:
    """4 were there; 12 ms later nobody is waited for any more."""
    gathering: BatchQueue[int] = BatchQueue(SIZE_MAX, WAIT_S)
    run(gathering, 4, 0.0)

    gathering.add(1, 0.017)
    assert gathering.delay_s(0.017) == 0.0


def test_lingering_in_vain_is_not_repeated_at_once() -> None:
    """2 were there, and one of them did not come again: the next batch waits for nobody."""
    gathering: BatchQueue[int] = BatchQueue(SIZE_MAX, WAIT_S)
    run(gathering, 2, 0.0)
    gathering.add(1, 0.0055)
    delay_s = gathering.delay_s(0.0055)
    assert delay_s is not None
    assert delay_s > 0.0
    gathering.take(0.0055 + delay_s)
    gathering.add(2, 0.012)
    gathering.ended(0.0155)

    assert gathering.delay_s(0.0155) == 0.0, "although 2 were there"


def test_a_straggler_is_worth_less_the_more_wait_for_it() -> None:
    """3 wait for the fourth no longer than 2 * 5 ms / 3 since the last one came."""
    gathering: BatchQueue[int] = BatchQueue(16, 0.02)
    run(gathering, 4, 0.0)
    for item in range(3):
        gathering.add(item, 0.006)
    assert gathering.delay_s(0.006) == pytest.approx(0.010 / 3)
    assert gathering.delay_s(0.006 + 0.0034) == 0.0
