"""The bodies of ``/v1/jobs``."""

import msgspec

from coldspark.core.job_messages import JobState
from coldspark.runtime.jobs.ports import StoredJob


class JobBody(msgspec.Struct, omit_defaults=True):
    """A job. Absent fields do not apply yet."""

    id: str
    endpoint: str
    state: JobState
    accepted_ms: int
    expires_ms: int
    timeout_ms: int
    attempts: int
    """How often it was begun."""
    label: str | None = None
    started_ms: int | None = None
    """When its last attempt began."""
    finished_ms: int | None = None
    status: int | None = None
    """What the endpoint answered."""
    content_type: str | None = None
    size_bytes: int | None = None
    """Of the answer."""
    output_url: str | None = None
    """Where the answer lies, if it is not kept here."""
    code: str | None = None
    message: str | None = None
    log_tail: list[str] | None = None
    request: str | None = None
    """Under which the last attempt stands in the ledger."""

    @classmethod
    def of(cls, job: StoredJob) -> "JobBody":
        """Return a job as the API shows it."""
        body = cls(
            id=job.id,
            endpoint=job.endpoint,
            state=job.state,
            accepted_ms=job.accepted_ms,
            expires_ms=job.expires_ms,
            timeout_ms=job.timeout_ms,
            attempts=job.attempt,
            label=job.order.label or None,
            started_ms=job.started_ms,
            finished_ms=job.finished_ms,
            output_url=job.order.output_url,
        )
        if job.result is not None:
            result = job.result
            body.status, body.content_type = result.status, result.content_type
            body.size_bytes = result.size_bytes or None
            body.code, body.message, body.request = result.code, result.message, result.request
            body.log_tail = list(result.log_tail) or None
        return body


class JobsBody(msgspec.Struct):
    """Jobs, newest first."""

    jobs: list[JobBody]
