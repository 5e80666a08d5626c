"""One job, its life cycle, its bounds, and the events and effects of an endpoint's queue."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from msgspec import Struct

from coldspark.spec.types import GIB, Failure, FailureKind

JobId = NewType("JobId", str)


class JobState(StrEnum):
    """The state of a job."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


FINAL = frozenset(
    {JobState.COMPLETED, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED},
)
TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.ACCEPTED: frozenset(
        {JobState.RUNNING, JobState.FAILED, JobState.EXPIRED, JobState.CANCELLED},
    ),
    JobState.RUNNING: frozenset({JobState.ACCEPTED, *FINAL}),
    JobState.COMPLETED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.EXPIRED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""From a state to those that may follow it."""


class RetryKind(StrEnum):
    """Whether a job whose attempt failed is tried again."""

    NEVER = "never"
    """It was answered, or would fail again."""
    COUNTED = "counted"
    """It may have been what broke the replica: a bounded number of times."""
    FREE = "free"
    """It has not run: for as long as it may wait."""


_AGAIN = {
    FailureKind.REPLICA_DIED: RetryKind.COUNTED,
    FailureKind.START_FAILED: RetryKind.COUNTED,
    FailureKind.ARTIFACT_UNAVAILABLE: RetryKind.COUNTED,
    FailureKind.ENDPOINT_FAILED: RetryKind.FREE,
    FailureKind.NO_ROOM: RetryKind.FREE,
    FailureKind.QUEUE_FULL: RetryKind.FREE,
    FailureKind.STORAGE_FULL: RetryKind.FREE,
    FailureKind.CANCELLED: RetryKind.FREE,
}


def retry_kind(kind: FailureKind, *, has_run: bool) -> RetryKind:
    """Return whether a job is tried again after a failure of its request."""
    if kind is FailureKind.TIMED_OUT and not has_run:
        return RetryKind.FREE
    return _AGAIN.get(kind, RetryKind.NEVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPolicy:
    """The bounds of one endpoint's jobs."""

    jobs_max: int = 100_000
    """That wait."""
    bytes_max: int = GIB
    """Of queued bodies stored here; those elsewhere do not count."""
    failures_max: int = 3
    """Failed attempts, after which a job has failed."""
    interruptions_max: int = 20
    """Attempts that ended with their server, after which a job has failed."""
    backoff_ms: int = 1_000
    """Before the second attempt; twice as long before each further one."""
    backoff_max_ms: int = 60_000
    lease_grace_ms: int = 60_000

    def __post_init__(self) -> None:
        for name in ("jobs_max", "bytes_max", "failures_max", "interruptions_max", "backoff_ms"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")

    def pause_ms(self, attempts: int) -> int:
        """Return how long a job waits after so many attempts."""
        return min(self.backoff_ms << min(max(attempts - 1, 0), 20), self.backoff_max_ms)


class Job(Struct, gc=False, kw_only=True):
    """One job, as far as the rules need it."""

    id: JobId
    number: int
    """Orders the jobs of an endpoint: larger came later."""
    size_bytes: int
    """Of the body that is stored here."""
    accepted_ms: int
    expires_ms: int
    """No replica may take it later than this."""
    timeout_ms: int
    """From when a replica takes it to its answer."""
    state: JobState = JobState.ACCEPTED
    attempt: int = 0
    """How often it was begun."""
    failures: int = 0
    """How many of those attempts counted as failed."""
    due_ms: int = 0
    """While it waits: not begun before this. While it runs: its lease's end."""

    def transition(self, state: JobState) -> None:
        """Go to another state, as the table allows."""
        assert state in TRANSITIONS[self.state], f"job {self.id}: {self.state} -> {state}"
        self.state = state


@dataclass(frozen=True, slots=True)
class JobArrived:
    """A job was submitted; it is not durable yet."""

    job: Job


@dataclass(frozen=True, slots=True)
class JobPersisted:
    """The job is durable."""

    id: JobId


@dataclass(frozen=True, slots=True)
class JobNotPersisted:
    """The job could not be made durable: its caller got the failure."""

    id: JobId


@dataclass(frozen=True, slots=True)
class JobRestored:
    """The job was found on disk. One that ran was interrupted."""

    job: Job


@dataclass(frozen=True, slots=True)
class SlotsChanged:
    """So many jobs may run at a time from now on."""

    slots: int


@dataclass(frozen=True, slots=True)
class AttemptSucceeded:
    """The answer is stored."""

    id: JobId
    attempt: int


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The attempt ended without an answer, or with one that is an error."""

    id: JobId
    attempt: int
    failure: Failure
    retry: RetryKind


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """The job was cancelled."""

    id: JobId


@dataclass(frozen=True, slots=True)
class EndpointDeleted:
    """The endpoint is gone."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class JobsTicked:
    """Time has passed."""


JobEvent = (
    JobArrived
    | JobPersisted
    | JobNotPersisted
    | JobRestored
    | SlotsChanged
    | AttemptSucceeded
    | AttemptFailed
    | CancelRequested
    | EndpointDeleted
    | JobsTicked
)


@dataclass(frozen=True, slots=True)
class PersistJob:
    """Make the job durable, then post ``JobPersisted``."""

    id: JobId


@dataclass(frozen=True, slots=True)
class RefuseJob:
    """Refuse the job to its caller."""

    id: JobId
    failure: Failure


@dataclass(frozen=True, slots=True)
class BeginJob:
    """Record that the attempt begins, then make it."""

    id: JobId
    attempt: int
    lease_ms: int


@dataclass(frozen=True, slots=True)
class PostponeJob:
    """Record that the job waits for its next attempt."""

    id: JobId
    failures: int
    due_ms: int


@dataclass(frozen=True, slots=True)
class StopJob:
    """Cancel the attempt: its answer is of no use any more."""

    id: JobId
    attempt: int


@dataclass(frozen=True, slots=True)
class FinishJob:
    """Record how the job ended, with all that follows from it."""

    id: JobId
    state: JobState
    attempt: int
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class TickJobsAt:
    """Tick at this moment, instead of any that was set before."""

    at_ms: float


JobEffect = PersistJob | RefuseJob | BeginJob | PostponeJob | StopJob | FinishJob | TickJobsAt
