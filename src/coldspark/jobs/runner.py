"""Run jobs as slots allow: the rules of each endpoint's queue decide, this performs.

- A job is recorded before anything follows from it: stored before its caller is answered, begun
  before it is submitted, its answer stored before it is completed.
- So kill -9 at any point loses nothing: an attempt that was under way is made again, and puts its
  answer over the one before it.
- Few requests are submitted at a time, so that the backlog stays on disk and not in the fleet's
  queue: as many as all replicas together can run, and some ahead.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator

from coldspark import clock
from coldspark.errors import BY_CODE, ColdsparkError, Conflict, NotFound
from coldspark.jobs.attempt import Attempt, FailedAttempt, SucceededAttempt
from coldspark.jobs.completion import JobCompletion
from coldspark.jobs.endpoint_queue import EndpointQueue, JobRetention, refuse_components, slots_of
from coldspark.jobs.jobs_table import job_of, numbers_from
from coldspark.jobs.messages import (
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
from coldspark.jobs.ports import (
    BacklogDepth,
    JobCounter,
    JobMetricsSink,
    JobOrder,
    JobPlatform,
    JobStore,
    JobTimes,
    StoredJob,
)
from coldspark.jobs.rules import JobBacklog
from coldspark.platform.storage_ports import ObjectStorage
from coldspark.spec.types import EndpointName, Failure, FailureKind, RequestId, VariantName
from coldspark.tasks import Tasks

_log = logging.getLogger(__name__)

JOBS_MAX = 1_000_000
"""That have no final state, of all endpoints together: each takes some 300 bytes of memory."""
_LOOK_S = 1.0
_DEPTH_EVERY_S = 10.0
_QUIET_S = 900.0
"""An endpoint without jobs is measured for so much longer: a graph that ends says nothing."""
_PURGE_EVERY_S = 60.0
_CLOSE_S = 5.0


class JobRunner:
    """The jobs of those endpoints that this process owns."""

    def __init__(
        self,
        *,
        platform: JobPlatform,
        store: JobStore,
        storage: ObjectStorage | None,
        ending: JobCompletion,
        measures: JobMetricsSink,
        ids: Iterator[RequestId],
        owns: Callable[[EndpointName], bool] = lambda name: True,
        policy: JobPolicy | None = None,
        retention: JobRetention | None = None,
        open_max: int = JOBS_MAX,
        forgets: bool = True,
    ) -> None:
        """Take the dependencies. ``storage`` None: bodies and answers are stored here alone.

        ``forgets``: whether ended jobs of all endpoints, not of its own alone, are purged here.
        """
        self._platform = platform
        self._store = store
        self._storage = storage
        self._ending = ending
        self._measures = measures
        self._ids = ids
        self._owns = owns
        self._policy = policy or JobPolicy()
        self._retention = retention or JobRetention()
        self._open_max = open_max
        self._forgets = forgets
        self._lines: dict[EndpointName, EndpointQueue] = {}
        self._number = numbers_from(())
        self._open = 0
        self._refusals: dict[JobId, Failure] = {}
        self._tasks = Tasks()
        self._is_closing = False

    @property
    def has_storage(self) -> bool:
        """Return whether bodies and answers may lie elsewhere."""
        return self._storage is not None

    async def open(self) -> None:
        """Resume every job that has no final state."""
        found = await self._store.unfinished(self._owns)
        self._number = numbers_from(found)
        for stored in found:
            self._post(self._line(stored.endpoint), JobRestored(job_of(stored)))
        for queue in list(self._lines.values()):
            self._update_slots(queue)
        if found:
            _log.info("jobs: going on with %d", len(found))
        self._tasks.every(_DEPTH_EVERY_S, self._measure_all, "measure the backlogs", at_once=True)
        if self._forgets:
            self._tasks.every(_PURGE_EVERY_S, self._purge, "forget old jobs")

    async def close(self) -> None:
        """Begin nothing more, cancel what runs: the next server makes it again."""
        self._is_closing = True
        for queue in self._lines.values():
            if queue.timer is not None:
                queue.timer.cancel()
        await self._tasks.close(_CLOSE_S)

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

        Raises NotFound for an unknown endpoint, ComponentNeeded for one whose components a job
        cannot name, and QueueFull when too much waits.
        """
        refuse_components(self._platform.endpoint(endpoint))
        if self._is_closing:
            raise Conflict("the server is stopping: send the job again")
        now_ms = clock.wall_ms()
        job = Job(
            id=id or JobId(next(self._ids)),
            number=self._number(),
            size_bytes=len(body),
            accepted_ms=now_ms,
            expires_ms=now_ms + round(ttl_s * 1_000),
            timeout_ms=round(timeout_s * 1_000),
        )
        queue = self._line(endpoint)
        self._post(queue, JobArrived(job))
        refusal = self._refusals.pop(job.id, None)
        if refusal is not None:
            raise _error(refusal)
        # In a task of its own: a caller who disconnects now does not leave the job half accepted.
        await asyncio.shield(self._tasks.spawn(self._persist(queue, job, order, body)))
        refusal = self._refusals.pop(job.id, None)
        if refusal is not None:
            raise _error(refusal)
        return job.id

    async def _persist(self, queue: EndpointQueue, job: Job, order: JobOrder, body: bytes) -> None:
        try:
            await self._store.add(job, queue.endpoint, order, body)
        except Exception:  # noqa: BLE001
            # The store's edge: its caller gets the failure.
            _log.exception("jobs: one could not be kept")
            message = "the disk refuses the job: free space in the data directory"
            self._refusals[job.id] = Failure(kind=FailureKind.STORAGE_FULL, message=message)
            self._post(queue, JobNotPersisted(job.id))
        else:
            self._post(queue, JobPersisted(job.id))

    async def cancel(self, endpoint: EndpointName, id: JobId) -> None:
        """Cancel a job. Raises NotFound for one that has no final state to be kept from."""
        queue = self._lines.get(endpoint)
        if queue is None or queue.backlog.find(id) is None:
            raise NotFound(f"endpoint {endpoint} has no job {id} that waits or runs")
        self._post(queue, CancelRequested(id))

    async def find(self, id: JobId) -> StoredJob | None:
        """Return a job."""
        return await self._store.find(id)

    async def output(self, id: JobId) -> bytes:
        """Return the answer that is stored with a job."""
        return await self._store.output(id)

    async def newest(
        self, endpoint: EndpointName | None, state: JobState | None, limit: int
    ) -> list[StoredJob]:
        """Return the newest jobs, newest first."""
        return await self._store.newest(endpoint, state, limit)

    # --- one step -----------------------------------------------------------------------------

    def _line(self, endpoint: EndpointName) -> EndpointQueue:
        queue = self._lines.get(endpoint)
        if queue is None:
            queue = self._lines[endpoint] = EndpointQueue(endpoint, JobBacklog(self._policy))
        return queue

    def _post(self, queue: EndpointQueue, event: JobEvent) -> None:
        """Pass an event to a queue, and perform its effects."""
        if self._is_closing and not isinstance(
            event, AttemptSucceeded | JobPersisted | JobNotPersisted
        ):
            return
        before = queue.backlog.waiting + queue.backlog.running
        effects = queue.backlog.step(event, clock.wall_ms())
        self._open += queue.backlog.waiting + queue.backlog.running - before
        for effect in effects:
            self._perform(queue, effect)
        now_s = clock.monotonic_s()
        queue.busy_s = now_s
        if not isinstance(event, SlotsChanged | JobRestored) and now_s - queue.checked_s >= _LOOK_S:
            self._update_slots(queue)
        self._publish_backlog(queue)

    def _perform(self, queue: EndpointQueue, effect: JobEffect) -> None:
        match effect:
            case PersistJob(id):
                if self._open >= self._open_max:
                    self._post(queue, JobNotPersisted(id))
                    message = f"{self._open} jobs of all endpoints wait already: retry later"
                    self._refusals[id] = Failure(kind=FailureKind.QUEUE_FULL, message=message)
            case RefuseJob(id, failure):
                self._refusals[id] = failure
            case BeginJob():
                if not self._is_closing:
                    self._tasks.spawn(self._attempt(queue, effect))
            case PostponeJob():
                self._tasks.spawn(self._postpone(queue, effect))
            case StopJob(id):
                if id in queue.attempts:
                    queue.attempts[id].stop()
            case FinishJob():
                queue.completing += 1
                self._tasks.spawn(self._end(queue, effect))
            case TickJobsAt(at_ms):
                self._arm(queue, at_ms)

    def _arm(self, queue: EndpointQueue, at_ms: float) -> None:
        if queue.timer is not None:
            queue.timer.cancel()
        delay_s = max(0.001, (at_ms - clock.wall_ms()) / 1_000 + 0.001)
        loop = asyncio.get_running_loop()
        queue.timer = loop.call_later(delay_s, self._post, queue, JobsTicked())

    def _update_slots(self, queue: EndpointQueue) -> None:
        """Update how many jobs of an endpoint may run now."""
        queue.checked_s = clock.monotonic_s()
        try:
            view = self._platform.endpoint(queue.endpoint)
        except NotFound as error:
            message = f"endpoint {queue.endpoint} was deleted: {error.message}"
            failure = Failure(kind=FailureKind.ENDPOINT_RETIRED, message=message)
            self._post(queue, EndpointDeleted(failure))
            return
        slots = slots_of(view)
        if slots != queue.slots:
            queue.slots = slots
            self._post(queue, SlotsChanged(slots))

    def _publish_backlog(self, queue: EndpointQueue) -> None:
        """Publish the backlog to the platform, when it has changed by a tenth."""
        waiting = queue.backlog.waiting
        if abs(waiting - queue.reported_backlog) * 10 > queue.reported_backlog or (
            not waiting and queue.reported_backlog
        ):
            queue.reported_backlog = waiting
            self._platform.set_backlog(queue.endpoint, waiting)

    # --- what effects lead to -----------------------------------------------------------------

    async def _attempt(self, queue: EndpointQueue, begin: BeginJob) -> None:
        event: AttemptSucceeded | AttemptFailed
        try:
            event = await self._attempted(queue, begin)
        except Exception as error:  # noqa: BLE001
            # The attempt's edge: the job is on disk, and is tried again some times.
            _log.exception("job %s: attempt %d failed", begin.id, begin.attempt)
            message = f"the platform made a mistake: {type(error).__name__}"
            failure = Failure(kind=FailureKind.REPLICA_DIED, message=message)
            event = AttemptFailed(begin.id, begin.attempt, failure, RetryKind.COUNTED)
        self._post(queue, event)

    async def _attempted(
        self, queue: EndpointQueue, begin: BeginJob
    ) -> AttemptSucceeded | AttemptFailed:
        id, began_ms = begin.id, clock.wall_ms()
        found = await self._store.begin(id, begin.attempt, begin.lease_ms, began_ms)
        if found is None:
            failure = Failure(kind=FailureKind.CANCELLED, message="the job has ended already")
            return AttemptFailed(id, begin.attempt, failure, RetryKind.NEVER)
        job, body = found
        attempt = Attempt(self._platform, self._storage, job, body, next(self._ids))
        queue.attempts[id] = attempt
        try:
            result = await attempt.run()
        finally:
            if queue.attempts.get(id) is attempt:
                del queue.attempts[id]
        if queue.backlog.find(id) is not None:
            queue.outcomes[id] = job, result
        if isinstance(result, SucceededAttempt):
            self._time(job, result, began_ms)
            return AttemptSucceeded(id, begin.attempt)
        if result.counted is not None:
            self._measures.count(queue.endpoint, _variant(result), result.counted)
        if result.is_gone:
            queue.checked_s = float("-inf")
        return AttemptFailed(id, begin.attempt, result.failure, result.again)

    def _time(self, job: StoredJob, result: SucceededAttempt, began_ms: int) -> None:
        times = JobTimes(
            waited_ms=began_ms - job.accepted_ms,
            total_ms=clock.wall_ms() - job.accepted_ms,
            fetch_us=result.fetch_us,
            write_us=result.write_us,
        )
        self._measures.times(job.endpoint, result.receipt.usage.variant, times)

    async def _postpone(self, queue: EndpointQueue, effect: PostponeJob) -> None:
        # Not known to the next server if this is lost: it then begins the job a little early.
        await self._store.postpone(effect.id, effect.failures, effect.due_ms)

    async def _end(self, queue: EndpointQueue, effect: FinishJob) -> None:
        job, result = queue.outcomes.pop(effect.id, (None, None))
        try:
            await self._ending.complete(effect, job, result)
        finally:
            queue.completing -= 1
        variant = None if result is None else _variant(result)
        for what in _COUNTED.get(effect.state, ()):
            self._measures.count(queue.endpoint, variant, what)

    # --- now and then -------------------------------------------------------------------------

    async def _measure_all(self) -> None:
        for queue in list(self._lines.values()):
            self._update_slots(queue)
            self._measure(queue)

    def _measure(self, queue: EndpointQueue) -> None:
        backlog, now_s = queue.backlog, clock.monotonic_s()
        if not (backlog.is_empty and not queue.completing):
            queue.busy_s = now_s
        elif now_s - queue.busy_s > _QUIET_S:
            if queue.timer is not None:
                queue.timer.cancel()
            del self._lines[queue.endpoint]
            return
        oldest_ms = backlog.oldest_ms
        age_s = 0.0 if oldest_ms is None else (clock.wall_ms() - oldest_ms) / 1_000
        try:
            view = self._platform.endpoint(queue.endpoint)
        except NotFound:
            return
        states = [replica.state for variant in view.variants for replica in variant.replicas]
        replicas = sum(state in ("ready", "busy") for state in states)
        depth = BacklogDepth(waiting=backlog.waiting, oldest_s=age_s, replicas=replicas)
        self._measures.depth(queue.endpoint, depth)

    async def _purge(self) -> None:
        kept = self._retention
        before_ms = clock.wall_ms() - round(kept.jobs_s * 1_000)
        await self._store.purge(before_ms, kept.jobs_max, kept.bytes_max)


_COUNTED = {
    JobState.COMPLETED: (JobCounter.PROCESSED,),
    JobState.FAILED: (JobCounter.PROCESSED, JobCounter.FAILED),
    JobState.EXPIRED: (JobCounter.EXPIRED,),
}


def _variant(result: SucceededAttempt | FailedAttempt) -> VariantName | None:
    return None if result.receipt is None else result.receipt.usage.variant


def _error(failure: Failure) -> ColdsparkError:
    return BY_CODE[failure.kind](failure.message, retry_after_s=failure.retry_after_s)
