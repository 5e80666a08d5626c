"""MetricDataQueries as AWS writes them, from and to our own."""

from coldspark.doors.aws.cloudwatch.errors import not_valid
from coldspark.doors.aws.cloudwatch.request import (
    Body,
    metric_of,
    render_dimensions,
)
from coldspark.doors.aws.protocol.names import to_namespace
from coldspark.platform.metric_ports import Metric
from coldspark.telemetry.metric_queries import MetricQuery, MetricStatistic

_SHORT_S = (1, 5, 10, 20, 30)


def read_queries(rows: list[Body], member: str) -> tuple[MetricQuery, ...]:
    """Return the queries. Raises AwsError; ``member`` is how the list is called."""
    return tuple(_query(row, f"{member}.member.{place}") for place, row in enumerate(rows, start=1))


def _query(row: Body, path: str) -> MetricQuery:
    stat, expression = row.get("MetricStat"), row.get("Expression")
    if stat is None and expression is None:
        not_valid(f"The parameter {path}.MetricStat is required.\n")
    if stat is not None and expression is not None:
        not_valid(
            f"The parameters {path}.Expression and {path}.MetricStat are mutually exclusive and"
            " you have specified both."
        )
    if "Period" in row:
        refuse_period(row["Period"], f"{path}.Period")
    return MetricQuery(
        id=str(row["Id"]),
        stat=None if stat is None else _stat(stat, path),
        expression=expression,
        period_s=row.get("Period"),
        label=row.get("Label"),
        is_returned=bool(row.get("ReturnData", True)),
    )


def _stat(stat: Body, path: str) -> MetricStatistic:
    for name in ("Namespace", "MetricName"):
        if name not in stat["Metric"]:
            not_valid(f"The parameter {path}.MetricStat.Metric.{name} is required.\n")
    refuse_period(stat["Period"], f"{path}.MetricStat.Period")
    return MetricStatistic(
        metric=metric_of(stat["Metric"]),
        statistic=str(stat["Stat"]),
        period_s=int(stat["Period"]),
        unit=stat.get("Unit"),
    )


def refuse_period(period_s: int, path: str) -> None:
    """Raise AwsError for a period that is no multiple of a minute, nor a short one."""
    if period_s not in _SHORT_S and period_s % 60:
        not_valid(
            f"The parameter {path} must be 1, 5, 10, 20, 30 or a multiple of 60, not {period_s}."
        )


def render_query(query: MetricQuery) -> Body:
    """Return a query as it was given."""
    row: Body = {"Id": query.id}
    if query.stat is not None:
        row["MetricStat"] = _shown_stat(query.stat)
    if query.expression is not None:
        row["Expression"] = query.expression
    if query.label is not None:
        row["Label"] = query.label
    if query.period_s is not None:
        row["Period"] = query.period_s
    row["ReturnData"] = query.is_returned
    return row


def _shown_stat(stat: MetricStatistic) -> Body:
    row: Body = {
        "Metric": render_metric(stat.metric),
        "Period": stat.period_s,
        "Stat": stat.statistic,
    }
    if stat.unit is not None:
        row["Unit"] = stat.unit
    return row


def render_metric(metric: Metric) -> Body:
    """Return a metric; clients expect its dimensions even where there are none."""
    return {
        "Namespace": to_namespace(metric.namespace),
        "MetricName": metric.name,
        "Dimensions": render_dimensions(metric.dimensions),
    }
