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


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmDatapoints:
    """The data points that an alarm evaluates."""

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

    def policy_of(self, address: str) -> str | None:
        """Return the id of the policy that an action's address names."""

    def alarms_of_policy(self, policy_id: str) -> Sequence[str]:
        """Return the alarms of which an action for ALARM names a policy."""

    async def datapoints(self, name: str, now_ms: int) -> AlarmDatapoints:
        """Return the data points that an alarm evaluates. Raises NotFound."""


class LocalAlarmRepository:
    """Implements ``AlarmRepository`` over this server's alarms."""

    def __init__(
        self,
        alarms: AlarmService,
        metrics: MetricService,
        policy_of: Callable[[str], str | None],
    ) -> None:
        """``policy_of`` reads a policy's id from the address that a client knows it by."""
        self._alarms = alarms
        self._metrics = metrics
        self._policy_of = policy_of

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

    def policy_of(self, address: str) -> str | None:
        """Return the id of the policy that an action's address names."""
        return self._policy_of(address)

    def alarms_of_policy(self, policy_id: str) -> Sequence[str]:
        """Return the alarms of which an action for ALARM names a policy."""
        return [
            alarm.name
            for alarm in self._alarms.alarms()
            if alarm.definition.is_acting
            and any(self._policy_of(one) == policy_id for one in alarm.definition.actions.alarm)
        ]

    async def datapoints(self, name: str, now_ms: int) -> AlarmDatapoints:
        """Return the data points that an alarm evaluates. Raises NotFound."""
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
