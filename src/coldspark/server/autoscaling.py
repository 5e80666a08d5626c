"""Scalable targets of one server: in the one process, or in the lead of several."""

from contextlib import AsyncExitStack

from coldspark import clock
from coldspark.autoscaling.alarms import LocalAlarmRepository
from coldspark.autoscaling.service import AutoscalingService
from coldspark.config import ServerConfig
from coldspark.doors.aws.autoscaling.activities import explain
from coldspark.doors.aws.autoscaling.target_ids import POLICY_MARK, policy_of
from coldspark.errors import RouterGone
from coldspark.platform.platform import LocalPlatform
from coldspark.server.composition import ServerStore
from coldspark.server.primary import SharedDependencies
from coldspark.server.telemetry import Telemetry


async def open_scaling(
    config: ServerConfig,
    store: ServerStore,
    platform: LocalPlatform,
    shared: SharedDependencies | None,
    measured: Telemetry,
    stack: AsyncExitStack,
) -> AutoscalingService:
    """Scale until the stack is closed."""

    async def see() -> None:
        if shared is None:
            return
        await shared.snapshots.refresh()
        if not shared.snapshots.has_snapshots_of(config.routers - 1):
            raise RouterGone("not every router has told of its endpoints yet: try again")

    scaling = AutoscalingService(
        platform if shared is None else shared.platform,
        store.documents,
        LocalAlarmRepository(measured.alarms, measured.metrics, policy_of),
        wall_ms=clock.wall_ms,
        explain=explain,
        see=see,
    )
    measured.alarms.add_action_handler(POLICY_MARK, scaling.on_action)
    await scaling.open()
    stack.push_async_callback(scaling.close)
    return scaling
