"""What AWS's doors work on besides the platform, opened in order."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from coldspark.autoscaling.service import AutoscalingService
from coldspark.config import ServerConfig
from coldspark.database.data_directory import DataDirectory
from coldspark.doors.aws.sagemaker.asynchronous.jobs import AsyncJobs
from coldspark.node.engine import LocalEngine
from coldspark.objects.multipart_uploads import Uploads
from coldspark.objects.upload_sweep import UploadSweep
from coldspark.platform.platform import LocalPlatform
from coldspark.platform.ports import Platform
from coldspark.server import autoscaling, telemetry
from coldspark.server.alarm_webhooks import deliver_alarms
from coldspark.server.composition import ServerStore
from coldspark.server.jobs import open_jobs
from coldspark.server.primary import SharedDependencies
from coldspark.server.shared_telemetry import share_telemetry
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.log_store import LogRetention
from coldspark.telemetry.metric_service import MetricService


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsDependencies:
    """The neighbours of the doors, at work until the stack is closed."""

    metrics: MetricService
    alarms: AlarmService
    jobs: AsyncJobs
    scaling: AutoscalingService


async def open_aws_dependencies(
    config: ServerConfig,
    store: ServerStore,
    directory: DataDirectory,
    platform: LocalPlatform,
    engine: LocalEngine,
    shared: SharedDependencies | None,
    stack: AsyncExitStack,
) -> AwsDependencies:
    """Open them in the one process, or in the lead of several."""
    upload_sweep = UploadSweep(Uploads(store.objects.local))
    upload_sweep.open()
    stack.push_async_callback(upload_sweep.close)
    sources = telemetry.sources_of(store, platform, engine, shared)
    measured = await telemetry.open_telemetry(config, store, sources, stack)
    engine.measure_into(measured.metrics)
    platform.watch_alarms(measured.alarms)
    _keep_logs(store, platform if shared is None else shared.platform, shared, stack)
    if shared is not None:
        share_telemetry(shared, store, measured, stack)
    lead = None if shared is None else shared.snapshots.primary
    jobs = await open_jobs(config, store, platform, directory, stack, measured.metrics, lead)
    deliver_alarms(measured.alarms, jobs)
    scaling = await autoscaling.open_scaling(config, store, platform, shared, measured, stack)
    return AwsDependencies(
        metrics=measured.metrics,
        alarms=measured.alarms,
        jobs=jobs,
        scaling=scaling,
    )


def _keep_logs(
    store: ServerStore, platform: Platform, shared: SharedDependencies | None, stack: AsyncExitStack
) -> None:
    """Enforce the retention of logs, in the one process that sees all endpoints."""
    assert store.logs is not None
    renew = None if shared is None else shared.snapshots.refresh
    retention = LogRetention(store.logs, platform, renew=renew)
    retention.open()
    stack.push_async_callback(retention.close)
