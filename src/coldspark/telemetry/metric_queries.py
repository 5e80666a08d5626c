"""Questions to metrics: a statistic of one, or an expression over several, per period.

This is what clients query and what alarms watch.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct

from coldspark.errors import InvalidRequest
from coldspark.platform.metric_ports import Metric, Period
from coldspark.telemetry.expressions import ExpressionError
from coldspark.telemetry.metric_math import (
    EvaluationContext,
    Expression,
    Series,
    parse,
)
from coldspark.telemetry.metric_service import MetricService
from coldspark.telemetry.value_sketch import percentile

STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_PERCENTILE = re.compile(r"p(?P<percent>\d{1,3}(?:\.\d{1,10})?)")
POINTS_MAX = 100_000
"""Periods between start and end that one question may span."""


class MetricStatistic(Struct, frozen=True, kw_only=True):
    """A statistic of a metric."""

    metric: Metric
    statistic: str
    period_s: int
    unit: str | None = None
    """None: whatever it was measured in."""


class MetricQuery(Struct, frozen=True, kw_only=True):
    """One question, known to the others by its id."""

    id: str
    stat: MetricStatistic | None = None
    expression: str | None = None
    period_s: int | None = None
    """Of an expression; None takes that of its metrics."""
    label: str | None = None
    is_returned: bool = True


def refuse_statistic(text: str) -> None:
    """Raise InvalidRequest for a statistic that is not computed here."""
    if not is_statistic(text):
        raise InvalidRequest(
            f"The statistic {text!r} is not supported: use {', '.join(STATISTICS)}, or p0 to p100"
            " with at most ten decimals",
            field="Stat",
        )


def is_statistic(text: str) -> bool:
    """Return whether a statistic is computed here."""
    return text in STATISTICS or _percent(text) is not None


def _percent(text: str) -> float | None:
    match = _PERCENTILE.fullmatch(text)
    if match is None or float(match["percent"]) > 100:
        return None
    return float(match["percent"])


def value_of(period: Period, statistic: str) -> float | None:
    """Return a statistic of a period; None for a percentile whose values were never sent."""
    match statistic:
        case "Average":
            return period.mean
        case "Sum":
            return period.total
        case "Minimum":
            return period.least
        case "Maximum":
            return period.most
        case "SampleCount":
            return period.samples
    percent = _percent(statistic)
    assert percent is not None, "checked by refuse_statistic"
    counted = sum(count for _, count in period.values)
    if counted < period.samples * (1 - 1e-9) or not counted:
        return None
    return min(max(percentile(period.values, percent), period.least), period.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTimeRange:
    """From when to when: ``start_ms <= t < end_ms``."""

    start_ms: int
    end_ms: int


def refuse_queries(queries: Sequence[MetricQuery]) -> None:
    """Raise InvalidRequest for questions that cannot be answered whatever the data."""
    ids = {query.id for query in queries}
    for query in queries:
        if query.stat is not None:
            refuse_statistic(query.stat.statistic)
        else:
            _understood(query, ids)
    _ordered(queries)


def _understood(query: MetricQuery, ids: set[str]) -> Expression:
    text = query.expression or ""
    try:
        expression = parse(text)
        unknown = sorted(expression.names - ids)
        if unknown:
            raise ExpressionError(f"there is no query with the id {unknown[0]!r}")
    except ExpressionError as error:
        raise InvalidRequest(
            f"Error in expression '{query.id}' ({text[:200]}): {error}", field="Expression"
        ) from None
    return expression


async def evaluate_queries(
    metrics: MetricService, queries: Sequence[MetricQuery], span: MetricTimeRange
) -> dict[str, tuple[int, Series]]:
    """Return each query's period in seconds and its values. Raises InvalidRequest."""
    refuse_queries(queries)
    await metrics.refresh()
    found: dict[str, tuple[int, Series]] = {}
    for query in queries:
        if query.stat is not None:
            found[query.id] = query.stat.period_s, await _measured(metrics, query.stat, span)
    ids = [query.id for query in queries if query.stat is not None]
    for query in _ordered(queries):
        if query.stat is None:
            found[query.id] = _computed(query, found, ids, span)
    return found


async def _measured(metrics: MetricService, stat: MetricStatistic, span: MetricTimeRange) -> Series:
    _refuse_length(span, stat.period_s)
    by_unit = await metrics.read(stat.metric, span.start_ms, span.end_ms, stat.period_s)
    periods = metrics.merged(by_unit) if stat.unit is None else by_unit.get(stat.unit, ())
    values = ((one.at_ms, value_of(one, stat.statistic)) for one in periods)
    return {at_ms: value for at_ms, value in values if value is not None}


def _refuse_length(span: MetricTimeRange, period_s: int) -> None:
    points = (span.end_ms - span.start_ms) // (period_s * 1_000)
    if points > POINTS_MAX:
        raise InvalidRequest(
            f"The range has {points} periods of {period_s} s, over {POINTS_MAX}: ask for a shorter"
            " one or a longer Period",
            field="Period",
        )


def _computed(
    query: MetricQuery,
    found: Mapping[str, tuple[int, Series]],
    metrics: Sequence[str],
    span: MetricTimeRange,
) -> tuple[int, Series]:
    expression = _understood(query, set(found) | {query.id})
    used = metrics if expression.uses_all else sorted(expression.names)
    period_s = query.period_s or max((found[name][0] for name in used), default=60)
    _refuse_length(span, period_s)
    period_ms = period_s * 1_000
    first_ms = span.start_ms // period_ms * period_ms
    times = range(first_ms, span.end_ms, period_ms)
    frame = EvaluationContext(
        series={name: series for name, (_, series) in found.items()},
        metrics=metrics,
        times=times,
        period_s=period_s,
    )
    try:
        value = expression.compute(frame)
    except ExpressionError as error:
        raise InvalidRequest(f"Error in expression '{query.id}': {error}") from None
    if isinstance(value, list):
        raise InvalidRequest(
            f"Error in expression '{query.id}': it gives an array; put SUM, AVG, MIN or MAX round"
        )
    if isinstance(value, dict):
        return period_s, value
    # A number is the same in every period.
    return period_s, {} if value != value else dict.fromkeys(times, value)


def _ordered(queries: Sequence[MetricQuery]) -> list[MetricQuery]:
    """Return the queries so that each comes after what it uses."""
    by_id = {query.id: query for query in queries}
    if len(by_id) < len(queries):
        raise InvalidRequest("The values for parameter id in MetricDataQueries are not unique.")
    ordered: list[MetricQuery] = []
    waiting = dict(by_id)
    while waiting:
        ready = [one for one in waiting.values() if not _needs(one) & set(waiting)]
        if not ready:
            raise InvalidRequest(
                f"The expressions {', '.join(sorted(waiting))} use each other in a circle"
            )
        for query in ready:
            ordered.append(query)
            del waiting[query.id]
    return ordered


def _needs(query: MetricQuery) -> set[str]:
    if query.stat is not None:
        return set()
    try:
        return set(parse(query.expression or "").names)
    except ExpressionError as error:
        raise InvalidRequest(f"Error in expression '{query.id}': {error}") from None
