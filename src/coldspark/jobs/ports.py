"""What the runner of jobs asks of its neighbours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from coldspark.jobs.messages import Job, JobId, JobState
from coldspark.jobs.records import JobOrder as JobOrder
from coldspark.jobs.records import JobResult as JobResult
from coldspark.jobs.records import StoredJob as StoredJob
from coldspark.jobs.records import WebhookEvent as WebhookEvent
from coldspark.platform.ports import EndpointView, Invocation, Sink, Ticket
from coldspark.spec.types import EndpointName, VariantName

WEBHOOK_BODY_BYTES_MAX = 128_000
"""An answer up to this long may be told with the notice of it."""


class JobPlatform(Protocol):
    """Where jobs become requests."""

    def submit(self, invocation: Invocation, sink: Sink) -> Ticket:
        """Take a request; every outcome reaches the sink."""

    def endpoint(self, name: EndpointName) -> EndpointView:
        """Return one endpoint. Raises NotFound."""

    def set_backlog(self, name: EndpointName, jobs: int) -> None:
        """Hear how many jobs wait behind those that were handed in."""


class JobStore(Protocol):
    """Jobs on disk. What a call returns is durable."""

    async def add(self, job: Job, endpoint: EndpointName, order: JobOrder, body: bytes) -> None:
        """Store a new job with its body."""

    async def begin(
        self, id: JobId, attempt: int, lease_ms: int, now_ms: int
    ) -> tuple[StoredJob, bytes] | None:
        """Write down that an attempt begins; return the job and its body, None if it has ended."""

    async def postpone(self, id: JobId, failures: int, due_ms: int) -> None:
        """Write down that a job waits for its next attempt."""

    async def end(
        self,
        id: JobId,
        state: JobState,
        result: JobResult,
        now_ms: int,
        *,
        body: bytes | None = None,
        notice: WebhookEvent | None = None,
    ) -> bool:
        """Give a job its final state; return whether it had none yet."""

    async def unfinished(self, owns: Callable[[EndpointName], bool]) -> list[StoredJob]:
        """Return the jobs without a final state of those endpoints, in order."""

    async def find(self, id: JobId) -> StoredJob | None:
        """Return one job."""

    async def output(self, id: JobId) -> bytes:
        """Return the answer that is kept with a job."""

    async def newest(
        self, endpoint: EndpointName | None, state: JobState | None, limit: int
    ) -> list[StoredJob]:
        """Return the newest jobs, newest first."""

    async def purge(self, ended_before_ms: int, jobs_max: int, bytes_max: int) -> int:
        """Forget ended jobs: those of long ago, and the oldest over a bound."""


class JobsAtWork(Protocol):
    """What doors ask of jobs."""

    @property
    def has_storage(self) -> bool:
        """Return whether bodies and answers may lie elsewhere."""

    async def accept(
        self,
        endpoint: EndpointName,
        order: JobOrder,
        body: bytes,
        *,
        id: JobId | None = None,
        ttl_s: float,
        timeout_s: float,
    ) -> JobId:
        """Take a job; it is durable on return.

        Raises NotFound for an unknown endpoint, QueueFull when too much waits.
        """

    async def cancel(self, endpoint: EndpointName, id: JobId) -> None:
        """Cancel a job. Raises NotFound for one that has no final state to be kept from."""

    async def find(self, id: JobId) -> StoredJob | None:
        """Return a job."""

    async def output(self, id: JobId) -> bytes:
        """Return the answer that is kept with a job."""

    async def newest(
        self, endpoint: EndpointName | None, state: JobState | None, limit: int
    ) -> list[StoredJob]:
        """Return the newest jobs, newest first."""


class WebhookOutbox(Protocol):
    """Takes notices that no job is behind."""

    async def publish(self, notice: WebhookEvent) -> None:
        """Keep a notice and have it sent; durable on return."""


class WebhookOutboxStore(Protocol):
    """Notices on disk."""

    async def add(self, notice: WebhookEvent) -> None:
        """Store a notice."""

    async def postpone(self, id: str, attempts: int, due_ms: int) -> None:
        """Write down that a notice is tried again."""

    async def drop(self, id: str) -> None:
        """Forget a notice."""

    async def due(self, limit: int) -> Sequence[WebhookEvent]:
        """Return the notices that are due first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedJob:
    """A job that has just ended, for its door to put into words."""

    job: StoredJob
    state: JobState
    result: JobResult
    finished_ms: int
    body: bytes | None
    """The answer, if it is no longer than ``TOLD_BYTES_MAX``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMessage:
    """What somebody is to be sent."""

    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class JobDoor(Protocol):
    """Puts the end of a job into the words of the client that asked for it."""

    def render_failure(self, ended: EndedJob) -> tuple[str, bytes]:
        """Return content type and body of what lies at the order's ``failure_url``."""

    def render_webhook(self, ended: EndedJob, notice_id: str) -> WebhookMessage | None:
        """Return the notice that somebody asked for, or None."""


class JobCounter(StrEnum):
    """What is counted of jobs."""

    PROCESSED = "processed"
    FAILED = "failed"
    EXPIRED = "expired"
    FETCH_FAILED = "fetch_failed"
    WRITE_FAILED = "write_failed"
    NOTICE_FAILED = "notice_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTimes:
    """Where the time of a job that was answered went."""

    waited_ms: int
    """From accepted to its last attempt."""
    total_ms: int
    """From accepted to answered."""
    fetch_us: int | None
    write_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogDepth:
    """An endpoint's backlog at one moment."""

    waiting: int
    oldest_s: float
    replicas: int


class JobMetricsSink(Protocol):
    """Hears what is measured of jobs."""

    def count(self, endpoint: EndpointName, variant: VariantName | None, what: JobCounter) -> None:
        """Hear of one more."""

    def times(self, endpoint: EndpointName, variant: VariantName | None, times: JobTimes) -> None:
        """Hear where the time of one job went."""

    def depth(self, endpoint: EndpointName, depth: BacklogDepth) -> None:
        """Hear how deep a backlog is, every few seconds while there are jobs."""


class NoJobMetrics:
    """Implements ``JobMetricsSink`` where nobody listens."""

    def count(self, endpoint: EndpointName, variant: VariantName | None, what: JobCounter) -> None:
        """Forget it."""

    def times(self, endpoint: EndpointName, variant: VariantName | None, times: JobTimes) -> None:
        """Forget it."""

    def depth(self, endpoint: EndpointName, depth: BacklogDepth) -> None:
        """Forget it."""
