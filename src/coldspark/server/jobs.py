"""Put together what runs jobs, and who is told of them.

With several routers each runs the jobs of its own endpoints. The lead alone sends notices, forgets
old jobs, and answers for all.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from coldspark.cluster.messages import Message, WebhookEventsStored
from coldspark.cluster.ownership import PRIMARY, owner_of
from coldspark.cluster.primary import Primary
from coldspark.cluster.shared_jobs import RemoteOutbox, SharedJobs
from coldspark.config import ServerConfig
from coldspark.database.data_directory import DataDirectory
from coldspark.database.group_commit import GroupCommit
from coldspark.doors.aws.sagemaker.asynchronous.jobs import AsyncJobs
from coldspark.doors.aws.sagemaker.asynchronous.webhook_events import AsyncJobDoor
from coldspark.doors.native.jobs import NativeJobDoor
from coldspark.http.request_ids import request_ids
from coldspark.jobs import webhook_client
from coldspark.jobs.completion import JobCompletion
from coldspark.jobs.jobs_table import Jobs
from coldspark.jobs.messages import JobPolicy
from coldspark.jobs.metrics import JobMetrics
from coldspark.jobs.outbox import WebhookEventTable
from coldspark.jobs.ports import JobDoor, JobsAtWork, WebhookOutbox
from coldspark.jobs.runner import JOBS_MAX, JobRunner
from coldspark.jobs.webhook_client import AddressPolicy, signing_secret
from coldspark.jobs.webhook_sender import WebhookSender
from coldspark.platform.metric_ports import Metrics
from coldspark.platform.platform import LocalPlatform
from coldspark.server.composition import ServerStore

_LOOK_EVERY_S = 5.0
"""For notices that other routers kept, should their word be lost with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What a process has that runs jobs."""

    config: ServerConfig
    router: int
    store: ServerStore
    platform: LocalPlatform
    metrics: Metrics

    def owns(self, endpoint: str) -> bool:
        """Return whether an endpoint belongs to this process."""
        return owner_of(endpoint, self.config.routers) == self.router

    def asked(self, runner: JobsAtWork, notifier: WebhookOutbox) -> AsyncJobs:
        """Return what doors ask."""
        return AsyncJobs(
            runner=runner,
            notifier=notifier,
            policy=_policy(self.config),
            topics=self.config.webhooks.topics,
        )


async def open_jobs(
    config: ServerConfig,
    store: ServerStore,
    platform: LocalPlatform,
    directory: DataDirectory,
    stack: AsyncExitStack,
    metrics: Metrics,
    lead: Primary | None,
) -> AsyncJobs:
    """Go on with the jobs and notices on disk, until the stack is closed."""
    group = _group(store, stack)
    notifier = _notifier(config, WebhookEventTable(store.database, group), directory, metrics, lead)
    notifier.open()
    stack.push_async_callback(notifier.close)
    room = _Room(config=config, router=PRIMARY, store=store, platform=platform, metrics=metrics)
    runner = _runner(room, Jobs(store.database, group), notifier.wake)
    await open_runner(runner, stack)
    return room.asked(runner if lead is None else SharedJobs(runner, lead), notifier)


def worker_jobs(
    config: ServerConfig,
    router: int,
    store: ServerStore,
    platform: LocalPlatform,
    metrics: Metrics,
    send: Callable[[Message], None],
    stack: AsyncExitStack,
) -> tuple[AsyncJobs, JobRunner]:
    """Return the jobs of a router beside the lead, for its doors, and to be opened."""
    group = _group(store, stack)

    def on_notice() -> None:
        send(WebhookEventsStored())

    room = _Room(config=config, router=router, store=store, platform=platform, metrics=metrics)
    runner = _runner(room, Jobs(store.database, group), on_notice)
    left = RemoteOutbox(WebhookEventTable(store.database, group), on_notice)
    return room.asked(runner, left), runner


async def open_runner(runner: JobRunner, stack: AsyncExitStack) -> None:
    """Go on with the jobs on disk, until the stack is closed."""
    await runner.open()
    stack.push_async_callback(runner.close)


def _group(store: ServerStore, stack: AsyncExitStack) -> GroupCommit:
    group = GroupCommit(store.database)
    stack.push_async_callback(group.close)
    return group


def _policy(config: ServerConfig) -> AddressPolicy:
    return AddressPolicy(
        allows_private=config.webhooks.allow_private, allows_loopback=config.is_loopback
    )


def _notifier(
    config: ServerConfig,
    notices: WebhookEventTable,
    directory: DataDirectory,
    metrics: Metrics,
    lead: Primary | None,
) -> WebhookSender:
    policy = _policy(config)

    async def post(url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> int:
        return await webhook_client.post(url, headers, body, policy)

    secret, measures = signing_secret(directory.master_key), JobMetrics(metrics)
    if lead is None:
        return WebhookSender(notices, post, secret, measures)
    notifier = WebhookSender(notices, post, secret, measures, poll_every_s=_LOOK_EVERY_S)
    lead.subscribe(WebhookEventsStored, lambda _: notifier.wake())
    return notifier


def _runner(room: _Room, jobs: Jobs, on_notice: Callable[[], None]) -> JobRunner:
    ids, objects = request_ids(), room.store.objects
    doors: dict[str, JobDoor] = {"sagemaker": AsyncJobDoor(), "native": NativeJobDoor()}
    return JobRunner(
        platform=room.platform,
        store=jobs,
        storage=objects,
        ending=JobCompletion(jobs, objects, doors, on_notice, lambda: next(ids)),
        measures=JobMetrics(room.metrics),
        ids=ids,
        owns=room.owns,
        policy=JobPolicy(jobs_max=room.config.jobs_max),
        open_max=JOBS_MAX // room.config.routers,
        forgets=room.router == PRIMARY,
    )
