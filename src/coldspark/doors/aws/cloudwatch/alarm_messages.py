"""The message that CloudWatch publishes to an alarm's topic."""

import json

from coldspark.doors.aws.cloudwatch.alarm_reasons import explain, format_time
from coldspark.doors.aws.protocol.arns import alarm_arn, parse_arn
from coldspark.doors.aws.protocol.credential_scope import ACCOUNT, DEFAULT_REGION
from coldspark.doors.aws.protocol.names import to_namespace
from coldspark.telemetry.alarm_changes import AlarmChange
from coldspark.telemetry.alarm_definition import AlarmDefinition
from coldspark.telemetry.metric_queries import STATISTICS, MetricStatistic

_STATISTIC_WORDS = {"SampleCount": "SAMPLE_COUNT"}


def subject_of(change: AlarmChange) -> str:
    """Return the notification's subject."""
    return f'{change.alarm.stored.state.value}: "{change.alarm.name}"'


def message_of(address: str, change: AlarmChange) -> str:
    """Return the notification's message as JSON; region and account are those of the topic."""
    definition, stored = change.alarm.definition, change.alarm.stored
    topic = parse_arn(address, "sns")
    region = (topic and topic.region) or DEFAULT_REGION
    account = (topic and topic.account) or ACCOUNT
    message: dict[str, object] = {
        "AlarmName": stored.name,
        "AlarmDescription": definition.description,
        "AWSAccountId": account,
        "AlarmConfigurationUpdatedTimestamp": format_time(stored.updated_ms),
        "NewStateValue": stored.state.value,
        "NewStateReason": explain(stored.state, stored.reason),
        "StateChangeTime": format_time(stored.moved_ms),
        "Region": region,
        "AlarmArn": alarm_arn(stored.name, region, account),
        "OldStateValue": change.before.value,
        "OKActions": list(definition.actions.ok),
        "AlarmActions": list(definition.actions.alarm),
        "InsufficientDataActions": list(definition.actions.insufficient_data),
        "Trigger": _trigger(definition),
    }
    return json.dumps(message)


def _trigger(definition: AlarmDefinition) -> dict[str, object]:
    trigger: dict[str, object] = {
        "Period": definition.period_s,
        "EvaluationPeriods": definition.evaluation_periods,
        "DatapointsToAlarm": definition.test.datapoints_to_alarm,
        "ComparisonOperator": definition.comparison,
        "Threshold": definition.threshold,
        "TreatMissingData": definition.missing or "missing",
        "EvaluateLowSampleCountPercentile": definition.low_samples or "",
    }
    if not definition.is_expression and definition.watched.stat is not None:
        return _measured(definition.watched.stat) | trigger
    metrics = [
        {
            "Id": query.id,
            "ReturnData": query.is_returned,
            **({} if query.expression is None else {"Expression": query.expression}),
            **({} if query.stat is None else {"MetricStat": _measured(query.stat)}),
        }
        for query in definition.queries
    ]
    return {"Metrics": metrics} | trigger


def _measured(stat: MetricStatistic) -> dict[str, object]:
    is_plain = stat.statistic in STATISTICS
    word = _STATISTIC_WORDS.get(stat.statistic, stat.statistic.upper())
    return {
        "MetricName": stat.metric.name,
        "Namespace": to_namespace(stat.metric.namespace),
        "StatisticType": "Statistic" if is_plain else "ExtendedStatistic",
        **({"Statistic": word} if is_plain else {"ExtendedStatistic": stat.statistic}),
        "Unit": stat.unit,
        "Dimensions": [{"value": value, "name": name} for name, value in stat.metric.dimensions],
    }
