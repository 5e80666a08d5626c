"""The job queue of one endpoint: which is accepted, which runs next, which again, how each ends.

The law:

1. A job is accepted when it is durable, and from then on leaves by exactly one final state. The
first
   final state wins: whatever arrives for the job after that changes nothing.
2. Jobs begin in the order in which they came. One that is to be tried again keeps its position, and
   lets others pass only while it waits for its next try.
3. What failed by no fault of its own (its replica died, a start failed) is tried again,
   ``failures_max`` times. What has not run (no reservation, the queue was full, the server ended)
   is tried again for as long as the job may wait. What a handler answered is an answer.
4. A job that no replica took by ``expires_ms`` expires. An attempt has a lease, for the time to
   live and the time to run: a job that has not reported by then expires too, and nothing hangs.
5. Jobs and bytes that wait are bounded. Every wait has an end: ``WakeAt`` says when to tick.

Moments are milliseconds since the epoch, as they must hold across a restart.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from typing import assert_never

from coldspark.fleet.deadlines import NEVER, Deadlines
from coldspark.jobs.messages import (
    FINAL,
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
)
from coldspark.spec.types import Failure, FailureKind


class JobBacklog:
    """Every job of one endpoint that has no final state yet."""

    def __init__(self, policy: JobPolicy) -> None:
        self._policy = policy
        self._jobs: dict[JobId, Job] = {}
        self._arriving: dict[JobId, Job] = {}
        self._ready: list[tuple[int, JobId]] = []
        """A heap: those that may begin now. Stale entries are dropped when their turn comes."""
        self._later: Deadlines[JobId] = Deadlines()
        """When each job that waits for its next attempt may begin."""
        self._expiries: Deadlines[JobId] = Deadlines()
        """Of those that wait."""
        self._leases: Deadlines[JobId] = Deadlines()
        """Of those that run."""
        self._slots = 0
        self._running = 0
        self._bytes = 0
        self._ends_ms: deque[int] = deque(maxlen=100)

    @property
    def waiting(self) -> int:
        """Return how many jobs wait."""
        return len(self._jobs) - self._running

    @property
    def running(self) -> int:
        """Return how many jobs run."""
        return self._running

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is left to be decided."""
        return not self._jobs and not self._arriving

    @property
    def oldest_ms(self) -> int | None:
        """Return when the first of those that wait was accepted; None when none waits."""
        waits = JobState.ACCEPTED
        while self._ready and not self._is_ready(*self._ready[0]):
            heapq.heappop(self._ready)
        first = [self._jobs[self._ready[0][1]].accepted_ms] if self._ready else []
        later = [self._jobs[id].accepted_ms for id in self._later if self._jobs[id].state is waits]
        return min(first + later, default=None)

    def find(self, id: JobId) -> Job | None:
        """Return a job that has no final state. Read only."""
        return self._jobs.get(id)

    def jobs(self) -> Iterator[Job]:
        """Return all of them. Read only."""
        return iter(self._jobs.values())

    def wait_s(self) -> float | None:
        """Return how long those that wait will take, by how fast the last ones ended."""
        ends = self._ends_ms
        if len(ends) < 2 or ends[-1] == ends[0]:
            return None
        return (ends[-1] - ends[0]) / 1_000 / (len(ends) - 1) * self.waiting

    def step(self, event: JobEvent, now_ms: int) -> list[JobEffect]:
        """Take one event; return the effects, in order."""
        effects: list[JobEffect] = []
        match event:
            case JobArrived(job):
                self._arrive(job, effects)
            case JobPersisted(id):
                self._enter(self._arriving.pop(id), now_ms)
            case JobNotPersisted(id):
                self._bytes -= self._arriving.pop(id).size_bytes
            case JobRestored(job):
                self._restore(job, now_ms, effects)
            case SlotsChanged(slots):
                self._slots = slots
            case AttemptSucceeded(id, attempt):
                self._succeed(id, attempt, now_ms, effects)
            case AttemptFailed():
                self._fail(event, now_ms, effects)
            case CancelRequested(id):
                self._cancel(id, now_ms, effects)
            case EndpointDeleted(failure):
                self._abandon(failure, now_ms, effects)
            case JobsTicked():
                self._tick(now_ms, effects)
            case _:
                assert_never(event)
        self._fill(now_ms, effects)
        at_ms = self._next_ms()
        if at_ms < NEVER:
            effects.append(TickJobsAt(at_ms))
        return effects

    def _arrive(self, job: Job, effects: list[JobEffect]) -> None:
        assert job.state is JobState.ACCEPTED
        refusal = self._refusal(job.size_bytes)
        if refusal is not None:
            effects.append(RefuseJob(job.id, refusal))
            return
        self._arriving[job.id] = job
        self._bytes += job.size_bytes
        effects.append(PersistJob(job.id))

    def _refusal(self, size_bytes: int) -> Failure | None:
        waiting = self.waiting + len(self._arriving)
        if waiting >= self._policy.jobs_max:
            return self._full(f"{waiting} jobs wait already (jobs_max={self._policy.jobs_max})")
        if self._bytes and self._bytes + size_bytes > self._policy.bytes_max:
            limit = f"the limit is {self._policy.bytes_max}"
            return self._full(f"{waiting} jobs with {self._bytes} bytes wait already; {limit}")
        return None

    def _full(self, what: str) -> Failure:
        wait_s = self.wait_s()
        expected = "" if wait_s is None else f" those take some {wait_s:.0f} s more;"
        return Failure(
            kind=FailureKind.QUEUE_FULL,
            message=f"{what};{expected} retry later, or raise replicas_max",
            retry_after_s=1.0 if wait_s is None else max(1.0, wait_s / 10),
        )

    def _enter(self, job: Job, now_ms: int) -> None:
        """Queue a job, or schedule its next attempt."""
        self._jobs[job.id] = job
        self._expiries.add(job.id, job.expires_ms)
        if job.due_ms <= now_ms:
            heapq.heappush(self._ready, (job.number, job.id))
        else:
            self._later.add(job.id, job.due_ms)

    def _restore(self, job: Job, now_ms: int, effects: list[JobEffect]) -> None:
        assert job.state not in FINAL
        self._bytes += job.size_bytes
        if job.state is JobState.ACCEPTED:
            self._enter(job, now_ms)
            return
        self._jobs[job.id] = job
        self._running += 1
        if job.attempt - job.failures > self._policy.interruptions_max:
            message = f"{job.attempt - job.failures} attempts ended with their server"
            failure = Failure(kind=FailureKind.REPLICA_DIED, message=message)
            self._end(job, JobState.FAILED, failure, now_ms, effects)
        else:
            self._wait_again(job, now_ms, now_ms, effects)

    def _succeed(self, id: JobId, attempt: int, now_ms: int, effects: list[JobEffect]) -> None:
        job = self._jobs.get(id)
        if job is None:
            return
        if job.state is JobState.ACCEPTED:
            # An attempt whose lease had ended: the answer is stored, and no other is needed.
            self._leave_queue(job)
            job.transition(JobState.RUNNING)
            self._running += 1
        elif attempt != job.attempt:
            effects.append(StopJob(id, job.attempt))
        self._end(job, JobState.COMPLETED, None, now_ms, effects)

    def _fail(self, event: AttemptFailed, now_ms: int, effects: list[JobEffect]) -> None:
        job = self._jobs.get(event.id)
        if job is None or job.state is not JobState.RUNNING or event.attempt != job.attempt:
            return
        if event.retry is RetryKind.COUNTED:
            job.failures += 1
        if event.retry is RetryKind.NEVER or job.failures >= self._policy.failures_max:
            self._end(job, JobState.FAILED, event.failure, now_ms, effects)
            return
        pause_ms = self._policy.pause_ms(job.attempt)
        retry_after_s = event.failure.retry_after_s
        if retry_after_s is not None:
            pause_ms = max(pause_ms, int(min(retry_after_s * 1_000, self._policy.backoff_max_ms)))
        due_ms = now_ms + pause_ms
        if now_ms >= job.expires_ms:
            self._end(job, JobState.EXPIRED, event.failure, now_ms, effects)
        else:
            self._wait_again(job, due_ms, now_ms, effects)

    def _wait_again(self, job: Job, due_ms: int, now_ms: int, effects: list[JobEffect]) -> None:
        job.transition(JobState.ACCEPTED)
        self._running -= 1
        self._leases.remove(job.id)
        job.due_ms = due_ms
        self._enter(job, now_ms)
        effects.append(PostponeJob(job.id, job.failures, due_ms))

    def _cancel(self, id: JobId, now_ms: int, effects: list[JobEffect]) -> None:
        job = self._jobs.get(id)
        if job is None:
            return
        if job.state is JobState.RUNNING:
            effects.append(StopJob(id, job.attempt))
        failure = Failure(kind=FailureKind.CANCELLED, message="the job was cancelled")
        self._end(job, JobState.CANCELLED, failure, now_ms, effects)

    def _abandon(self, failure: Failure, now_ms: int, effects: list[JobEffect]) -> None:
        for job in list(self._jobs.values()):
            if job.state is JobState.ACCEPTED:
                self._end(job, JobState.FAILED, failure, now_ms, effects)

    def _tick(self, now_ms: int, effects: list[JobEffect]) -> None:
        for id in list(self._expiries.due(now_ms)):
            job = self._jobs[id]
            self._end(job, JobState.EXPIRED, _expired(job), now_ms, effects)
        for id in list(self._later.due(now_ms)):
            heapq.heappush(self._ready, (self._jobs[id].number, id))
        for id in list(self._leases.due(now_ms)):
            job = self._jobs[id]
            effects.append(StopJob(id, job.attempt))
            self._end(job, JobState.EXPIRED, _unheard(job), now_ms, effects)

    def _end(
        self,
        job: Job,
        state: JobState,
        failure: Failure | None,
        now_ms: int,
        effects: list[JobEffect],
    ) -> None:
        if job.state is JobState.RUNNING:
            self._running -= 1
            self._leases.remove(job.id)
        else:
            self._leave_queue(job)
        job.transition(state)
        del self._jobs[job.id]
        self._bytes -= job.size_bytes
        self._ends_ms.append(now_ms)
        effects.append(FinishJob(job.id, state, job.attempt, failure))

    def _leave_queue(self, job: Job) -> None:
        self._expiries.remove(job.id)
        self._later.remove(job.id)

    def _is_ready(self, number: int, id: JobId) -> bool:
        job = self._jobs.get(id)
        return job is not None and job.state is JobState.ACCEPTED and id not in self._later

    def _fill(self, now_ms: int, effects: list[JobEffect]) -> None:
        """Begin jobs, the oldest first, until all slots are taken or nobody is ready."""
        while self._ready and self._running < self._slots:
            number, id = heapq.heappop(self._ready)
            if not self._is_ready(number, id):
                continue
            job = self._jobs[id]
            self._leave_queue(job)
            job.transition(JobState.RUNNING)
            job.attempt += 1
            # It may wait for a replica until it expires, and then run for as long as it may.
            lease_ms = max(job.expires_ms, now_ms) + job.timeout_ms + self._policy.lease_grace_ms
            job.due_ms = lease_ms
            self._running += 1
            self._leases.add(id, lease_ms)
            effects.append(BeginJob(id, job.attempt, lease_ms))

    def _next_ms(self) -> float:
        return min(self._expiries.next_s(), self._later.next_s(), self._leases.next_s())

    def check(self) -> None:
        """Assert what must hold after every step."""
        jobs = self._jobs.values()
        running = {job.id for job in jobs if job.state is JobState.RUNNING}
        waiting = self._jobs.keys() - running
        assert all(job.state not in FINAL for job in jobs)
        assert len(running) == self._running
        assert set(self._leases) == running
        assert set(self._expiries) == waiting
        assert set(self._later) <= waiting
        ready = {id for number, id in self._ready if self._is_ready(number, id)}
        assert ready == waiting - set(self._later), "a job waits that nobody will begin"
        assert not (ready and self._running < self._slots), "a slot is free while a job is ready"
        held = [*jobs, *self._arriving.values()]
        assert self._bytes == sum(job.size_bytes for job in held)
        assert all(job.failures < self._policy.failures_max for job in jobs)
        assert all(job.failures <= job.attempt for job in jobs)
        for deadlines in (self._later, self._expiries, self._leases):
            deadlines.check()


def _expired(job: Job) -> Failure:
    waited_s = (job.expires_ms - job.accepted_ms) / 1_000
    return Failure(
        kind=FailureKind.TIMED_OUT,
        message=f"no replica took the job within {waited_s:g} s, which was its time to live",
    )


def _unheard(job: Job) -> Failure:
    return Failure(
        kind=FailureKind.TIMED_OUT,
        message=f"attempt {job.attempt} was not heard of by the end of its lease: it was given its"
        f" time to live and {job.timeout_ms / 1_000:g} s to run",
    )
