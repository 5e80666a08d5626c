"""A runner over a real database and real buckets; the platform answers as a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway_fakes import FakePlatform, Script, definition, echo

from coldspark import clock
from coldspark.database.database import Database
from coldspark.database.group_commit import GroupCommit
from coldspark.http.request_ids import request_ids
from coldspark.jobs.completion import JobCompletion
from coldspark.jobs.jobs_table import Jobs
from coldspark.jobs.messages import FINAL, JobId, JobPolicy
from coldspark.jobs.outbox import WebhookEventTable
from coldspark.jobs.ports import (
    BacklogDepth,
    EndedJob,
    JobCounter,
    JobOrder,
    JobTimes,
    StoredJob,
    WebhookMessage,
)
from coldspark.jobs.runner import JobRunner
from coldspark.objects.local_buckets import LocalBuckets
from coldspark.objects.object_store import ObjectStore
from coldspark.spec.types import EndpointName, ScalePolicy, VariantName

ECHO = EndpointName("echo")
ORDER = JobOrder(door="plain", label="mine")


class JobsPlatform(FakePlatform):
    """A platform that notes what it hears of backlogs."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.told: list[int] = []
        self.came = asyncio.Event()
        self.on_submit = lambda ticket: self.came.set()

    def set_backlog(self, name: EndpointName, jobs: int) -> None:
        """Note the depth."""
        self.told.append(jobs)


class PlainDoor:
    """Implements ``JobDoor`` in few words."""

    def render_failure(self, ended: EndedJob) -> tuple[str, bytes]:
        """Say the message."""
        return "text/plain", (ended.result.message or "").encode()

    def render_webhook(self, ended: EndedJob, notice_id: str) -> WebhookMessage | None:
        """Say the state to whoever asked."""
        order = ended.job.order
        url = order.success_url if ended.state.value == "completed" else order.error_url
        return None if url is None else WebhookMessage(url=url, body=ended.state.value.encode())


@dataclass
class Measures:
    """Implements ``JobMetricsSink`` by keeping everything."""

    counted: list[JobCounter] = field(default_factory=list)
    timed: list[JobTimes] = field(default_factory=list)
    depths: list[BacklogDepth] = field(default_factory=list)

    def count(self, endpoint: EndpointName, variant: VariantName | None, what: JobCounter) -> None:
        """Keep it."""
        self.counted.append(what)

    def times(self, endpoint: EndpointName, variant: VariantName | None, times: JobTimes) -> None:
        """Keep them."""
        self.timed.append(times)

    def depth(self, endpoint: EndpointName, depth: BacklogDepth) -> None:
        """Keep it."""
        self.depths.append(depth)


@dataclass
class Rig:
    """A runner and its neighbours."""

    runner: JobRunner
    platform: JobsPlatform
    jobs: Jobs
    notices: WebhookEventTable
    objects: ObjectStore
    measures: Measures
    ended: asyncio.Event

    async def accept(
        self, body: bytes = b"hi", order: JobOrder = ORDER, *, ttl_s: float = 60.0
    ) -> JobId:
        """Hand a job in."""
        return await self.runner.accept(ECHO, order, body, ttl_s=ttl_s, timeout_s=10.0)

    async def submitted(self, count: int) -> None:
        """Wait until so many requests were handed in."""
        async with asyncio.timeout(20):
            while len(self.platform.invocations) < count:
                self.platform.came.clear()
                await self.platform.came.wait()

    async def end_of(self, id: JobId) -> StoredJob:
        """Wait for a job's final state."""
        async with asyncio.timeout(20):
            while True:
                self.ended.clear()
                job = await self.runner.find(id)
                assert job is not None
                if job.state in FINAL:
                    return job
                await self.ended.wait()


class _Heard(Jobs):
    """Jobs that say when one has ended."""

    def __init__(self, database: Database, group: GroupCommit, ended: asyncio.Event) -> None:
        super().__init__(database, group)
        self._ended = ended

    async def end(self, *args: object, **given: object) -> bool:  # type: ignore[override]
        """End it, and say so."""
        done = await super().end(*args, **given)  # type: ignore[arg-type]
        self._ended.set()
        return done


@asynccontextmanager
async def a_rig(
    path: Path,
    script: Script = echo,
    *,
    policy: JobPolicy | None = None,
    scale: ScalePolicy | None = None,
    prepare: Callable[[Rig], None] = lambda rig: None,
) -> AsyncIterator[Rig]:
    """Open a runner on a directory; another may be opened on the same one later."""
    database = await asyncio.to_thread(Database.open, path / "coldspark.db")
    group, ended = GroupCommit(database), asyncio.Event()
    jobs, notices = _Heard(database, group, ended), WebhookEventTable(database, group)
    own = LocalBuckets(database, path / "buckets", clock.wall_ms)
    await own.open()
    await own.create_bucket("out")
    objects, platform, measures = ObjectStore(own, {}), JobsPlatform(script), Measures()
    wanted = definition(ECHO)
    if scale is not None:
        (variant,) = wanted.variants
        spec = replace(variant.revision.spec, scale=scale)
        variant = replace(variant, revision=replace(variant.revision, spec=spec))
        wanted = replace(wanted, variants=(variant,))
    await platform.deploy(wanted)
    ids = request_ids()
    ending = JobCompletion(
        jobs, objects, {"plain": PlainDoor()}, lambda: None, lambda: str(next(ids))
    )
    runner = JobRunner(
        platform=platform,
        store=jobs,
        storage=objects,
        ending=ending,
        measures=measures,
        ids=ids,
        policy=policy or JobPolicy(backoff_ms=1),
    )
    rig = Rig(runner, platform, jobs, notices, objects, measures, ended)
    prepare(rig)
    await runner.open()
    try:
        yield rig
    finally:
        await runner.close()
        await group.close()
        database.close()
