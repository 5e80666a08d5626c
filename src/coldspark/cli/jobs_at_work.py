"""Put together what runs jobs, and who is told of them."""

from contextlib import AsyncExitStack

from coldspark.cli.composition import Store
from coldspark.config import ServerConfig
from coldspark.core.job_messages import JobPolicy
from coldspark.gateway.native.job_words import NativeJobs
from coldspark.gateway.request_ids import request_ids
from coldspark.gateway.sagemaker.async_jobs import AsyncJobs
from coldspark.gateway.sagemaker.async_notices import AsyncDoor
from coldspark.runtime import webhooks
from coldspark.runtime.job_metrics import JobMetrics
from coldspark.runtime.jobs.ending import Ending
from coldspark.runtime.jobs.notifier import Notifier
from coldspark.runtime.jobs.ports import JobDoor, NoMeasures
from coldspark.runtime.jobs.runner import JobRunner
from coldspark.runtime.metric_ports import Metrics
from coldspark.runtime.platform import LocalPlatform
from coldspark.runtime.webhooks import AddressPolicy, signing_secret
from coldspark.store.directory import DataDirectory
from coldspark.store.group_commit import GroupCommit
from coldspark.store.jobs import Jobs
from coldspark.store.notices import Notices


async def open_jobs(
    config: ServerConfig,
    store: Store,
    platform: LocalPlatform,
    directory: DataDirectory,
    stack: AsyncExitStack,
    metrics: Metrics | None = None,
) -> AsyncJobs | None:
    """Go on with the jobs and notices on disk, until the stack is closed.

    Several routers would have to share them; until they do, None: jobs are refused.
    """
    if config.routers > 1:
        return None
    group = GroupCommit(store.database)
    stack.push_async_callback(group.close)
    jobs, notices, ids = Jobs(store.database, group), Notices(store.database, group), request_ids()
    measures = NoMeasures() if metrics is None else JobMetrics(metrics)
    hooks = config.webhooks
    policy = AddressPolicy(allows_private=hooks.allow_private, allows_loopback=config.is_loopback)

    async def post(url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> int:
        return await webhooks.post(url, headers, body, policy)

    notifier = Notifier(notices, post, signing_secret(directory.master_key), measures)
    notifier.open()
    stack.push_async_callback(notifier.close)
    doors: dict[str, JobDoor] = {"sagemaker": AsyncDoor(), "native": NativeJobs()}
    runner = JobRunner(
        platform=platform,
        store=jobs,
        storage=store.objects,
        ending=Ending(jobs, store.objects, doors, notifier.wake, lambda: next(ids)),
        measures=measures,
        ids=ids,
        policy=JobPolicy(jobs_max=config.jobs_max),
    )
    await runner.open()
    stack.push_async_callback(runner.close)
    return AsyncJobs(runner=runner, notifier=notifier, policy=policy, topics=hooks.topics)
