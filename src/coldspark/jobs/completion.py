"""The end of a job: the failure report at its URL, the final state, the webhook event.

In this order, and the last two in one transaction: whoever sees the final state finds what it
promises, and a server that is killed in between does it again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from coldspark import clock
from coldspark.errors import ColdsparkError
from coldspark.jobs.attempt import FailedAttempt, SucceededAttempt
from coldspark.jobs.messages import FinishJob, JobState
from coldspark.jobs.ports import (
    WEBHOOK_BODY_BYTES_MAX,
    EndedJob,
    JobDoor,
    JobResult,
    JobStore,
    StoredJob,
    WebhookEvent,
)
from coldspark.platform.storage_ports import ObjectStorage
from coldspark.spec.types import Failure, FailureKind

_log = logging.getLogger(__name__)

_TRIES = 4
_PAUSE_S = 0.5
_DATABASE_PAUSE_S = 1.0


class JobCompletion:
    """Ends jobs."""

    def __init__(
        self,
        store: JobStore,
        storage: ObjectStorage | None,
        doors: Mapping[str, JobDoor],
        on_event: Callable[[], None],
        event_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._storage = storage
        self._doors = doors
        self._on_event = on_event
        self._event_id = event_id

    async def complete(
        self,
        effect: FinishJob,
        job: StoredJob | None,
        outcome: SucceededAttempt | FailedAttempt | None,
    ) -> None:
        """Complete a job. Returns only when its final state is durable.

        ``job`` None: it is looked up.
        """
        while True:
            try:
                await self._end(effect, job, outcome)
                return
            except Exception:  # noqa: BLE001
                # Only the disk can refuse; until it does not, the job has no final state, and a
                # server that ends meanwhile leaves it to the next.
                _log.exception("job %s: its end could not be written; trying again", effect.id)
                await asyncio.sleep(_DATABASE_PAUSE_S)

    async def _end(
        self,
        effect: FinishJob,
        job: StoredJob | None,
        outcome: SucceededAttempt | FailedAttempt | None,
    ) -> None:
        job = job or await self._store.find(effect.id)
        if job is None or job.finished_ms is not None:
            return
        result, body = _result(effect, outcome)
        webhook_body = body if body is not None and len(body) <= WEBHOOK_BODY_BYTES_MAX else None
        now_ms = clock.wall_ms()
        ended = EndedJob(
            job=job, state=effect.state, result=result, finished_ms=now_ms, body=webhook_body
        )
        if effect.state is not JobState.COMPLETED:
            await self._store_failure(ended)
        event = self._webhook_event(ended)
        stored_body = None if job.order.output_url is not None else body
        await self._store.end(job.id, effect.state, result, now_ms, body=stored_body, event=event)
        if event is not None:
            self._on_event()

    async def _store_failure(self, ended: EndedJob) -> None:
        url = ended.job.order.failure_url
        if url is None or self._storage is None:
            return
        content_type, body = self._doors[ended.job.order.door].render_failure(ended)
        for attempt in range(_TRIES):
            try:
                await self._storage.write(url, body, content_type=content_type)
                return
            except ColdsparkError as error:
                _log.warning("job %s: %s could not be written: %s", ended.job.id, url, error)
            await asyncio.sleep(_PAUSE_S * 2**attempt)
        _log.error("job %s: its failure is not at %s, only with the job", ended.job.id, url)

    def _webhook_event(self, ended: EndedJob) -> WebhookEvent | None:
        id = self._event_id()
        message = self._doors[ended.job.order.door].render_webhook(ended, id)
        if message is None:
            return None
        return WebhookEvent(
            id=id,
            endpoint=ended.job.endpoint,
            job=ended.job.id,
            url=message.url,
            headers=message.headers,
            body=message.body,
            created_ms=ended.finished_ms,
            due_ms=ended.finished_ms,
        )


def _result(
    effect: FinishJob, outcome: SucceededAttempt | FailedAttempt | None
) -> tuple[JobResult, bytes | None]:
    if effect.state is JobState.COMPLETED:
        assert isinstance(outcome, SucceededAttempt)
        return outcome.result, outcome.body
    failure = effect.failure or Failure(kind=FailureKind.CANCELLED, message="it was given up")
    if isinstance(outcome, FailedAttempt) and outcome.failure is failure:
        return outcome.result, None
    last = outcome.result if isinstance(outcome, FailedAttempt) else JobResult()
    return (
        JobResult(
            code=failure.kind.value,
            message=failure.message,
            log_tail=last.log_tail or failure.log_tail,
            replica=last.replica,
            request=last.request,
        ),
        None,
    )
