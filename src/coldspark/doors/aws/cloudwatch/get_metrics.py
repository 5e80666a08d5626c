"""GetMetricData, GetMetricStatistics and ListMetrics."""

from coldspark.doors.aws.cloudwatch.errors import bad_combination, bad_value, not_valid
from coldspark.doors.aws.cloudwatch.labels import label_of
from coldspark.doors.aws.cloudwatch.metric_queries import read_queries, refuse_period, render_metric
from coldspark.doors.aws.cloudwatch.request import (
    Body,
    CloudWatchRequest,
    metric_of,
    page_of,
    page_position,
    page_token,
)
from coldspark.doors.aws.protocol.names import from_namespace
from coldspark.doors.aws.protocol.operations import Pairs, Timestamp
from coldspark.platform.metric_ports import Dimensions, Metric, Period
from coldspark.telemetry.metric_math import Series
from coldspark.telemetry.metric_queries import (
    MetricQuery,
    MetricTimeRange,
    evaluate_queries,
    refuse_statistic,
    value_of,
)

_POINTS_MAX = 100_800
_STATISTICS_POINTS_MAX = 1_440
_LISTED = 500
_RECENTLY_MS = 3 * 3_600_000
_Place = tuple[str, str, Dimensions]


async def get_metric_data(call: CloudWatchRequest) -> Body:
    """Answer each query that asks to be returned; pages end after ``MaxDatapoints`` values."""
    body = call.body
    queries = read_queries(body["MetricDataQueries"], "MetricDataQueries")
    span = _span(body)
    if span.end_ms < span.start_ms:
        not_valid("The parameter EndTime must be greater than StartTime.")
    if span.end_ms == span.start_ms:
        not_valid("The parameter StartTime must not equal parameter EndTime.")
    first, skipped = page_position(body, tuple[int, int]) or (0, 0)
    found = await evaluate_queries(call.metrics, queries, span)
    left = int(body.get("MaxDatapoints", _POINTS_MAX))
    returned = [query for query in queries if query.is_returned]
    results: list[Body] = []
    for number, query in enumerate(returned[first:], start=first):
        points = _points(found[query.id][1], str(body.get("ScanBy", "")))
        start = skipped if number == first else 0
        shown = points[start : start + left]
        is_whole = start + len(shown) == len(points)
        results.append(_result(query, found[query.id], shown, is_whole, body))
        left -= len(shown)
        more = not is_whole or number + 1 < len(returned)
        if more and (not left or not is_whole):
            place = (number + 1, 0) if is_whole else (number, start + len(shown))
            return {"MetricDataResults": results, "NextToken": page_token(body, place)}
    return {"MetricDataResults": results}


def _span(body: Body) -> MetricTimeRange:
    """Return whole seconds, as CloudWatch takes them."""
    start_s, end_s = int(body["StartTime"]), int(body["EndTime"])
    return MetricTimeRange(start_ms=start_s * 1_000, end_ms=end_s * 1_000)


def _points(series: Series, scan_by: str) -> list[tuple[int, float]]:
    return sorted(series.items(), reverse=scan_by != "TimestampAscending")


def _result(
    query: MetricQuery,
    found: tuple[int, Series],
    shown: list[tuple[int, float]],
    is_whole: bool,
    body: Body,
) -> Body:
    timezone = str(body.get("LabelOptions", {}).get("Timezone", "+0000"))
    return {
        "Id": query.id,
        "Label": label_of(query, found[0], found[1], timezone),
        "Timestamps": [Timestamp(at_ms) for at_ms, _ in shown],
        "Values": [value for _, value in shown],
        "StatusCode": "Complete" if is_whole else "PartialData",
    }


async def get_metric_statistics(call: CloudWatchRequest) -> Body:
    """Return statistics of one metric, by unit and period."""
    body = call.body
    plain, extended = body.get("Statistics", []), body.get("ExtendedStatistics", [])
    if not plain and not extended:
        bad_combination("Must specify either Statistics or ExtendedStatistics")
    for statistic in extended:
        refuse_statistic(statistic)
    span = _span(body)
    if span.end_ms <= span.start_ms:
        bad_value("The parameter StartTime must be less than the parameter EndTime.")
    period_s = int(body["Period"])
    refuse_period(period_s, "Period")
    points = -(-(span.end_ms - span.start_ms) // (period_s * 1_000))
    if points > _STATISTICS_POINTS_MAX:
        bad_combination(
            f"You have requested up to {points:,} datapoints, which exceeds the limit of 1,440."
            " You may reduce the datapoints requested by increasing Period, or decreasing the time"
            " range."
        )
    await call.metrics.refresh()
    metric = metric_of(body)
    found = await call.metrics.read(metric, span.start_ms, span.end_ms, period_s)
    wanted = body.get("Unit")
    rows = [
        _datapoint(period, unit, plain, extended)
        for unit, periods in found.items()
        if wanted in (None, unit)
        for period in periods
    ]
    return {"Label": metric.name, "Datapoints": rows}


def _datapoint(period: Period, unit: str, plain: list[str], extended: list[str]) -> Body:
    row: Body = {"Timestamp": Timestamp(period.at_ms)}
    row |= {statistic: value_of(period, statistic) for statistic in plain}
    percentiles = {one: value_of(period, one) for one in extended}
    known = {one: value for one, value in percentiles.items() if value is not None}
    if known:
        row["ExtendedStatistics"] = Pairs(known)
    row["Unit"] = unit
    return row


async def list_metrics(call: CloudWatchRequest) -> Body:
    """Return what is measured; 500 on a page."""
    body = call.body
    since_ms = call.now_ms - _RECENTLY_MS if "RecentlyActive" in body else None
    namespace = body.get("Namespace")
    series = await call.metrics.series(
        namespace=None if namespace is None else from_namespace(namespace),
        name=body.get("MetricName"),
        seen_since_ms=since_ms,
    )
    # One that was measured in several units is one metric.
    metrics = dict.fromkeys(
        Metric(namespace=one.namespace, name=one.name, dimensions=one.dimensions) for one in series
    )
    rows = [metric for metric in metrics if _matches(metric, body.get("Dimensions", []))]
    shown, more = page_of(rows, _place, _Place, body, _LISTED)
    return {"Metrics": [render_metric(metric) for metric in shown], **more}


def _place(metric: Metric) -> _Place:
    return metric.namespace, metric.name, metric.dimensions


def _matches(metric: Metric, filters: list[Body]) -> bool:
    values = dict(metric.dimensions)
    return all(
        one["Name"] in values and one.get("Value", values[one["Name"]]) == values[one["Name"]]
        for one in filters
    )
