"""What the lead of several routers hears of them, and tells them, besides requests' affairs."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from coldspark.cluster.messages import AlarmMoved, AlarmsRaised, BodyFell, Measurements, Message
from coldspark.cluster.primary import Lead
from coldspark.server.composition import Store
from coldspark.server.primary import Shared
from coldspark.server.telemetry import Measuring
from coldspark.spec.types import AlarmState
from coldspark.tasks import Tasks
from coldspark.telemetry.alarm_service import AlarmKeeper
from coldspark.telemetry.metric_service import MetricKeeper

_CLOSE_S = 5.0


def share_measuring(
    shared: Shared, store: Store, measured: Measuring, stack: AsyncExitStack
) -> None:
    """Keep what all measure, tell all of alarms, and remove what they replaced."""
    lead = shared.mirror.lead
    shared.platform.alarms = measured.alarms
    _keep_measurements(lead, measured.metrics)
    _tell_alarms(lead, measured.alarms)
    tasks, own = Tasks(), store.objects.own
    lead.hear(BodyFell, lambda fell: tasks.spawn(own.let_fall(fell.body)))
    stack.push_async_callback(tasks.close, _CLOSE_S)


def _keep_measurements(lead: Lead, metrics: MetricKeeper) -> None:
    def keep(told: Measurements) -> None:
        for one in told.values:
            metrics.add(one.metric, one.value, one.at_ms, unit=one.unit, count=one.count)

    lead.hear(Measurements, keep)


def _tell_alarms(lead: Lead, alarms: AlarmKeeper) -> None:
    def greeting() -> Sequence[Message]:
        raised = (one for one in alarms.alarms() if one.stored.state is AlarmState.ALARM)
        return [AlarmsRaised([one.name for one in raised])]

    lead.greet(greeting)
    alarms.watch(lambda *moved: lead.tell_all(AlarmMoved(*moved)))
