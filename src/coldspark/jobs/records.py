"""Jobs and webhook events as they are stored."""

from msgspec import Struct

from coldspark.jobs.messages import JobId, JobState
from coldspark.spec.types import EndpointName, VariantName

RESULT_BYTES_MAX = 4 * 1024 * 1024
"""Of an answer that is kept here, with its job."""


class JobOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The order of a job: everything but its body."""

    door: str
    """The door that formats its results."""
    label: str
    """The caller's own name for the job."""
    variant: VariantName | None = None
    content_type: str | None = None
    accept: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Passed to the replica."""
    key: str | None = None
    """Id of the caller's API key."""
    input_url: str | None = None
    """Where the body is; None: it is stored with the job."""
    output_url: str | None = None
    """Where the answer goes; None: it is stored with the job."""
    failure_url: str | None = None
    """Where the report of a failure goes; None: it is stored with the job alone."""
    success_url: str | None = None
    """The webhook of an answer."""
    error_url: str | None = None
    """The webhook of a failure."""
    details: dict[str, str] = {}
    """The door's own annotations."""


class JobResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a job ended."""

    status: int | None = None
    """What the replica answered, if it did."""
    content_type: str | None = None
    size_bytes: int = 0
    """Of the answer."""
    code: str | None = None
    """Of the failure: one of ``errors.BY_CODE``, or a door's own."""
    message: str | None = None
    log_tail: tuple[str, ...] = ()
    replica: str | None = None
    request: str | None = None
    """Under which the last attempt stands in the ledger."""


class StoredJob(Struct, frozen=True, kw_only=True):
    """A job with everything but bodies."""

    id: JobId
    endpoint: EndpointName
    number: int
    state: JobState
    attempt: int
    failures: int
    due_ms: int
    accepted_ms: int
    expires_ms: int
    timeout_ms: int
    size_bytes: int
    order: JobOrder
    started_ms: int | None = None
    finished_ms: int | None = None
    result: JobResult | None = None


class WebhookEvent(Struct, frozen=True, kw_only=True):
    """An event to be delivered to a webhook, at least once."""

    id: str
    endpoint: EndpointName
    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    job: JobId | None = None
    attempts: int = 0
    created_ms: int
    due_ms: int
