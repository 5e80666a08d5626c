"""What an alarm watches and does, as it is stored."""

import msgspec
from msgspec import Struct

from coldspark.errors import InvalidRequest
from coldspark.platform.metric_ports import AlarmRule
from coldspark.spec.types import AlarmState
from coldspark.telemetry.alarm_rules import AlarmTest, MissingData
from coldspark.telemetry.alarms_table import StoredAlarm
from coldspark.telemetry.metric_queries import MetricQuery, MetricStatistic, refuse_queries

_HIGH_RESOLUTION_S = (10, 20, 30)
_LOOKED_AT_S_MAX = 86_400
_LONG_LOOKED_AT_S_MAX = 7 * 86_400
_ONLY = "m"
"""Id of the one query of an alarm over one metric."""


class AlarmActions(Struct, frozen=True, kw_only=True):
    """Addresses to notify of a change, by the new state."""

    ok: tuple[str, ...] = ()
    alarm: tuple[str, ...] = ()
    insufficient_data: tuple[str, ...] = ()

    def of(self, state: AlarmState) -> tuple[str, ...]:
        """Return the addresses to notify of this state."""
        match state:
            case AlarmState.OK:
                return self.ok
            case AlarmState.ALARM:
                return self.alarm
            case AlarmState.INSUFFICIENT_DATA:
                return self.insufficient_data


class AlarmDefinition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An alarm: what is None was not given."""

    name: str
    queries: tuple[MetricQuery, ...]
    """The one that is returned is watched."""
    is_expression: bool = False
    """It was given as queries, not as one metric."""
    evaluation_periods: int
    datapoints_to_alarm: int | None = None
    threshold: float
    comparison: str
    missing: str | None = None
    low_samples: str | None = None
    description: str | None = None
    actions: AlarmActions = AlarmActions()
    is_acting: bool = True
    owner: str | None = None

    @property
    def watched(self) -> MetricQuery:
        """Return the query whose values are compared."""
        return next(query for query in self.queries if query.is_returned)

    @property
    def period_s(self) -> int:
        """Return the period of what is watched."""
        watched = self.watched
        if watched.stat is not None:
            return watched.stat.period_s
        stats = [query.stat.period_s for query in self.queries if query.stat is not None]
        return watched.period_s or max(stats, default=60)

    @property
    def test(self) -> AlarmTest:
        """Return the pure rule of it."""
        return AlarmTest(
            threshold=self.threshold,
            comparison=self.comparison,
            evaluation_periods=self.evaluation_periods,
            datapoints_to_alarm=self.datapoints_to_alarm or self.evaluation_periods,
            missing=MissingData(self.missing or "missing"),
        )

    def refuse_if_invalid(self) -> None:
        """Raise InvalidRequest for what could never be evaluated."""
        if sum(query.is_returned for query in self.queries) != 1:
            raise InvalidRequest(
                "Exactly one of the Metrics must have ReturnData true: it is what is watched",
                field="Metrics",
            )
        refuse_queries(self.queries)
        period_s = self.period_s
        if period_s not in _HIGH_RESOLUTION_S and period_s % 60:
            raise InvalidRequest(
                f"Period {period_s} must be 10, 20, 30 or a multiple of 60", field="Period"
            )
        looked_at_s = period_s * self.evaluation_periods
        most_s = _LOOKED_AT_S_MAX if period_s < 3_600 else _LONG_LOOKED_AT_S_MAX
        if looked_at_s > most_s:
            raise InvalidRequest(
                f"Metrics cannot be checked across more than {most_s} seconds: EvaluationPeriods"
                f" {self.evaluation_periods} times Period {period_s} is {looked_at_s}",
                field="EvaluationPeriods",
            )
        try:
            _ = self.test
        except ValueError as error:
            raise InvalidRequest(str(error)) from None


def from_rule(rule: AlarmRule) -> AlarmDefinition:
    """Return the alarm that a rule of the platform's own asks for."""
    stat = MetricStatistic(
        metric=rule.metric, statistic=rule.statistic, period_s=rule.period_s, unit=rule.unit
    )
    return AlarmDefinition(
        name=rule.name,
        queries=(MetricQuery(id=_ONLY, stat=stat),),
        evaluation_periods=rule.evaluation_periods,
        datapoints_to_alarm=rule.datapoints_to_alarm,
        threshold=rule.threshold,
        comparison=rule.comparison,
        missing=rule.missing,
        owner=rule.owner,
    )


def single_metric_query(stat: MetricStatistic) -> tuple[MetricQuery, ...]:
    """Return the query of an alarm over one metric."""
    return (MetricQuery(id=_ONLY, stat=stat),)


def read_definition(stored: StoredAlarm) -> AlarmDefinition:
    """Return what a stored alarm watches."""
    return msgspec.convert(stored.body, AlarmDefinition)


def encode_definition(definition: AlarmDefinition) -> dict[str, object]:
    """Return the body that is stored."""
    body: dict[str, object] = msgspec.to_builtins(definition)
    return body
