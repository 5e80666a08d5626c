"""Scalable targets of one server: in the one process, or in the lead of several."""

from contextlib import AsyncExitStack

from coldspark import clock
from coldspark.autoscaling.alarms import POLICY_MARK, KeptAlarms
from coldspark.autoscaling.service import Scaling
from coldspark.config import ServerConfig
from coldspark.errors import RouterGone
from coldspark.platform.platform import LocalPlatform
from coldspark.server.composition import Store
from coldspark.server.primary import Shared
from coldspark.server.telemetry import Measuring


async def open_scaling(
    config: ServerConfig,
    store: Store,
    platform: LocalPlatform,
    shared: Shared | None,
    measured: Measuring,
    stack: AsyncExitStack,
) -> Scaling:
    """Scale until the stack is closed."""

    async def see() -> None:
        if shared is None:
            return
        await shared.mirror.renew()
        if not shared.mirror.has_seen(config.routers - 1):
            raise RouterGone("not every router has told of its endpoints yet: try again")

    scaling = Scaling(
        platform if shared is None else shared.platform,
        store.documents,
        KeptAlarms(measured.alarms, measured.metrics),
        wall_ms=clock.wall_ms,
        see=see,
    )
    measured.alarms.deliver(POLICY_MARK, scaling.on_action)
    await scaling.open()
    stack.push_async_callback(scaling.close)
    return scaling
