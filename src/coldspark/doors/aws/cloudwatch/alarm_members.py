"""Alarms between AWS's members and our definitions."""

from coldspark.doors.aws.cloudwatch.alarm_reasons import explain, reason_data
from coldspark.doors.aws.cloudwatch.errors import bad_combination, bad_value, not_valid
from coldspark.doors.aws.cloudwatch.metric_queries import read_queries, render_query
from coldspark.doors.aws.cloudwatch.request import (
    Body,
    metric_of,
    render_dimensions,
)
from coldspark.doors.aws.protocol.arns import alarm_arn
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.names import to_namespace
from coldspark.doors.aws.protocol.operations import Timestamp
from coldspark.telemetry.alarm_changes import Alarm
from coldspark.telemetry.alarm_definition import AlarmActions, AlarmDefinition, single_metric_query
from coldspark.telemetry.alarm_rules import MissingData
from coldspark.telemetry.metric_queries import (
    STATISTICS,
    MetricQuery,
    MetricStatistic,
    is_statistic,
)

_OF_ONE_METRIC = (
    "MetricName",
    "Namespace",
    "Dimensions",
    "Period",
    "Unit",
    "Statistic",
    "ExtendedStatistic",
)
_LOW_SAMPLES = ("evaluate", "ignore")


def read_alarm(body: Body) -> AlarmDefinition:
    """Return what PutMetricAlarm asks for. Raises AwsError."""
    for member in ("EvaluationPeriods", "ComparisonOperator", "Threshold"):
        if member not in body:
            raise AwsError("MissingParameter", f"The parameter {member} is required.")
    missing, low_samples = (
        body.get("TreatMissingData"),
        body.get("EvaluateLowSampleCountPercentile"),
    )
    if missing is not None and missing not in tuple(MissingData):
        bad_value(f"The value {missing} is not supported for TreatMissingData parameter.")
    if low_samples is not None and low_samples not in _LOW_SAMPLES:
        not_valid(
            f"Option {low_samples} is not supported. Supported options for parameter"
            " EvaluateLowSampleCountPercentile are evaluate and ignore."
        )
    return AlarmDefinition(
        name=str(body["AlarmName"]),
        queries=_queries(body),
        is_expression="Metrics" in body,
        evaluation_periods=int(body["EvaluationPeriods"]),
        datapoints_to_alarm=body.get("DatapointsToAlarm"),
        threshold=float(body["Threshold"]),
        comparison=str(body["ComparisonOperator"]),
        missing=missing,
        low_samples=low_samples,
        description=body.get("AlarmDescription"),
        actions=_actions(body),
        is_acting=bool(body.get("ActionsEnabled", True)),
    )


def _actions(body: Body) -> AlarmActions:
    """Return who hears of an alarm's changes."""
    return AlarmActions(
        ok=tuple(body.get("OKActions", ())),
        alarm=tuple(body.get("AlarmActions", ())),
        insufficient_data=tuple(body.get("InsufficientDataActions", ())),
    )


def _queries(body: Body) -> tuple[MetricQuery, ...]:
    if "Metrics" in body:
        both = [member for member in _OF_ONE_METRIC if member in body]
        if both:
            bad_combination(f"An alarm with Metrics takes no {both[0]}: it stands in each query.")
        return read_queries(body["Metrics"], "Metrics")
    for member in ("MetricName", "Namespace", "Period"):
        if member not in body:
            raise AwsError("MissingParameter", f"The parameter {member} is required.")
    statistic, extended = body.get("Statistic"), body.get("ExtendedStatistic")
    if (statistic is None) == (extended is None):
        bad_combination("Must specify either Statistic or ExtendedStatistic, and not both.")
    if extended is not None and not is_statistic(str(extended)):
        bad_value(f"The value {extended} for parameter ExtendedStatistic is not supported.")
    stat = MetricStatistic(
        metric=metric_of(body),
        statistic=str(statistic or extended),
        period_s=int(body["Period"]),
        unit=body.get("Unit"),
    )
    return single_metric_query(stat)


def render_alarm(alarm: Alarm, region: str) -> Body:
    """Return an alarm as DescribeAlarms has it."""
    definition, stored = alarm.definition, alarm.stored
    row: Body = {
        "AlarmName": alarm.name,
        "AlarmArn": alarm_arn(alarm.name, region),
        "AlarmConfigurationUpdatedTimestamp": Timestamp(stored.updated_ms),
        "ActionsEnabled": definition.is_acting,
        "OKActions": list(definition.actions.ok),
        "AlarmActions": list(definition.actions.alarm),
        "InsufficientDataActions": list(definition.actions.insufficient_data),
        "StateValue": stored.state.value,
        "StateReason": explain(stored.state, stored.reason)[:1_023],
        "StateUpdatedTimestamp": Timestamp(stored.state_ms),
        "StateTransitionedTimestamp": Timestamp(stored.moved_ms),
        "EvaluationPeriods": definition.evaluation_periods,
        "Threshold": definition.threshold,
        "ComparisonOperator": definition.comparison,
    }
    given = {
        "AlarmDescription": definition.description,
        "StateReasonData": reason_data(stored.reason),
        "DatapointsToAlarm": definition.datapoints_to_alarm,
        "TreatMissingData": definition.missing,
        "EvaluateLowSampleCountPercentile": definition.low_samples,
    }
    row |= {member: value for member, value in given.items() if value is not None}
    return row | _watched(definition)


def _watched(definition: AlarmDefinition) -> Body:
    stat = definition.watched.stat
    if definition.is_expression or stat is None:
        return {"Metrics": [render_query(query) for query in definition.queries]}
    row: Body = {
        "MetricName": stat.metric.name,
        "Namespace": to_namespace(stat.metric.namespace),
        "Dimensions": render_dimensions(stat.metric.dimensions),
        "Period": stat.period_s,
    }
    kind = "Statistic" if stat.statistic in STATISTICS else "ExtendedStatistic"
    row[kind] = stat.statistic
    if stat.unit is not None:
        row["Unit"] = stat.unit
    return row
