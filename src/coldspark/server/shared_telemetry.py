"""What the lead of several routers hears of them, and tells them, besides requests' affairs."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from coldspark.cluster.messages import (
    AlarmsRaised,
    AlarmStateChanged,
    BodyReleased,
    Measurements,
    Message,
)
from coldspark.cluster.primary import Primary
from coldspark.server.composition import ServerStore
from coldspark.server.primary import SharedDependencies
from coldspark.server.telemetry import Telemetry
from coldspark.spec.types import AlarmState
from coldspark.tasks import Tasks
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.metric_service import MetricService

_CLOSE_S = 5.0


def share_telemetry(
    shared: SharedDependencies, store: ServerStore, measured: Telemetry, stack: AsyncExitStack
) -> None:
    """Keep what all measure, tell all of alarms, and remove what they replaced."""
    lead = shared.snapshots.primary
    shared.platform.alarms = measured.alarms
    _keep_measurements(lead, measured.metrics)
    _tell_alarms(lead, measured.alarms)
    tasks, own = Tasks(), store.objects.local
    lead.subscribe(BodyReleased, lambda fell: tasks.spawn(own.drop_body(fell.body)))
    stack.push_async_callback(tasks.close, _CLOSE_S)


def _keep_measurements(lead: Primary, metrics: MetricService) -> None:
    def keep(told: Measurements) -> None:
        for one in told.values:
            metrics.add(one.metric, one.value, one.at_ms, unit=one.unit, count=one.count)

    lead.subscribe(Measurements, keep)


def _tell_alarms(lead: Primary, alarms: AlarmService) -> None:
    def greeting() -> Sequence[Message]:
        raised = (one for one in alarms.alarms() if one.stored.state is AlarmState.ALARM)
        return [AlarmsRaised([one.name for one in raised])]

    lead.add_greeting(greeting)
    alarms.watch(lambda *moved: lead.broadcast(AlarmStateChanged(*moved)))
