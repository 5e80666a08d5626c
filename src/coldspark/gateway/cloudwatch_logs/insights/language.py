"""A whole query: its commands, read into steps."""

from collections.abc import Callable
from dataclasses import dataclass, field

from coldspark.gateway.cloudwatch_logs.filtering.cursor import Cursor, plain
from coldspark.gateway.cloudwatch_logs.insights.expressions import (
    Expression,
    expression,
    keyword,
    name,
)
from coldspark.gateway.cloudwatch_logs.insights.values import EventRow, is_true, text

LIMIT_MAX = 10_000
_COMMANDS = ("fields", "display", "filter", "parse", "stats", "sort", "limit")
AGGREGATES = (
    *("count", "count_distinct", "sum", "avg", "min", "max", "stddev"),
    *("pct", "percentile", "median", "earliest", "latest"),
)
_WITH_PERCENT = ("pct", "percentile")

Step = Callable[[EventRow], bool]
"""Change a row; return whether it stays."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One column of ``stats``."""

    kind: str
    of: Expression | None
    """None: the events themselves."""
    percent: float
    column: str


@dataclass(slots=True)
class Insight:
    """A query that was read."""

    steps: list[Step] = field(default_factory=list)
    """What is done with each event, in order."""
    shown: list[str] = field(default_factory=list)
    aggregates: list[Aggregate] = field(default_factory=list)
    groups: list[tuple[str, Expression]] = field(default_factory=list)
    """Columns by which events are put together."""
    later: list[Expression] = field(default_factory=list)
    """Conditions on what ``stats`` gave."""
    sort: list[tuple[Expression, bool]] = field(default_factory=list)
    """By what, and whether the largest comes first."""
    limit: int | None = None

    @property
    def is_grouped(self) -> bool:
        """Return whether it has ``stats``."""
        return bool(self.aggregates)


def read(query: str) -> Insight:
    """Read a query. Raises PatternError."""
    cursor = Cursor(_without_comments(query))
    found = Insight()
    done: set[str] = set()
    while True:
        word = next((one for one in _COMMANDS if keyword(cursor, one)), None)
        if word is None:
            cursor.refuse(f"one of the commands {', '.join(_COMMANDS)} is expected")
        if word in done and word in ("display", "stats", "sort", "limit"):
            cursor.refuse(f"{word} can stand only once; another command is expected")
        if found.is_grouped and word in ("fields", "parse"):
            cursor.refuse(f"{word} cannot stand behind stats; sort or limit is expected")
        if word == "stats" and (found.sort or found.limit is not None):
            cursor.refuse("stats must stand before sort and limit; one of those is expected")
        done.add(word)
        _READERS[word](cursor, found)
        if cursor.take("|"):
            continue
        cursor.skip()
        if not cursor.next:
            return found
        cursor.refuse("| or the end is expected")


def _without_comments(query: str) -> str:
    """Blank lines that are comments: those that begin with #."""
    return "\n".join(
        " " * len(line) if line.lstrip().startswith("#") else line for line in query.split("\n")
    )


def _fields(cursor: Cursor, found: Insight) -> None:
    while True:
        cursor.skip()
        start = cursor.at
        value = expression(cursor)
        column = cursor.text[start : cursor.at].strip().strip("`")
        if keyword(cursor, "as"):
            column = name(cursor)
            found.steps.append(_adding(column, value))
        elif not _is_name(cursor.text[start : cursor.at].strip()):
            found.steps.append(_adding(column, value))
        if column not in found.shown:
            found.shown.append(column)
        if not cursor.take(","):
            return


def _is_name(written: str) -> bool:
    reader = Cursor(written)
    if written[:1] not in ("@", "`", "_") and not written[:1].isalpha():
        return False
    name(reader)
    return not reader.next


def _adding(column: str, value: Expression) -> Step:
    def step(row: EventRow) -> bool:
        row.added[column] = value(row.get)
        return True

    return step


def _display(cursor: Cursor, found: Insight) -> None:
    found.shown = [name(cursor)]
    while cursor.take(","):
        found.shown.append(name(cursor))


def _filter(cursor: Cursor, found: Insight) -> None:
    wanted = expression(cursor)
    if found.is_grouped:
        found.later.append(wanted)
    else:
        found.steps.append(lambda row: is_true(wanted(row.get)))


def _parse(cursor: Cursor, found: Insight) -> None:
    """Read ``parse @message "user=*, ms=*" as user, ms``."""
    cursor.skip()
    source = "@message" if cursor.next in ('"', "'", "/") else name(cursor)
    cursor.skip()
    if cursor.next not in ('"', "'"):
        cursor.refuse('a pattern such as "user=*, ms=*" is expected (none in / /)')
    pieces = [""]
    for one in cursor.quoted():
        if one == "*":
            pieces.append("")
        else:
            pieces[-1] += plain([one])
    if not keyword(cursor, "as"):
        cursor.refuse("as, and a name for each *, is expected")
    columns = [name(cursor)]
    while cursor.take(","):
        columns.append(name(cursor))
    if len(columns) != len(pieces) - 1:
        cursor.refuse(f"the pattern has {len(pieces) - 1} of *: as many names are expected")

    def step(row: EventRow) -> bool:
        value = row.get(source)
        values = None if value is None else _between(text(value), pieces)
        row.added |= dict(zip(columns, values, strict=True) if values else ())
        return True

    found.steps.append(step)


def _between(whole: str, pieces: list[str]) -> list[str] | None:
    """Return what stands between the pieces, the shortest each; None where they do not come."""
    at = whole.find(pieces[0])
    if at < 0:
        return None
    at += len(pieces[0])
    values = []
    for number, piece in enumerate(pieces[1:], start=1):
        is_rest = number == len(pieces) - 1 and not piece
        end = len(whole) if is_rest else whole.find(piece, at)
        if end < 0:
            return None
        values.append(whole[at:end])
        at = end + len(piece)
    return values


def _stats(cursor: Cursor, found: Insight) -> None:
    found.aggregates.append(_aggregate(cursor))
    while cursor.take(","):
        found.aggregates.append(_aggregate(cursor))
    if keyword(cursor, "by"):
        found.groups.append(_group(cursor))
        while cursor.take(","):
            found.groups.append(_group(cursor))


def _aggregate(cursor: Cursor) -> Aggregate:
    cursor.skip()
    start = cursor.at
    kind = name(cursor).lower()
    if kind not in AGGREGATES:
        cursor.refuse(f"one of {', '.join(AGGREGATES)} is expected")
    cursor.expect("(")
    of, percent = None, 50.0
    if not (kind == "count" and (cursor.take("*)") or cursor.take(")"))):
        if kind == "count" and cursor.take("*"):
            cursor.expect(")")
        else:
            of = expression(cursor)
            if kind in _WITH_PERCENT:
                percent = _percent(cursor)
            cursor.expect(")")
    column = cursor.text[start : cursor.at]
    return Aggregate(kind, of, percent, name(cursor) if keyword(cursor, "as") else column)


def _percent(cursor: Cursor) -> float:
    cursor.expect(",")
    cursor.skip()
    written = cursor.run(")")
    try:
        percent = float(written)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        cursor.refuse("a percentage from 0 to 100 is expected")
    return percent


def _group(cursor: Cursor) -> tuple[str, Expression]:
    cursor.skip()
    start = cursor.at
    value = expression(cursor)
    column = cursor.text[start : cursor.at].strip().strip("`")
    return (name(cursor) if keyword(cursor, "as") else column), value


def _sort(cursor: Cursor, found: Insight) -> None:
    while True:
        cursor.skip()
        start = cursor.at
        value = _column_or_expression(cursor, found)
        assert cursor.at > start
        is_ascending = keyword(cursor, "asc")
        if not is_ascending:
            keyword(cursor, "desc")
        found.sort.append((value, not is_ascending))
        if not cursor.take(","):
            return


def _column_or_expression(cursor: Cursor, found: Insight) -> Expression:
    """Read what is sorted by; behind ``stats`` also a column such as ``count(*)``."""
    columns = [*(one.column for one in found.aggregates), *(column for column, _ in found.groups)]
    for column in sorted(columns, key=len, reverse=True):
        if cursor.take(column):
            return lambda get: get(column)
    return expression(cursor)


def _limit(cursor: Cursor, found: Insight) -> None:
    cursor.skip()
    written = cursor.run("|")
    if not (written.isdecimal() and len(written) < 9 and 0 < int(written) <= LIMIT_MAX):
        cursor.refuse(f"a number from 1 to {LIMIT_MAX} is expected")
    found.limit = int(written)


_READERS: dict[str, Callable[[Cursor, Insight], None]] = {
    "fields": _fields,
    "display": _display,
    "filter": _filter,
    "parse": _parse,
    "stats": _stats,
    "sort": _sort,
    "limit": _limit,
}
