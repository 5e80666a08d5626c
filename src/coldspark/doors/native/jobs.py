"""``/v1/jobs``: hand work in, look at it, fetch its answer, cancel it."""

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response

from coldspark.doors.native.request import NativeRequest, json_response
from coldspark.doors.native.shapes import JobBody, JobsBody
from coldspark.errors import BodyTooLarge, Conflict, InvalidRequest, NotFound
from coldspark.http.auth.scopes import KeyAction
from coldspark.jobs.endpoint_queue import refuse_components
from coldspark.jobs.messages import FINAL, JobId, JobState
from coldspark.jobs.ports import EndedJob, JobOrder, JobsAtWork, StoredJob, WebhookMessage
from coldspark.spec.types import EndpointName

BODY_BYTES_MAX = 4 * 1024 * 1024
_LIMIT, _LIMIT_MAX = 50, 1_000
_TTL_S, _TTL_S_MAX = 21_600, 7 * 86_400
_TIMEOUT_S = 30.0


async def accept_job(ask: NativeRequest) -> Response:
    """Take a job for an endpoint."""
    ask.allow(KeyAction.INVOKE, ask.endpoint)
    runner = _runner(ask)
    view = ask.app_state.platform.endpoint(ask.endpoint)
    refuse_components(view)
    limit_s = min(variant.revision.spec.limits.request_timeout_s for variant in view.variants)
    limit = min(variant.revision.spec.limits.body_bytes_max for variant in view.variants)
    body = b"".join([piece async for piece in _pieces(ask, min(limit, BODY_BYTES_MAX))])
    headers = ask.request.headers
    order = JobOrder(
        door="native",
        label=ask.text("label") or "",
        content_type=headers.get("content-type"),
        accept=headers.get("accept"),
        key=None if ask.key is None else ask.key.id,
    )
    id = await runner.accept(
        ask.endpoint,
        order,
        body,
        ttl_s=ask.number("ttl_s", _TTL_S, _TTL_S_MAX, low=1),
        timeout_s=ask.number("timeout_s", int(limit_s), int(limit_s), low=1),
    )
    return json_response(JobBody.of(await _find(ask, id)), 202)


async def list_jobs(ask: NativeRequest) -> Response:
    """Return the newest jobs."""
    name = ask.text("endpoint")
    endpoint = None if name is None else EndpointName(name)
    ask.allow(KeyAction.DEPLOY, endpoint)
    word = ask.text("state")
    if word is not None and word not in [state.value for state in JobState]:
        known = ", ".join(state.value for state in JobState)
        raise InvalidRequest(f"state={word!r} must be one of {known}", field="state")
    state = None if word is None else JobState(word)
    limit = ask.number("limit", _LIMIT, _LIMIT_MAX, low=1)
    async with asyncio.timeout(_TIMEOUT_S):
        jobs = await _runner(ask).newest(endpoint, state, limit)
    return json_response(JobsBody(jobs=[JobBody.of(job) for job in jobs]))


async def get_job(ask: NativeRequest) -> Response:
    """Return one job."""
    return json_response(JobBody.of(await _allowed(ask)))


async def get_job_output(ask: NativeRequest) -> Response:
    """Return what an endpoint answered to a job."""
    job = await _allowed(ask)
    if job.state not in FINAL:
        raise Conflict(f"job {job.id} is {job.state}: ask again once it has ended")
    if job.state is not JobState.COMPLETED or job.result is None:
        words = "" if job.result is None else f": {job.result.message}"
        raise NotFound(f"job {job.id} has no answer, it is {job.state}{words}")
    if job.order.output_url is not None:
        raise NotFound(f"the answer of job {job.id} lies at {job.order.output_url}")
    body = await _runner(ask).output(job.id)
    media = job.result.content_type or "application/octet-stream"
    return Response(body, job.result.status or 200, {"content-type": media})


async def cancel_job(ask: NativeRequest) -> Response:
    """Cancel a job."""
    job = await _allowed(ask)
    if job.state in FINAL:
        raise Conflict(f"job {job.id} has ended already: it is {job.state}")
    await _runner(ask).cancel(job.endpoint, job.id)
    return Response(status_code=204)


def _runner(ask: NativeRequest) -> JobsAtWork:
    if ask.app_state.jobs is None:
        raise InvalidRequest("this server runs no jobs")
    return ask.app_state.jobs


async def _find(ask: NativeRequest, id: JobId) -> StoredJob:
    async with asyncio.timeout(_TIMEOUT_S):
        job = await _runner(ask).find(id)
    if job is None:
        raise NotFound(f"there is no job {id[:100]!r}")
    return job


async def _allowed(ask: NativeRequest) -> StoredJob:
    """Return the job that the path names. Whoever may call its endpoint may see it."""
    id = JobId(ask.request.path_params["job"])
    try:
        job = await _find(ask, id)
    except NotFound:
        # Not to be told from a job that the key may not see.
        ask.allow(KeyAction.INVOKE)
        raise
    ask.allow(KeyAction.INVOKE, job.endpoint)
    return job


async def _pieces(ask: NativeRequest, bytes_max: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in ask.request.stream():
        size += len(piece)
        if size > bytes_max:
            raise BodyTooLarge(f"the body of a job may have {bytes_max} bytes at most")
        yield piece


class NativeJobDoor:
    """Implements ``JobDoor``: an order of this door names neither a URL nor a webhook."""

    def render_failure(self, ended: EndedJob) -> tuple[str, bytes]:
        """Say why there is no answer."""
        return "text/plain; charset=utf-8", (ended.result.message or "").encode()

    def render_webhook(self, ended: EndedJob, notice_id: str) -> WebhookMessage | None:
        """Tell nobody."""
        return None
