"""One attempt of one job: fetch its body, have it answered, put the answer where it belongs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from coldspark import clock
from coldspark.errors import BodyTooLarge, ColdsparkError, NotFound
from coldspark.jobs import input_body
from coldspark.jobs.attempt_reply import AttemptReply, AttemptReplyBroken
from coldspark.jobs.input_body import BodyFetch, JobInput
from coldspark.jobs.messages import RetryKind, retry_kind
from coldspark.jobs.ports import JobCounter, JobPlatform, JobResult, StoredJob
from coldspark.jobs.records import RESULT_BYTES_MAX
from coldspark.platform.ports import Invocation, JobTerms, Receipt
from coldspark.platform.storage_ports import ObjectStorage
from coldspark.spec.types import Failure, FailureKind, RequestId

_WORDS_BYTES_MAX = 16 * 1024
_LOG_LINES_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SucceededAttempt:
    """The answer is where it belongs; ``body`` is what is kept here or told."""

    result: JobResult
    body: bytes | None
    receipt: Receipt
    fetch_us: int | None
    write_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedAttempt:
    """There is no answer, or one that is an error."""

    failure: Failure
    again: RetryKind
    result: JobResult
    receipt: Receipt | None = None
    counted: JobCounter | None = None
    is_gone: bool = False
    """There is no such endpoint any more."""


class Attempt:
    """Made once for each attempt."""

    def __init__(
        self,
        platform: JobPlatform,
        storage: ObjectStorage | None,
        job: StoredJob,
        body: bytes,
        request: RequestId,
    ) -> None:
        self._platform = platform
        self._storage = storage
        self._job = job
        self._body = body
        self._request = request
        self._answer = AttemptReply()
        self._is_stopped = False

    def stop(self) -> None:
        """Give up: what the replica does is cancelled."""
        self._is_stopped = True
        if self._answer.ticket is not None:
            self._answer.ticket.cancel()

    async def run(self) -> SucceededAttempt | FailedAttempt:
        """Make the attempt."""
        try:
            given, way = await self._input()
        except (ColdsparkError, TimeoutError) as error:
            return self._not_fetched(error)
        async with _running(way, self._fetch_broke):
            try:
                return await self._ask(given)
            except AttemptReplyBroken as broken:
                if way is not None and way.error is not None:
                    return self._not_fetched(way.error)
                return self._broken(broken)

    async def _input(self) -> tuple[JobInput, BodyFetch | None]:
        url = self._job.order.input_url
        if url is None:
            return JobInput(self._body), None
        view = self._platform.endpoint(self._job.endpoint)
        limit = max(variant.revision.spec.limits.body_bytes_max for variant in view.variants)
        return await input_body.fetch_input(self._stored(), url, limit)

    def _stored(self) -> ObjectStorage:
        assert self._storage is not None, "a job with a URL was taken without object storage"
        return self._storage

    def _fetch_broke(self) -> None:
        if self._answer.ticket is not None:
            self._answer.ticket.cancel()

    async def _ask(self, given: JobInput) -> SucceededAttempt | FailedAttempt:
        """Hand the request in, and take the answer. Raises AttemptReplyBroken."""
        answer = self._answer
        answer.ticket = self._platform.submit(self._invocation(given), answer)
        if self._is_stopped:
            answer.ticket.cancel()
        await answer.head()
        if answer.status >= 400:
            return await self._refused()
        return await self._place(given)

    def _invocation(self, given: JobInput) -> Invocation:
        job, order = self._job, self._job.order
        wait_ms = max(job.expires_ms - clock.wall_ms(), 1)
        return Invocation(
            endpoint=job.endpoint,
            variant=order.variant,
            content_type=order.content_type or given.content_type,
            accept=order.accept,
            headers=order.headers,
            body=given.body,
            stream=given.stream,
            key=order.key,
            started_s=clock.monotonic_s(),
            request=self._request,
            job=JobTerms(wait_s=wait_ms / 1_000, run_s=job.timeout_ms / 1_000),
        )

    async def _refused(self) -> FailedAttempt:
        """Return what a replica's error says."""
        said = await self._answer.read_all(_WORDS_BYTES_MAX) or b"(a long answer)"
        words = said.decode("utf-8", "replace")
        result = JobResult(
            status=self._answer.status,
            content_type=self._answer.content_type,
            code=FailureKind.HANDLER_FAILED.value,
            message=words,
            request=self._request,
        )
        failure = Failure(kind=FailureKind.HANDLER_FAILED, message=words)
        receipt = self._answer.receipt
        return FailedAttempt(failure=failure, again=RetryKind.NEVER, result=result, receipt=receipt)

    async def _place(self, given: JobInput) -> SucceededAttempt | FailedAttempt:
        """Put the answer where it belongs: at its URL before the job is completed, or here."""
        answer, order = self._answer, self._job.order
        began_us, body = clock.monotonic_us(), answer.whole
        if order.output_url is None:
            body = await answer.read_all(RESULT_BYTES_MAX)
            size = len(body or b"")
            if body is None:
                self._cancelled()
                return self._too_long()
        else:
            try:
                stored = await self._stored().write(
                    order.output_url,
                    answer.pieces() if body is None else body,
                    content_type=answer.content_type,
                )
            except ColdsparkError as error:
                self._cancelled()
                return self._not_placed(error)
            size = stored.size_bytes
        assert answer.receipt is not None
        result = JobResult(
            status=answer.status,
            content_type=answer.content_type,
            size_bytes=size,
            replica=answer.receipt.usage.replica,
            request=self._request,
        )
        return SucceededAttempt(
            result=result,
            body=body,
            receipt=answer.receipt,
            fetch_us=given.fetch_us,
            write_us=None if order.output_url is None else clock.monotonic_us() - began_us,
        )

    def _cancelled(self) -> None:
        """Let the replica go: nobody reads on."""
        if self._answer.ticket is not None:
            self._answer.ticket.cancel()

    def _too_long(self) -> FailedAttempt:
        words = (
            f"the answer is longer than {RESULT_BYTES_MAX} bytes, which is as much as is kept with"
            " a job: name an output URL for it"
        )
        failure = Failure(kind=FailureKind.BODY_TOO_LARGE, message=words)
        return self._failed(failure, RetryKind.NEVER)

    def _not_placed(self, error: ColdsparkError) -> FailedAttempt:
        words = f"the answer could not be stored: {error.message}"
        failure = Failure(kind=FailureKind.ARTIFACT_UNAVAILABLE, message=words)
        # A bucket that is not there may be a mistake of a moment, or for good: some attempts.
        return self._failed(failure, RetryKind.COUNTED, counted=JobCounter.WRITE_FAILED)

    def _not_fetched(self, error: ColdsparkError | TimeoutError) -> FailedAttempt:
        words = getattr(error, "message", None) or "the store of the input does not answer"
        kind = FailureKind.ARTIFACT_UNAVAILABLE
        if isinstance(error, NotFound):
            kind = FailureKind.NOT_FOUND
        elif isinstance(error, BodyTooLarge):
            kind = FailureKind.BODY_TOO_LARGE
        is_transient = kind is FailureKind.ARTIFACT_UNAVAILABLE
        failure = Failure(kind=kind, message=f"the input could not be fetched: {words}")
        tried = RetryKind.COUNTED if is_transient else RetryKind.NEVER
        return self._failed(failure, tried, counted=JobCounter.FETCH_FAILED)

    def _broken(self, broken: AttemptReplyBroken) -> FailedAttempt:
        failure, receipt = broken.failure, broken.receipt
        has_run = receipt is not None and receipt.usage.replica is not None
        gone = (FailureKind.ENDPOINT_RETIRED, FailureKind.NOT_FOUND)
        return self._failed(
            failure,
            retry_kind(failure.kind, has_run=has_run),
            receipt=receipt,
            is_gone=failure.kind in gone,
        )

    def _failed(
        self,
        failure: Failure,
        tried: RetryKind,
        *,
        receipt: Receipt | None = None,
        counted: JobCounter | None = None,
        is_gone: bool = False,
    ) -> FailedAttempt:
        receipt = receipt or self._answer.receipt
        result = JobResult(
            code=failure.kind.value,
            message=failure.message,
            log_tail=failure.log_tail[-_LOG_LINES_MAX:],
            replica=None if receipt is None else receipt.usage.replica,
            request=None if receipt is None else self._request,
        )
        return FailedAttempt(
            failure=failure,
            again=tried,
            result=result,
            receipt=receipt,
            counted=counted,
            is_gone=is_gone,
        )


@asynccontextmanager
async def _running(way: BodyFetch | None, on_error: Callable[[], None]) -> AsyncIterator[None]:
    """Fetch a long body beside what is done with it."""
    if way is None:
        yield
        return
    async with asyncio.TaskGroup() as group:
        task = group.create_task(way.run(on_error))
        try:
            yield
        finally:
            task.cancel()
