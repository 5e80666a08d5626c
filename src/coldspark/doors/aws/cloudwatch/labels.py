"""Labels of GetMetricData's results: plain, or with CloudWatch's ``${…}`` in them."""

import datetime as dt
import re
from collections.abc import Callable, Mapping

from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.names import to_namespace
from coldspark.telemetry.metric_math import Series
from coldspark.telemetry.metric_queries import MetricQuery

_DYNAMIC = re.compile(r"\$\{(?P<word>[^}]*)\}")
_PROPERTY = re.compile(r"PROP\('(?P<name>[^']+)'\)")

_STATISTICS: Mapping[str, Callable[[list[tuple[int, float]]], tuple[int, float]]] = {
    "MAX": lambda points: max(points, key=lambda point: point[1]),
    "MIN": lambda points: min(points, key=lambda point: point[1]),
    "FIRST": lambda points: points[0],
    "LAST": lambda points: points[-1],
}


def label_of(query: MetricQuery, period_s: int, series: Series, timezone: str) -> str:
    """Return a result's label. Raises AwsError for a ``${…}`` that is not known."""
    plain = query.id
    if query.stat is not None:
        plain = f"{query.stat.metric.name} {query.stat.statistic}"
    if not query.label:
        return plain
    points = sorted(series.items())

    def fill(match: re.Match[str]) -> str:
        word = match["word"]
        if word == "LABEL":
            return plain
        found = _PROPERTY.fullmatch(word)
        if found is not None:
            return _property(query, period_s, found["name"])
        return _statistic(word, points, timezone)

    return _DYNAMIC.sub(fill, query.label)


def _statistic(word: str, points: list[tuple[int, float]], timezone: str) -> str:
    name, is_time = word.removesuffix("_TIME"), word.endswith("_TIME")
    if name in _STATISTICS:
        if not points:
            return ""
        at_ms, value = _STATISTICS[name](points)
        return _moment(at_ms, timezone) if is_time else f"{value:g}"
    if word in ("SUM", "AVG"):
        total = sum(value for _, value in points)
        if not points:
            return ""
        return f"{total if word == 'SUM' else total / len(points):g}"
    known = [*_STATISTICS, *(f"{one}_TIME" for one in _STATISTICS), "SUM", "AVG", "LABEL", "PROP"]
    raise AwsError(
        "ValidationError", f"The label has ${{{word}}}, which is not one of {', '.join(known)}."
    )


def _moment(at_ms: int, timezone: str) -> str:
    zone = dt.datetime.strptime(timezone, "%z").tzinfo
    return f"{dt.datetime.fromtimestamp(at_ms / 1_000, zone):%Y-%m-%d %H:%M:%S}"


def _property(query: MetricQuery, period_s: int, name: str) -> str:
    if name == "Period":
        return str(period_s)
    if query.stat is None:
        return ""
    metric = query.stat.metric
    known = {
        "Namespace": to_namespace(metric.namespace),
        "MetricName": metric.name,
        "Stat": query.stat.statistic,
        **{f"Dim.{key}": value for key, value in metric.dimensions},
    }
    return known.get(name, "")
