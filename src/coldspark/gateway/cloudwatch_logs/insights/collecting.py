"""What a query keeps of the events it goes through: bounded, whatever there is."""

import math
from collections import deque
from collections.abc import Iterable

from coldspark.core.measurements import Measured, percentile
from coldspark.gateway.cloudwatch_logs.insights.language import LIMIT_MAX, Aggregate, Insight
from coldspark.gateway.cloudwatch_logs.insights.values import (
    EventRow,
    Key,
    Value,
    is_true,
    number,
    order,
    text,
)

Shown = list[tuple[str, str]]
"""Columns and values, without those that are absent."""
GROUPS_MAX = 10_000
DISTINCT_MAX = 100_000
"""Different values that one query's ``count_distinct`` tell apart, in all."""
ROWS_BYTES_MAX = 32 * 1024 * 1024
_DEFAULT = ["@timestamp", "@message"]
_POINTER = "@ptr"


class TooMuch(Exception):
    """Say what a query would have to keep too much of."""


class Collected:
    """A query's result, as it grows."""

    def __init__(self, query: Insight, limit: int) -> None:
        self._query = query
        self._limit = min(limit, query.limit or LIMIT_MAX)
        self.matched = 0
        self._newest: deque[tuple[Shown, int]] = deque()
        self._sorted: list[tuple[list[Key], Shown]] = []
        self._groups: dict[tuple[Value, ...], list[_Sum]] = {}
        self._size_bytes = 0
        self._distinct = [DISTINCT_MAX]

    def take(self, row: EventRow) -> None:
        """Take the next event, oldest first. Raises TooMuch."""
        if not all(step(row) for step in self._query.steps):
            return
        self.matched += 1
        if self._query.is_grouped:
            self._group(row)
        elif self._query.sort:
            self._sort(row)
        else:
            shown = _shown(self._query.shown or _DEFAULT, row)
            size_bytes = _size(shown)
            self._newest.append((shown, size_bytes))
            self._size_bytes += size_bytes
            if len(self._newest) > self._limit:
                self._size_bytes -= self._newest.popleft()[1]
            self._refuse_size()

    def _sort(self, row: EventRow) -> None:
        keys = [order(one(row.get)) for one, _ in self._query.sort]
        shown = _shown(self._query.shown or _DEFAULT, row)
        self._sorted.append((keys, shown))
        self._size_bytes += _size(shown)
        if len(self._sorted) >= 2 * self._limit + 1_000 or self._size_bytes > ROWS_BYTES_MAX:
            self._sorted = self._in_order(self._sorted)[: self._limit]
            self._size_bytes = sum(_size(shown) for _, shown in self._sorted)
            self._refuse_size()

    def _refuse_size(self) -> None:
        if self._size_bytes > ROWS_BYTES_MAX:
            raise TooMuch(f"the rows take over {ROWS_BYTES_MAX} bytes: give a smaller limit")

    def _in_order(self, rows: list[tuple[list[Key], Shown]]) -> list[tuple[list[Key], Shown]]:
        # From the last key to the first: sorting keeps the order of equals.
        for place in reversed(range(len(self._query.sort))):
            is_descending = self._query.sort[place][1]
            rows = sorted(rows, key=lambda row: row[0][place], reverse=is_descending)
        return rows

    def _group(self, row: EventRow) -> None:
        key = tuple(one(row.get) for _, one in self._query.groups)
        sums = self._groups.get(key)
        if sums is None:
            if len(self._groups) >= GROUPS_MAX:
                raise TooMuch(f"stats gives over {GROUPS_MAX} rows: group by less")
            sums = [_Sum(one, self._distinct) for one in self._query.aggregates]
            self._groups[key] = sums
        for one in sums:
            one.take(row)

    def rows(self) -> list[Shown]:
        """Return the result so far."""
        if self._query.is_grouped:
            return self._grouped_rows()
        if self._query.sort:
            return [shown for _, shown in self._in_order(self._sorted)[: self._limit]]
        return [shown for shown, _ in reversed(self._newest)]

    def _grouped_rows(self) -> list[Shown]:
        if not self._groups and not self._query.groups:
            self._groups[()] = [_Sum(one, self._distinct) for one in self._query.aggregates]
        rows = []
        for key, sums in self._groups.items():
            row: dict[str, Value] = dict(
                zip((column for column, _ in self._query.groups), key, strict=True)
            )
            row |= {one.column: one.value for one in sums}
            if all(is_true(wanted(row.get)) for wanted in self._query.later):
                keys = [order(one(row.get)) for one, _ in self._query.sort]
                rows.append((keys, _of_group(row, self._query)))
        return [shown for _, shown in self._in_order(rows)[: self._limit]]


class _Sum:
    """One column of one row of ``stats``."""

    __slots__ = ("_aggregate", "_budget", "_distinct", "_first", "_last", "_measured", "_squares")

    def __init__(self, aggregate: Aggregate, budget: list[int]) -> None:
        self._aggregate = aggregate
        self._budget = budget
        self._measured = Measured()
        self._squares = 0.0
        self._distinct: set[str] = set()
        self._first: tuple[int, Value] | None = None
        self._last: tuple[int, Value] | None = None

    @property
    def column(self) -> str:
        """Return its name."""
        return self._aggregate.column

    def take(self, row: EventRow) -> None:
        """Take an event."""
        of = self._aggregate.of
        value: Value = 1 if of is None else of(row.get)
        if value is None:
            return
        match self._aggregate.kind:
            case "count":
                self._measured.samples += 1
            case "count_distinct":
                self._add_distinct(text(value))
            case "earliest" | "latest":
                if self._first is None or row.at_ms < self._first[0]:
                    self._first = row.at_ms, value
                if self._last is None or row.at_ms >= self._last[0]:
                    self._last = row.at_ms, value
            case _:
                found = number(value)
                if found is not None:
                    self._measured.add(found)
                    self._squares += found * found

    def _add_distinct(self, value: str) -> None:
        if value not in self._distinct:
            if not self._budget[0]:
                raise TooMuch(f"count_distinct tells at most {DISTINCT_MAX} values apart")
            self._budget[0] -= 1
            self._distinct.add(value)

    @property
    def value(self) -> Value:
        """Return what it comes to; None where there was nothing."""
        measured = self._measured
        match self._aggregate.kind:
            case "count":
                return measured.samples
            case "count_distinct":
                return len(self._distinct)
            case "earliest":
                return None if self._first is None else self._first[1]
            case "latest":
                return None if self._last is None else self._last[1]
            case _ if not measured.samples:
                return None
            case "sum":
                return measured.total
            case "avg":
                return measured.total / measured.samples
            case "min":
                return measured.least
            case "max":
                return measured.most
            case "stddev":
                mean = measured.total / measured.samples
                return math.sqrt(max(0.0, self._squares / measured.samples - mean * mean))
            case _:
                found = percentile(sorted(measured.values.items()), self._aggregate.percent)
                return min(max(found, measured.least), measured.most)


def _shown(columns: Iterable[str], row: EventRow) -> Shown:
    values = ((column, row.get(column)) for column in columns)
    told = [(column, text(value)) for column, value in values if value is not None]
    return [*told, (_POINTER, text(row.get(_POINTER)))]


def _of_group(row: dict[str, Value], query: Insight) -> Shown:
    columns = query.shown or list(row)
    return [(one, text(row[one])) for one in columns if row.get(one) is not None]


def _size(shown: Shown) -> int:
    return sum(len(column) + len(value) + 100 for column, value in shown)
