"""The jobs of an endpoint: order, retries, ends and bounds."""

from collections.abc import Iterable

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from coldspark.jobs.messages import (
    FINAL,
    TRANSITIONS,
    AttemptFailed,
    AttemptSucceeded,
    BeginJob,
    CancelRequested,
    EndpointDeleted,
    FinishJob,
    Job,
    JobArrived,
    JobEffect,
    JobEvent,
    JobId,
    JobNotPersisted,
    JobPersisted,
    JobPolicy,
    JobRestored,
    JobState,
    JobsTicked,
    PersistJob,
    PostponeJob,
    RefuseJob,
    RetryKind,
    SlotsChanged,
    StopJob,
    TickJobsAt,
    retry_kind,
)
from coldspark.jobs.rules import JobBacklog
from coldspark.spec.types import Failure, FailureKind

DIED = Failure(kind=FailureKind.REPLICA_DIED, message="it died")
GONE = Failure(kind=FailureKind.ENDPOINT_RETIRED, message="deleted")


def job(number: int, **given: int) -> Job:
    """Return a job that lives for 100 s."""
    values = {"size_bytes": 0, "accepted_ms": 0, "expires_ms": 100_000, "timeout_ms": 5_000}
    return Job(id=JobId(f"j{number}"), number=number, **(values | given))


def taken(backlog: JobBacklog, one: Job, now_ms: int = 0) -> list[JobEffect]:
    """Hand a job in and keep it; return what follows."""
    assert PersistJob(one.id) in backlog.step(JobArrived(one), now_ms)
    return done(backlog.step(JobPersisted(one.id), now_ms))


def done(effects: Iterable[JobEffect]) -> list[JobEffect]:
    """Return the effects but for the alarm clock."""
    return [effect for effect in effects if not isinstance(effect, TickJobsAt)]


def begun(effects: Iterable[JobEffect]) -> list[str]:
    """Return the jobs that begin."""
    return [effect.id for effect in effects if isinstance(effect, BeginJob)]


def test_a_job_begins_once_it_is_durable_and_a_slot_is_free() -> None:
    """Before it is kept it does not run; at zero slots it waits."""
    backlog = JobBacklog(JobPolicy())
    backlog.step(SlotsChanged(1), 0)

    assert done(backlog.step(JobArrived(job(1)), 0)) == [PersistJob(JobId("j1"))]
    assert backlog.running == 0
    assert begun(backlog.step(JobPersisted(JobId("j1")), 0)) == ["j1"]
    assert taken(backlog, job(2)) == []
    assert begun(backlog.step(AttemptSucceeded(JobId("j1"), 1), 0)) == ["j2"]


def test_jobs_begin_in_the_order_in_which_they_came() -> None:
    """More slots let more begin, the oldest first."""
    backlog = JobBacklog(JobPolicy())
    for number in (2, 1, 3):
        taken(backlog, job(number))

    assert begun(backlog.step(SlotsChanged(2), 0)) == ["j1", "j2"]
    assert backlog.waiting == 1


def test_a_job_whose_replica_died_is_tried_again_later_and_a_bounded_number_of_times() -> None:
    """The pause doubles; the third failure is the end."""
    backlog = JobBacklog(JobPolicy(failures_max=3, backoff_ms=1_000))
    backlog.step(SlotsChanged(1), 0)
    taken(backlog, job(1))
    id, now = JobId("j1"), 0
    for attempt, pause in ((1, 1_000), (2, 2_000)):
        effects = done(backlog.step(AttemptFailed(id, attempt, DIED, RetryKind.COUNTED), now))
        assert effects == [PostponeJob(id, attempt, now + pause)]
        assert begun(backlog.step(JobsTicked(), now + pause - 1)) == []
        now += pause
        assert begun(backlog.step(JobsTicked(), now)) == ["j1"]

    effects = done(backlog.step(AttemptFailed(id, 3, DIED, RetryKind.COUNTED), now))

    assert effects == [FinishJob(id, JobState.FAILED, 3, DIED)]


def test_others_pass_a_job_only_while_it_waits_for_its_next_try() -> None:
    """It keeps its place."""
    backlog = JobBacklog(JobPolicy())
    backlog.step(SlotsChanged(1), 0)
    for number in (1, 2, 3):
        taken(backlog, job(number))

    assert begun(backlog.step(AttemptFailed(JobId("j1"), 1, DIED, RetryKind.FREE), 0)) == ["j2"]
    backlog.step(JobsTicked(), 1_000)
    assert begun(backlog.step(AttemptSucceeded(JobId("j2"), 1), 1_001)) == ["j1"]


def test_what_a_handler_answered_is_not_tried_again() -> None:
    """A model's error is the job's end."""
    backlog = JobBacklog(JobPolicy())
    backlog.step(SlotsChanged(1), 0)
    taken(backlog, job(1))
    failure = Failure(kind=FailureKind.HANDLER_FAILED, message="ValueError")

    assert retry_kind(failure.kind, has_run=True) is RetryKind.NEVER
    effects = done(backlog.step(AttemptFailed(JobId("j1"), 1, failure, RetryKind.NEVER), 0))
    assert effects == [FinishJob(JobId("j1"), JobState.FAILED, 1, failure)]


@pytest.mark.parametrize(
    ("kind", "has_run", "wanted"),
    [
        (FailureKind.REPLICA_DIED, True, RetryKind.COUNTED),
        (FailureKind.START_FAILED, False, RetryKind.COUNTED),
        (FailureKind.ENDPOINT_FAILED, False, RetryKind.FREE),
        (FailureKind.NO_ROOM, False, RetryKind.FREE),
        (FailureKind.QUEUE_FULL, False, RetryKind.FREE),
        (FailureKind.TIMED_OUT, False, RetryKind.FREE),
        (FailureKind.TIMED_OUT, True, RetryKind.NEVER),
        (FailureKind.UNSUPPORTED_MEDIA, True, RetryKind.NEVER),
        (FailureKind.BODY_TOO_LARGE, False, RetryKind.NEVER),
    ],
)
def test_which_failures_are_tried_again(
    kind: FailureKind, has_run: bool, wanted: RetryKind
) -> None:
    """What broke its replica: some times. What has not run: while it may wait."""
    assert retry_kind(kind, has_run=has_run) is wanted


def test_a_job_that_no_replica_took_in_time_expires() -> None:
    """The time to live is over; a job that runs is not touched by it."""
    backlog = JobBacklog(JobPolicy())
    backlog.step(SlotsChanged(1), 0)
    taken(backlog, job(1))
    taken(backlog, job(2))

    ended = [e for e in backlog.step(JobsTicked(), 100_000) if isinstance(e, FinishJob)]

    assert [(end.id, end.state) for end in ended] == [("j2", JobState.EXPIRED)]
    assert backlog.running == 1


def test_a_full_backlog_says_how_many_wait_and_how_long_they_take() -> None:
    """The expected wait comes from how fast the last jobs ended."""
    backlog = JobBacklog(JobPolicy(jobs_max=2))
    backlog.step(SlotsChanged(1), 0)
    for number in range(1, 4):
        taken(backlog, job(number))
        if number < 3:
            backlog.step(AttemptSucceeded(JobId(f"j{number}"), 1), number * 10_000)
    taken(backlog, job(4))
    taken(backlog, job(5))

    (refused,) = done(backlog.step(JobArrived(job(6)), 0))

    assert isinstance(refused, RefuseJob)
    assert refused.failure.kind is FailureKind.QUEUE_FULL
    assert refused.failure.message == (
        "2 jobs wait already (jobs_max=2); those take some 20 s more;"
        " retry later, or raise replicas_max"
    )


def test_bytes_that_wait_are_bounded_too() -> None:
    """One large body is always taken; the next is not."""
    backlog = JobBacklog(JobPolicy(bytes_max=10))
    taken(backlog, job(1, size_bytes=50))

    assert isinstance(backlog.step(JobArrived(job(2, size_bytes=1)), 0)[0], RefuseJob)


def test_an_interrupted_job_goes_on_after_a_restart_without_a_failure_to_its_name() -> None:
    """The attempt counts, the failure does not."""
    backlog = JobBacklog(JobPolicy())
    found = job(1, attempt=1)
    found.state = JobState.RUNNING

    effects = backlog.step(JobRestored(found), 500)

    assert PostponeJob(JobId("j1"), 0, 500) in effects
    assert begun(backlog.step(SlotsChanged(1), 500)) == ["j1"]
    running = backlog.find(JobId("j1"))
    assert running is not None
    assert (running.attempt, running.failures) == (2, 0)


def test_a_job_that_is_interrupted_again_and_again_fails() -> None:
    """It may be what ends the server."""
    backlog = JobBacklog(JobPolicy(interruptions_max=2))
    found = job(1, attempt=3)
    found.state = JobState.RUNNING

    ended = [e for e in backlog.step(JobRestored(found), 500) if isinstance(e, FinishJob)]

    assert [end.state for end in ended] == [JobState.FAILED]


def test_an_attempt_that_is_not_heard_of_by_the_end_of_its_lease_is_given_up() -> None:
    """Nothing hangs: the job expires, and what its attempt says later changes nothing."""
    backlog = JobBacklog(JobPolicy(lease_grace_ms=1_000))
    backlog.step(SlotsChanged(1), 0)
    (first,) = taken(backlog, job(1))
    assert isinstance(first, BeginJob)
    assert first.lease_ms == 100_000 + 5_000 + 1_000

    effects = done(backlog.step(JobsTicked(), first.lease_ms))

    assert effects[0] == StopJob(JobId("j1"), 1)
    assert [type(effect) for effect in effects[1:]] == [FinishJob]
    assert done(backlog.step(AttemptSucceeded(JobId("j1"), 1), first.lease_ms + 1)) == []


def test_the_answer_of_an_attempt_that_was_taken_for_lost_still_counts() -> None:
    """The first final state wins, whichever attempt brings it."""
    backlog = JobBacklog(JobPolicy())
    backlog.step(SlotsChanged(1), 0)
    taken(backlog, job(1))
    backlog.step(AttemptFailed(JobId("j1"), 1, DIED, RetryKind.COUNTED), 0)
    backlog.step(JobsTicked(), 1_000)

    effects = done(backlog.step(AttemptSucceeded(JobId("j1"), 1), 1_001))

    assert effects == [StopJob(JobId("j1"), 2), FinishJob(JobId("j1"), JobState.COMPLETED, 2, None)]


def test_a_cancelled_job_stops_and_stays_cancelled() -> None:
    """The first final state wins."""
    backlog = JobBacklog(JobPolicy())
    backlog.step(SlotsChanged(1), 0)
    taken(backlog, job(1))

    effects = done(backlog.step(CancelRequested(JobId("j1")), 0))
    assert [type(effect) for effect in effects] == [StopJob, FinishJob]
    assert done(backlog.step(AttemptSucceeded(JobId("j1"), 1), 1)) == []


def test_jobs_of_a_deleted_endpoint_fail_with_the_reason() -> None:
    """What runs may finish."""
    backlog = JobBacklog(JobPolicy())
    backlog.step(SlotsChanged(1), 0)
    taken(backlog, job(1))
    taken(backlog, job(2))

    assert done(backlog.step(EndpointDeleted(GONE), 0)) == [
        FinishJob(JobId("j2"), JobState.FAILED, 0, GONE)
    ]
    assert backlog.running == 1


class World:
    """Plays the one who performs the effects; late and doubled words are a part of the play."""

    def __init__(self, policy: JobPolicy) -> None:
        self.backlog = JobBacklog(policy)
        self.now = 0
        self.numbers = 0
        self.arriving: list[JobId] = []
        self.attempts: list[tuple[JobId, int]] = []
        self.taken: set[JobId] = set()
        self.ended: dict[JobId, JobState] = {}

    def post(self, event: JobEvent) -> None:
        """Step, check, and perform."""
        for effect in self.backlog.step(event, self.now):
            self._perform(effect)
        self.backlog.check()
        open_jobs = {one.id for one in self.backlog.jobs()}
        assert open_jobs | self.ended.keys() == self.taken, "a job was lost"
        assert not open_jobs & self.ended.keys()

    def _perform(self, effect: JobEffect) -> None:
        if isinstance(effect, PersistJob):
            self.arriving.append(effect.id)
        elif isinstance(effect, BeginJob):
            assert effect.id in self.taken
            self.attempts.append((effect.id, effect.attempt))
        elif isinstance(effect, FinishJob):
            assert effect.id not in self.ended, "a job ended twice"
            assert effect.state in FINAL
            self.ended[effect.id] = effect.state


STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 40), st.integers(0, 3_000)), max_size=80
)


@settings(max_examples=examples(200), deadline=None)
@given(steps=STEPS)
def test_any_history_loses_no_job_and_ends_none_twice(steps: list[tuple[int, int, int]]) -> None:
    """Arrivals, restarts, failures, cancels, late and doubled words, in any order."""
    world = World(JobPolicy(jobs_max=6, bytes_max=40, failures_max=2, lease_grace_ms=500))
    for kind, pick, passed in steps:
        world.now += passed
        _play(world, kind, pick)
    world.post(SlotsChanged(100))
    for _ in range(20):
        world.now += 200_000
        world.post(JobsTicked())
    assert not list(world.backlog.jobs()), "a job is left for ever"
    assert world.ended.keys() == world.taken


def _play(world: World, kind: int, pick: int) -> None:
    if kind <= 1:
        world.numbers += 1
        one = job(world.numbers, size_bytes=pick, accepted_ms=world.now, timeout_ms=100)
        one.expires_ms = world.now + 5_000
        world.post(JobArrived(one))
    elif kind == 2 and world.arriving:
        id = world.arriving.pop(0)
        world.taken.add(id)
        world.post(JobPersisted(id))
    elif kind == 3 and world.arriving:
        world.post(JobNotPersisted(world.arriving.pop()))
    elif kind == 4:
        world.post(SlotsChanged(pick % 4))
    elif kind in (5, 6) and world.attempts:
        id, attempt = world.attempts[pick % len(world.attempts)]
        how = list(RetryKind)[pick % 3]
        if kind == 5:
            world.post(AttemptSucceeded(id, attempt))
        else:
            world.post(AttemptFailed(id, attempt, DIED, how))
    elif kind == 7 and world.attempts:
        world.post(CancelRequested(world.attempts[pick % len(world.attempts)][0]))
    elif kind == 8 and pick == 0:
        world.post(EndpointDeleted(GONE))
    else:
        world.post(JobsTicked())


def test_final_states_lead_nowhere() -> None:
    """The table says so, and every state is in it."""
    assert set(TRANSITIONS) == set(JobState)
    assert all(not TRANSITIONS[state] for state in FINAL)
