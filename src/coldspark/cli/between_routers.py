"""What the lead of several routers hears of them, and tells them, besides requests' affairs."""

from collections.abc import Sequence
from contextlib import AsyncExitStack

from coldspark.cli.composition import Store
from coldspark.cli.leading import Shared
from coldspark.cli.measuring import Measuring
from coldspark.runtime.metric_ports import AlarmState
from coldspark.runtime.metrics.alarm_keeper import AlarmKeeper
from coldspark.runtime.metrics.keeper import MetricKeeper
from coldspark.runtime.routers.lead import Lead
from coldspark.runtime.routers.messages import (
    AlarmMoved,
    AlarmsRaised,
    BodyFell,
    Measurements,
    Message,
)
from coldspark.runtime.tasks import Tasks

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
