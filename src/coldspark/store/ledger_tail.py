"""The ledger's lines in the order in which they came, each read once: what metrics are made of."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, Integer, column, select

from coldspark.core.waterfall import STAGES
from coldspark.store.metrics import Entry, Ids, mark, merge, set_mark
from coldspark.store.schema import usages

_MARK = "usages"
_PLACE: ColumnElement[int] = column("rowid", Integer)
"""SQLite's own: it grows with every line, as none is ever deleted."""

Line: TypeAlias = Any
"""A row with the columns below."""
Fold: TypeAlias = Callable[[Sequence[Line]], Iterable[Entry]]

_LINES = select(
    _PLACE,
    usages.c.endpoint,
    usages.c.variant,
    usages.c.replica,
    usages.c.arrived_ms,
    usages.c.duration_ms,
    usages.c.status,
    usages.c.error,
    usages.c.is_cold,
    *(usages.c[stage] for stage in STAGES),
)


def derive(connection: Connection, fold: Fold, ids: Ids, now_ms: int, lines_max: int) -> int:
    """Add the next lines to the measurements, exactly once; return how many there were."""
    query = _LINES.where(mark(connection, _MARK) < _PLACE).order_by(_PLACE).limit(lines_max)
    lines = connection.execute(query).all()
    if lines:
        merge(connection, fold(lines), ids, now_ms)
        set_mark(connection, _MARK, lines[-1].rowid)
    return len(lines)
