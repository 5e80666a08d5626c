"""The server: alone in its process, or the primary among several that share its port."""

from collections.abc import Sequence
from dataclasses import replace

from coldspark import clock
from coldspark.autoscaling.alarms import LocalAlarmRepository
from coldspark.autoscaling.service import AutoscalingService
from coldspark.billing.replica_accounts import overhead
from coldspark.billing.usage import IdleUsage
from coldspark.cluster.messages import (
    AlarmsRaised,
    AlarmStateChanged,
    BodyReleased,
    IngestLines,
    Measurements,
    MeasureReplicas,
    Message,
    Uses,
    WebhookEventsStored,
)
from coldspark.cluster.ownership import PRIMARY
from coldspark.cluster.primary import Primary
from coldspark.cluster.router_process import clean_up_routers
from coldspark.cluster.shared_jobs import SharedJobs
from coldspark.cluster.shared_platform import (
    SharedKeys,
    SharedPlatform,
    SharedUsages,
    SharedWarmth,
    SnapshotCache,
    SnapshotRefreshMiddleware,
)
from coldspark.config import ServerConfig
from coldspark.database.data_directory import DataDirectory
from coldspark.doors.aws.autoscaling import activities
from coldspark.doors.aws.autoscaling.target_ids import POLICY_MARK, policy_of
from coldspark.doors.aws.cloudwatch import alarm_reasons
from coldspark.doors.door import DoorDependencies, DoorRegistry
from coldspark.errors import InvalidRequest, RouterGone
from coldspark.http import server as gateway
from coldspark.jobs import webhook_client
from coldspark.jobs.metrics import JobMetrics
from coldspark.jobs.outbox import WebhookEventTable
from coldspark.jobs.webhook_client import AddressPolicy, signing_secret
from coldspark.jobs.webhook_sender import WebhookSender
from coldspark.node.cgroups import own_cgroup
from coldspark.node.gpu import devices
from coldspark.node.replica_usage import ReplicaUsage
from coldspark.objects.multipart_uploads import Uploads
from coldspark.objects.upload_sweep import UploadSweep
from coldspark.objects.weights_eviction import WeightsEvictor
from coldspark.platform import catalogue as catalogues
from coldspark.platform.catalogue import Catalogue
from coldspark.platform.platform import LocalPlatform
from coldspark.platform.ports import EndpointView
from coldspark.server.doors import DOORS, build_context
from coldspark.server.process import ProcessIdentity, RouterDependencies, ServerProcess, log
from coldspark.spec.messages import NodeJoined
from coldspark.spec.types import AlarmState, NodeId
from coldspark.tasks import Tasks
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.log_store import LogRetention
from coldspark.telemetry.metric_service import MetricRetention, MetricService
from coldspark.telemetry.sampler import MetricSampler, variant_contexts

_ASK_S = 5.0
_CLOSE_S = 5.0
_POLL_EVERY_S = 5.0
"""For events that other routers stored, should their word be lost with them."""
_HOUR_MS = 3_600_000


class Server(ServerProcess):
    """The process that answers for the whole server.

    With several routers, doors and telemetry see those of all as one: ``view`` and ``services``
    are then shared ones over this process's own.
    """

    directory: DataDirectory
    view: LocalPlatform | SharedPlatform
    """The endpoints of the whole server."""
    metrics: MetricService
    alarms: AlarmService
    scaling: AutoscalingService

    def __init__(self, config: ServerConfig, doors: DoorRegistry = DOORS) -> None:
        """Raises InvalidRequest before anything is written: what is wrong must leave no trace."""
        catalogue = catalogues.load()
        super().__init__(config, catalogue, _node_of(config, catalogue), doors)
        self.primary: Primary | None = None
        """None: the server is one process."""
        self.snapshots: SnapshotCache | None = None

    async def _open(self) -> None:
        config = self.config
        self.directory = directory = DataDirectory.open(config.data)
        self._stack.callback(directory.close)
        cgroup = own_cgroup()
        self.identity = ProcessIdentity(
            data=directory.path,
            directory=directory.path,
            instance=directory.instance_id,
            boot=directory.boot,
            master_key=directory.master_key,
        )
        await self._open_store()
        await clean_up_routers(directory, self.store.ledger, cgroup)
        await self._close_crashed_boots()
        if not config.allow_open:
            gateway.refuse_open_bind(config.host, has_keys=not self.store.keys.is_empty())
        if config.routers > 1:
            self.primary = Primary(config, self.node, directory, cgroup)
        await self._open_engine(_routed(self.primary))
        await self._open_platform()
        self._bound_weights()
        self._share()
        await self._open_telemetry()
        await self._open_jobs()
        await self._open_scaling()
        self.context = build_context(self.door_dependencies(), spool_directory=directory.path)
        log.info("node %s: %s", self.node.node, self.engine.describe())
        await self._take_requests()

    def door_dependencies(self) -> DoorDependencies:
        """Return what the doors work on, for the whole server."""
        return replace(
            super().door_dependencies(),
            platform=self.view,
            objects=self.store.objects,
            metrics=self.metrics,
            alarms=self.alarms,
            logs=self.store.logs,
            scaling=self.scaling,
        )

    # --- the steps, in order ------------------------------------------------------------------

    async def _close_crashed_boots(self) -> None:
        """Give every moment of a run that was killed its line: what none explains is overhead."""
        ledger = self.store.ledger
        for boot in await ledger.crashed():
            covered_ms = boot.last_ms - boot.opened_ms
            bill = self.config.machine_cost.nanos_per_hour * covered_ms // _HOUR_MS
            line: IdleUsage | None = None
            if covered_ms > 0:
                line = overhead(0, bill - boot.nanos, until_ms=boot.last_ms)
            await ledger.close_crashed(boot, line)
            log.info("run %d had been killed: its books are closed", boot.boot)

    def _bound_weights(self) -> None:
        """Keep the models on disk within their bound, where there is one."""
        bytes_max, platform, engine = self.config.weights_bytes_max, self.platform, self.engine
        if bytes_max is None:
            return
        evictor = WeightsEvictor(
            self.store.artifacts, bytes_max, lambda: platform.models() | engine.models()
        )
        evictor.open()
        self._stack.push_async_callback(evictor.close)

    def _share(self) -> None:
        """Let what the doors see be that of all routers, where there are several."""
        self.view = self.platform
        if self.primary is None:
            return
        self.snapshots = SnapshotCache(self.primary)
        self.view = SharedPlatform(self.platform, self.snapshots)
        usages = SharedUsages(self.store.ledger, self.snapshots)
        self.services = replace(
            self.services,
            usages=usages,
            keys=SharedKeys(self.services.keys, self.primary),
            warmth=SharedWarmth(self.services.warmth, self.snapshots),
            bill=self.billing_of(usages, lambda: None),
        )

    async def _open_telemetry(self) -> None:
        """Measure, watch and keep logs, for the whole server."""
        store = self.store
        upload_sweep = UploadSweep(Uploads(store.objects.local))
        upload_sweep.open()
        self._stack.push_async_callback(upload_sweep.close)
        self.metrics = MetricService(
            store.database,
            wall_ms=clock.wall_ms,
            absorb=self._ingest,
            standings=lambda: variant_contexts(self.view.endpoints()),
            retention=MetricRetention(factor=self.config.metrics_retention),
        )
        self.alarms = AlarmService(
            store.database, self.metrics, wall_ms=clock.wall_ms, explain=alarm_reasons.explain
        )
        sampler = MetricSampler(self.metrics, self._views, self._usages, clock.wall_ms)
        self.metrics.open()
        self._stack.push_async_callback(self.metrics.close)
        await self.alarms.open()
        self._stack.push_async_callback(self.alarms.close)
        sampler.open()
        self._stack.push_async_callback(sampler.close)
        self.engine.measure_into(self.metrics)
        self.platform.watch_alarms(self.alarms)
        retention = LogRetention(store.logs, self.view, renew=self._refresh)
        retention.open()
        self._stack.push_async_callback(retention.close)
        if self.primary is not None:
            self._share_telemetry(self.primary)

    def _share_telemetry(self, primary: Primary) -> None:
        """Keep what all routers measure, tell all of alarms, and remove what they replaced."""
        metrics, alarms, buckets, tasks = (
            self.metrics,
            self.alarms,
            self.store.objects.local,
            Tasks(),
        )
        assert isinstance(self.view, SharedPlatform)
        self.view.alarms = alarms

        def ingest(told: Measurements) -> None:
            for one in told.values:
                metrics.add(one.metric, one.value, one.at_ms, unit=one.unit, count=one.count)

        def greeting() -> Sequence[Message]:
            raised = (one for one in alarms.alarms() if one.stored.state is AlarmState.ALARM)
            return [AlarmsRaised([one.name for one in raised])]

        primary.subscribe(Measurements, ingest)
        primary.add_greeting(greeting)
        alarms.watch(lambda *moved: primary.broadcast(AlarmStateChanged(*moved)))
        primary.subscribe(BodyReleased, lambda fell: tasks.spawn(buckets.drop_body(fell.body)))
        self._stack.push_async_callback(tasks.close, _CLOSE_S)

    async def _open_jobs(self) -> None:
        """Go on with the jobs and webhook events on disk."""
        group, events = self._open_webhook_events()
        sender = self._new_sender(events)
        sender.open()
        self._stack.push_async_callback(sender.close)
        runner = self._new_runner(group, self.metrics, sender.wake)
        await self._open_runner(runner)
        self.jobs = runner if self.primary is None else SharedJobs(runner, self.primary)
        self.webhooks = sender

    def _new_sender(self, events: WebhookEventTable) -> WebhookSender:
        policy = AddressPolicy.of(self.config)

        async def post(url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> int:
            return await webhook_client.post(url, headers, body, policy)

        secret, measures = signing_secret(self.identity.master_key), JobMetrics(self.metrics)
        if self.primary is None:
            return WebhookSender(events, post, secret, measures)
        sender = WebhookSender(events, post, secret, measures, poll_every_s=_POLL_EVERY_S)
        self.primary.subscribe(WebhookEventsStored, lambda _: sender.wake())
        return sender

    async def _open_scaling(self) -> None:
        """Move scalable targets, of the whole server."""
        self.scaling = AutoscalingService(
            self.view,
            self.store.documents,
            LocalAlarmRepository(self.alarms, self.metrics, policy_of),
            wall_ms=clock.wall_ms,
            explain=activities.explain,
            see=self._refresh_all,
        )
        self.alarms.add_action_handler(POLICY_MARK, self.scaling.on_action)
        await self.scaling.open()
        self._stack.push_async_callback(self.scaling.close)

    async def _take_requests(self) -> None:
        primary, snapshots, context = self.primary, self.snapshots, self.context
        if primary is None or snapshots is None:
            await self._listen()
            return
        self._stack.push_async_callback(primary.close)
        # Invocations that stay here are for endpoints of its own.
        context.platform = self.platform
        context.app = SnapshotRefreshMiddleware(context.app, self.doors, snapshots.refresh)
        context.counters.other_processes = snapshots.counters
        channels = primary.fd_channels
        await self._listen([channel.write_end for channel in channels], channels[PRIMARY].read_end)
        self._stack.callback(primary.drain)
        await primary.open(self.platform.controller, self.store.ledger, self.listening.sockets)

    # --- the whole server, for those who measure it -------------------------------------------

    async def _refresh(self) -> None:
        if self.snapshots is not None:
            await self.snapshots.refresh()

    async def _refresh_all(self) -> None:
        """Raises RouterGone where an endpoint may be missing from the views."""
        await self._refresh()
        others = self.config.routers - 1
        if self.snapshots is not None and not self.snapshots.has_snapshots_of(others):
            raise RouterGone("not every router has told of its endpoints yet: try again")

    async def _views(self) -> Sequence[EndpointView]:
        await self._refresh()
        return self.view.endpoints()

    async def _ingest(self) -> None:
        if self.primary is not None:
            await self.primary.request_all(IngestLines(), None, _ASK_S)
        await self.store.ledger.ingest()

    async def _usages(self) -> Sequence[ReplicaUsage]:
        others: dict[int, Uses] = {}
        if self.primary is not None:
            others = await self.primary.request_all(MeasureReplicas(), Uses, _ASK_S)
        return [*await self.engine.measure(), *(use for uses in others.values() for use in uses)]


def _node_of(config: ServerConfig, catalogue: Catalogue) -> NodeJoined:
    """Describe this machine to placement; simulated devices stand beside real ones."""
    machine = devices.host_capacity()
    found = devices.discover(catalogue)
    try:
        declared = devices.simulated(config.simulate, catalogue)
    except ValueError as error:
        raise InvalidRequest(str(error), field="simulate") from error
    return NodeJoined(
        node=NodeId("local"),
        memory_bytes=config.memory or machine.memory_bytes,
        vcpus=config.vcpus or machine.vcpus,
        devices=found.devices + declared,
    )


def _routed(primary: Primary | None) -> RouterDependencies | None:
    if primary is None:
        return None
    return RouterDependencies(
        placement=primary.make_placement,
        accounts=primary.make_accounts(),
        settle=primary.settle,
        settle_last=primary.settle_own,
    )
