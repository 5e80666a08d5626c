"""What scaling asks of alarms: those it makes for target tracking, and those that name a policy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from coldspark.platform.metric_ports import AlarmRule, OnAlarm
from coldspark.platform.metric_ports import Alarms as AlarmPort
from coldspark.spec.types import AlarmState
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.metric_queries import MetricTimeRange, evaluate_queries
from coldspark.telemetry.metric_service import MetricService

POLICY_ARN_PART = ":scalingPolicy:"
"""What stands in every policy's ARN, before its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmDatapoints:
    """The data points that an alarm looks at."""

    points: tuple[tuple[int, float], ...]
    """When each ended, and its value; oldest first."""
    threshold: float
    edge_ms: int
    """When the newest period ended, whether it has a data point or not."""

    def since(self, moved_ms: int) -> list[float]:
        """Return the values of what was measured after a moment, oldest first."""
        return [value for until_ms, value in self.points if until_ms > moved_ms]


class AlarmRepository(AlarmPort, Protocol):
    """Alarms, and which of them act on a policy."""

    def alarms_of_policy(self, policy_id: str) -> Sequence[str]:
        """Return the alarms of which an action for ALARM names a policy."""

    async def datapoints(self, name: str, now_ms: int) -> AlarmDatapoints:
        """Return the data points that an alarm looks at. Raises NotFound."""


def names_policy(address: str, policy_id: str) -> bool:
    """Return whether an address is a policy's ARN, in whatever region."""
    return f"{POLICY_ARN_PART}{policy_id}:" in address


class LocalAlarmRepository:
    """Implements ``AlarmRepository`` over the alarms that are kept here."""

    def __init__(self, alarms: AlarmService, metrics: MetricService) -> None:
        self._alarms = alarms
        self._metrics = metrics

    async def put(self, rule: AlarmRule) -> None:
        """Create or replace an alarm."""
        await self._alarms.put(rule)

    async def drop(self, name: str) -> None:
        """Delete an alarm."""
        await self._alarms.drop(name)

    def state(self, name: str) -> AlarmState | None:
        """Return an alarm's state."""
        return self._alarms.state(name)

    def watch(self, on_alarm: OnAlarm) -> Callable[[], None]:
        """Call ``on_alarm`` at every change of state."""
        return self._alarms.watch(on_alarm)

    def alarms_of_policy(self, policy_id: str) -> Sequence[str]:
        """Return the alarms of which an action for ALARM names a policy."""
        return [
            alarm.name
            for alarm in self._alarms.alarms()
            if alarm.definition.is_acting
            and any(names_policy(one, policy_id) for one in alarm.definition.actions.alarm)
        ]

    async def datapoints(self, name: str, now_ms: int) -> AlarmDatapoints:
        """Return the data points that an alarm looks at. Raises NotFound."""
        definition = self._alarms.alarm(name).definition
        period_ms = definition.period_s * 1_000
        edge_ms = now_ms // period_ms * period_ms
        span = MetricTimeRange(
            start_ms=edge_ms - definition.test.periods_evaluated * period_ms, end_ms=edge_ms
        )
        found = await evaluate_queries(self._metrics, definition.queries, span)
        values = found[definition.watched.id][1]
        newest = sorted(values)[-definition.evaluation_periods :]
        return AlarmDatapoints(
            points=tuple((at_ms + period_ms, values[at_ms]) for at_ms in newest),
            threshold=definition.threshold,
            edge_ms=edge_ms,
        )
