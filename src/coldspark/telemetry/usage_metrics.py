"""The ledger's lines in the order in which they came, each counted once: metrics are made of them.

The database adds them up, as it does that without the interpreter, which the event loop needs: a
busy server has thousands of lines a second. For that, times are rounded to the middle of steps
that are at most 0.5 % of them wide, so by 0.25 %; below a millisecond they are exact. Sums and
extremes are exact.

Worked number: 1234 us lies in 1230 to 1234 and becomes 1232; 7777 us lies in 7775 to 7799 and
becomes 7787.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    case,
    column,
    func,
    literal,
    not_,
    select,
)

from coldspark.database.dialect import total
from coldspark.database.schema import usages
from coldspark.spec.waterfall import STAGES
from coldspark.telemetry.metrics_table import Ids, MetricRow, merge, read_cursor, write_cursor

_MARK = "usages"
_MINUTE_MS = 60_000
_CANCELLED = 499
_MODEL_STAGES = ("inferred_us", "unaccounted_us")
_SETUP_STAGES = ("placed_us", "fetched_us", "booted_us", "loaded_us")
_DECADES = range(3, 11)

Row: TypeAlias = Any
"""Of ``counts``, or of ``times``, below."""
Fold: TypeAlias = Callable[[Sequence[Row], Sequence[Row]], Iterable[MetricRow]]

_table = usages.c
_PLACE = _table.number
_at_ms: ColumnElement[int] = (
    (_table.arrived_ms + _table.duration_ms) // literal(_MINUTE_MS, Integer) * _MINUTE_MS
)
_GROUP = (_table.endpoint, _table.variant, _at_ms.label("at_ms"))
# By name: Postgres does not take an expression with parameters for the one that is selected.
_BY: tuple[ColumnElement[Any], ...] = (_table.endpoint, _table.variant, column("at_ms"))
_is_reached = _table.replica.is_not(None)
_is_4xx = and_(_table.status >= 400, _table.status < 500, _table.status != _CANCELLED)
_is_failure = and_(_is_reached, not_(_table.status.between(200, 299)), _table.status != _CANCELLED)


def _sum(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.sum(case((condition, 1), else_=0))


_COUNTS = select(
    *_GROUP,
    func.count().label("requests"),
    func.count(_table.replica.distinct()).label("replicas"),
    _sum(_is_4xx).label("client_errors"),
    _sum(_table.status >= 500).label("server_errors"),
    _sum(_is_failure).label("model_errors"),
    _sum(_table.is_cold).label("cold"),
).group_by(*_BY)


def _stages(names: Iterable[str]) -> ColumnElement[int]:
    first, *rest = (_table[name] for name in names)
    together: ColumnElement[int] = first
    for stage in rest:
        together = together + stage
    return together


def _rounded(value: ColumnElement[int]) -> ColumnElement[int]:
    """Return the middle of the step that a time in microseconds lies in."""
    whens = [(value < 1_000, value)]
    for decade in _DECADES:
        unit = 10**decade
        steps = (
            (2 * unit, unit // 200),
            (5 * unit, unit // 100),
            (10 * unit, unit // 40),
        )
        for end, step in steps:
            middle = value // literal(step, Integer) * step + step // 2
            whens.append((value < end, middle))
    return case(*whens, else_=value)


def _times(value: ColumnElement[int]) -> Select[Any]:
    rounded = _rounded(value).label("value")
    return select(
        *_GROUP,
        rounded,
        func.count().label("samples"),
        total(value).label("total"),
        func.min(value).label("least"),
        func.max(value).label("most"),
    ).group_by(*_BY, column("value"))


_TIMES: dict[str, Select[Any]] = {
    "ModelLatency": _times(_stages(_MODEL_STAGES)).where(_is_reached),
    "OverheadLatency": _times(_stages(one for one in STAGES if one not in _MODEL_STAGES)),
    "ModelSetupTime": _times(_stages(_SETUP_STAGES)).where(_table.is_cold),
}


def derive(connection: Connection, fold: Fold, ids: Ids, now_ms: int, lines_max: int) -> int:
    """Add the next lines to the measurements, exactly once; return how many there were."""
    begin = read_cursor(connection, _MARK)
    last = connection.scalar(select(func.max(_PLACE)).select_from(usages)) or 0
    end = min(last, begin + lines_max)
    if end <= begin:
        return 0
    these = and_(begin < _PLACE, end >= _PLACE)
    counts = connection.execute(_COUNTS.where(these)).all()
    times = [
        (metric, *row)
        for metric, query in _TIMES.items()
        for row in connection.execute(query.where(these))
    ]
    merge(connection, fold(counts, times), ids, now_ms)
    write_cursor(connection, _MARK, end)
    return end - begin
