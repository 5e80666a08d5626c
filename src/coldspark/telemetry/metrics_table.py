"""Measurements on disk: each in exactly one row, of the finest resolution that its age still has.

What grows too old for its resolution is added up into rows of the next one, and deleted in the same
transaction; so whatever is read by a period adds up over all rows whose resolution divides it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, select, update

from coldspark.database.dialect import PreparedStatement, insert_or_replace
from coldspark.database.schema import marks, measurements, series
from coldspark.telemetry.value_sketch import ValueSketch

_DAY_MS = 86_400_000
RESOLUTIONS_S = (1, 10, 60, 300, 3_600)
"""What rows there are. The first two hold high-resolution measurements while these are young."""
_KEY = ("series", "resolution_s", "at_ms")
_KEYS = tuple(f"{name}_of_row" for name in _KEY)
_IS_ROW = and_(
    *(measurements.c[name] == bindparam(key) for name, key in zip(_KEY, _KEYS, strict=True))
)
_PUT = insert_or_replace(measurements)
_DROP = PreparedStatement(delete(measurements).where(_IS_ROW), _KEYS)
_SUMS = (measurements.c[name] for name in ("samples", "total", "least", "most", "counts"))
_FIND = PreparedStatement(select(*_SUMS).where(_IS_ROW), _KEYS)
_TOUCH = PreparedStatement(
    update(series).where(series.c.id == bindparam("number")), ("last_ms", "number")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesKey:
    """What is measured, of what, in which unit."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()
    """Names and values, sorted by name."""
    unit: str = "None"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """What was measured of a series in one period."""

    key: SeriesKey
    resolution_s: int
    at_ms: int
    measured: ValueSketch


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodRange:
    """Which rows: those that begin in ``start_ms <= t < end_ms``, added up by ``period_s``."""

    start_ms: int
    end_ms: int
    period_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RollUpStep:
    """What becomes of rows of one resolution that began before ``before_ms``."""

    resolution_s: int
    before_ms: int
    into_s: int | None
    """None: they go."""


Ids = dict[SeriesKey, int]
"""Series that were looked up; the owner drops it when it grows."""


def merge(connection: Connection, batch: Iterable[MetricRow], ids: Ids, now_ms: int) -> None:
    """Add a batch to what is on disk."""
    rows = []
    touched = set()
    for entry in batch:
        number = ids.get(entry.key)
        if number is None:
            number = ids[entry.key] = _series(connection, entry.key, now_ms)
        touched.add(number)
        whole = _find_one(connection, number, entry.resolution_s, entry.at_ms)
        if whole is None:
            whole = entry.measured
        else:
            whole.merge(entry.measured)
        rows.append(_row(number, entry.resolution_s, entry.at_ms, whole))
    if rows:
        _PUT.run(connection, rows)
        _TOUCH.run(connection, [(now_ms, number) for number in touched])


def _series(connection: Connection, key: SeriesKey, now_ms: int) -> int:
    table = series.c
    where = (
        (table.namespace == key.namespace)
        & (table.name == key.name)
        & (table.dimensions == _encode_dimensions(key.dimensions))
        & (table.unit == key.unit)
    )
    number = connection.scalar(select(table.id).where(where))
    if number is None:
        row = {
            "namespace": key.namespace,
            "name": key.name,
            "dimensions": _encode_dimensions(key.dimensions),
            "unit": key.unit,
            "last_ms": now_ms,
        }
        number = connection.scalar(insert(series).values(row).returning(table.id))
        assert number is not None
    return int(number)


def _find_one(
    connection: Connection, number: int, resolution_s: int, at_ms: int
) -> ValueSketch | None:
    row = _FIND.run(connection, (number, resolution_s, at_ms)).first()
    return None if row is None else _read(row)


def find_periods(
    connection: Connection,
    namespace: str,
    name: str,
    dimensions: tuple[tuple[str, str], ...],
    stretch: PeriodRange,
) -> dict[str, dict[int, ValueSketch]]:
    """Return a metric's periods by unit and begin."""
    table = series.c
    where = (
        (table.namespace == namespace)
        & (table.name == name)
        & (table.dimensions == _encode_dimensions(dimensions))
    )
    found: dict[str, dict[int, ValueSketch]] = {}
    for number, unit in connection.execute(select(table.id, table.unit).where(where)).all():
        periods = _periods(connection, number, stretch)
        if periods:
            found[unit] = periods
    return found


def _periods(connection: Connection, number: int, stretch: PeriodRange) -> dict[int, ValueSketch]:
    table = measurements.c
    fitting = [one for one in RESOLUTIONS_S if stretch.period_s % one == 0]
    rows = connection.execute(
        select(table.at_ms, table.samples, table.total, table.least, table.most, table.counts)
        .where(table.series == number, table.resolution_s.in_(fitting))
        .where(table.at_ms >= stretch.start_ms, table.at_ms < stretch.end_ms)
    )
    periods: dict[int, ValueSketch] = {}
    period_ms = stretch.period_s * 1_000
    for row in rows:
        at_ms = row.at_ms // period_ms * period_ms
        whole = periods.get(at_ms)
        if whole is None:
            periods[at_ms] = _read(row)
        else:
            whole.merge(_read(row))
    return dict(sorted(periods.items()))


def find_series(
    connection: Connection, namespace: str | None, name: str | None, seen_since_ms: int | None
) -> list[SeriesKey]:
    """Return the series there are, in order."""
    table = series.c
    query = select(series).order_by(table.namespace, table.name, table.dimensions, table.unit)
    if namespace is not None:
        query = query.where(table.namespace == namespace)
    if name is not None:
        query = query.where(table.name == name)
    if seen_since_ms is not None:
        query = query.where(table.last_ms >= seen_since_ms)
    return [_key(row) for row in connection.execute(query)]


def count_series(connection: Connection) -> int:
    """Return how many series there are."""
    return connection.scalar(select(func.count()).select_from(series)) or 0


def coarsen(connection: Connection, step: RollUpStep, rows_max: int) -> int:
    """Add up old rows into those of the next resolution; return how many were taken."""
    table = measurements.c
    old = connection.execute(
        select(measurements)
        .where(table.resolution_s == step.resolution_s, table.at_ms < step.before_ms)
        .order_by(table.at_ms)
        .limit(rows_max)
    ).all()
    if step.into_s is not None:
        _put_coarser(connection, old, step.into_s)
    if old:
        _DROP.run(connection, [(row.series, row.resolution_s, row.at_ms) for row in old])
    return len(old)


def _put_coarser(connection: Connection, old: Sequence[Row[Any]], into_s: int) -> None:
    wholes: dict[tuple[int, int], ValueSketch] = {}
    for row in old:
        at_ms = row.at_ms // (into_s * 1_000) * (into_s * 1_000)
        whole = wholes.get((row.series, at_ms))
        if whole is None:
            found = _find_one(connection, row.series, into_s, at_ms)
            whole = wholes[row.series, at_ms] = found or ValueSketch()
        whole.merge(_read(row))
    rows = [_row(number, into_s, at_ms, whole) for (number, at_ms), whole in wholes.items()]
    if rows:
        _PUT.run(connection, rows)


def prune_series(connection: Connection, before_ms: int, rows_max: int) -> int:
    """Forget series without a measurement left that nobody wrote to since; return how many."""
    table = series.c
    has_rows = select(measurements.c.series).where(measurements.c.series == table.id).exists()
    old = select(table.id).where(table.last_ms < before_ms, ~has_rows).limit(rows_max)
    return connection.execute(delete(series).where(table.id.in_(old))).rowcount


def read_cursor(connection: Connection, name: str) -> int:
    """Return how far something is; 0 where it never began."""
    return connection.scalar(select(marks.c.place).where(marks.c.name == name)) or 0


def write_cursor(connection: Connection, name: str, place: int) -> None:
    """Write down how far something is."""
    changed = connection.execute(update(marks).where(marks.c.name == name).values(place=place))
    if changed.rowcount == 0:
        connection.execute(insert(marks).values(name=name, place=place))


def _key(row: Any) -> SeriesKey:
    return SeriesKey(
        namespace=row.namespace,
        name=row.name,
        dimensions=tuple((one, two) for one, two in msgspec.json.decode(row.dimensions)),
        unit=row.unit,
    )


def _encode_dimensions(dimensions: tuple[tuple[str, str], ...]) -> str:
    return msgspec.json.encode(dimensions).decode()


_counts = msgspec.msgpack.Decoder(list[float])


def _read(row: Any) -> ValueSketch:
    measured = ValueSketch()
    measured.samples, measured.total = row.samples, row.total
    measured.least, measured.most = row.least, row.most
    is_rounded, *pairs = _counts.decode(row.counts)
    measured.is_rounded = bool(is_rounded)
    measured.values = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return measured


def _row(number: int, resolution_s: int, at_ms: int, measured: ValueSketch) -> tuple[object, ...]:
    flat: list[float] = [int(measured.is_rounded)]
    for value, count in measured.values.items():
        flat += (_short(value), _short(count))
    counts = msgspec.msgpack.encode(flat)
    sums = (measured.samples, measured.total, measured.least, measured.most)
    return (number, resolution_s, at_ms, *sums, counts)


def _short(value: float) -> float:
    """Return an integer where it is the same: it takes a few bytes less."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
