"""The ports of the job runner."""

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
    """The platform that runs jobs as requests."""

    def submit(self, invocation: Invocation, sink: Sink) -> Ticket:
        """Take a request; every outcome reaches the sink."""

    def endpoint(self, name: EndpointName) -> EndpointView:
        """Return one endpoint. Raises NotFound."""

    def set_backlog(self, name: EndpointName, jobs: int) -> None:
        """Set how many jobs wait behind those that were submitted."""


class JobStore(Protocol):
    """Jobs on disk. What a call returns is durable."""

    async def add(self, job: Job, endpoint: EndpointName, order: JobOrder, body: bytes) -> None:
        """Store a new job with its body."""

    async def begin(
        self, id: JobId, attempt: int, lease_ms: int, now_ms: int
    ) -> tuple[StoredJob, bytes] | None:
        """Record that an attempt begins; return the job and its body, None if it has ended."""

    async def postpone(self, id: JobId, failures: int, due_ms: int) -> None:
        """Record that a job waits for its next attempt."""

    async def end(
        self,
        id: JobId,
        state: JobState,
        result: JobResult,
        now_ms: int,
        *,
        body: bytes | None = None,
        event: WebhookEvent | None = None,
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
        """Delete ended jobs: those of long ago, and the oldest over a bound."""


class JobsAtWork(Protocol):
    """The port of jobs for doors."""

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
        """Accept a job; it is durable on return.

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
    """Takes webhook events without a job."""

    async def publish(self, event: WebhookEvent) -> None:
        """Store a webhook event and have it sent; durable on return."""


class WebhookOutboxStore(Protocol):
    """Webhook events on disk."""

    async def add(self, event: WebhookEvent) -> None:
        """Store a webhook event."""

    async def postpone(self, id: str, attempts: int, due_ms: int) -> None:
        """Record that a webhook event is tried again."""

    async def drop(self, id: str) -> None:
        """Delete a webhook event."""

    async def due(self, limit: int) -> Sequence[WebhookEvent]:
        """Return the webhook events that are due first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedJob:
    """A job that has just ended, for its door to format."""

    job: StoredJob
    state: JobState
    result: JobResult
    finished_ms: int
    body: bytes | None
    """The answer, if it is no longer than ``TOLD_BYTES_MAX``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMessage:
    """The content of a webhook event."""

    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class JobDoor(Protocol):
    """Formats the end of a job for the client that submitted it."""

    def render_failure(self, ended: EndedJob) -> tuple[str, bytes]:
        """Return content type and body of the failure report at the order's ``failure_url``."""

    def render_webhook(self, ended: EndedJob, event_id: str) -> WebhookMessage | None:
        """Return the webhook event that was asked for, or None."""


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
    """The durations of a job that was answered."""

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
    """Records metrics of jobs."""

    def count(self, endpoint: EndpointName, variant: VariantName | None, what: JobCounter) -> None:
        """Count one more."""

    def times(self, endpoint: EndpointName, variant: VariantName | None, times: JobTimes) -> None:
        """Record the durations of one job."""

    def depth(self, endpoint: EndpointName, depth: BacklogDepth) -> None:
        """Record how long a backlog is, every few seconds while there are jobs."""
