"""Queries of the ledger. A line counts in the range that holds its begin, so ranges add up."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Table,
    and_,
    func,
    insert,
    select,
    true,
    update,
)

from coldspark.billing.usage import (
    IdleUsageState,
    IdleUsageTotals,
    LedgerTotals,
    Usage,
    UsageTotals,
)
from coldspark.database.dialect import total
from coldspark.database.records import Boot
from coldspark.database.schema import boots, holdings, usages
from coldspark.spec.types import EndpointName
from coldspark.spec.waterfall import STAGES, Waterfall

_USAGE_FIELDS = tuple(name for name in Usage.__struct_fields__ if name != "waterfall")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRange:
    """Which lines: None leaves a side open."""

    endpoint: EndpointName | None = None
    since_ms: int | None = None
    """First millisecond that counts."""
    until_ms: int | None = None
    """First millisecond that no longer counts."""
    boot: int | None = None

    def of(self, table: Table, began: ColumnElement[int]) -> ColumnElement[bool]:
        """Return the condition on a table whose lines begin at ``began``."""
        conditions: list[ColumnElement[bool]] = [true()]
        if self.endpoint is not None:
            conditions.append(table.c.endpoint == self.endpoint)
        if self.boot is not None:
            conditions.append(table.c.boot == self.boot)
        if self.since_ms is not None:
            conditions.append(began >= self.since_ms)
        if self.until_ms is not None:
            conditions.append(began < self.until_ms)
        return and_(*conditions)


def find_usages(connection: Connection, range: LedgerRange, limit: int) -> list[Usage]:
    """Return lines, newest first."""
    newest = (usages.c.arrived_ms.desc(), usages.c.request.desc())
    rows = select(usages).where(range.of(usages, usages.c.arrived_ms)).order_by(*newest)
    return [_usage(row) for row in connection.execute(rows.limit(limit))]


def find_usage(connection: Connection, request: str) -> Usage | None:
    """Return one request's line."""
    row = connection.execute(select(usages).where(usages.c.request == request)).first()
    return None if row is None else _usage(row)


def _usage(row: Row[Any]) -> Usage:
    values = row._mapping
    waterfall = Waterfall(**{stage: values[stage] for stage in STAGES})
    return Usage(waterfall=waterfall, **{name: values[name] for name in _USAGE_FIELDS})


def find_totals(connection: Connection, range: LedgerRange) -> LedgerTotals:
    """Add the lines up."""
    return LedgerTotals(
        usages=tuple(_usage_totals(connection, range)),
        idle_usages=tuple(_holding_totals(connection, range)),
    )


def _usage_totals(connection: Connection, range: LedgerRange) -> list[UsageTotals]:
    table = usages.c
    group = (table.endpoint, table.variant, table.gpu, table.gpu_count, table.is_simulated)
    sums = (
        func.count().label("requests"),
        func.count(table.error).label("errors"),
        _sum(table.is_cold.cast(Integer), "cold"),
        *(_sum(table[name], name) for name in ("busy_ms", "duration_ms", "busy_nanos")),
        *(_sum(table[name], name) for name in ("bytes_in", "bytes_out")),
    )
    where = range.of(usages, table.arrived_ms)
    rows = connection.execute(select(*group, *sums).where(where).group_by(*group).order_by(*group))
    return [UsageTotals(**row._mapping) for row in rows]


def _holding_totals(connection: Connection, range: LedgerRange) -> list[IdleUsageTotals]:
    table = holdings.c
    group = (
        table.endpoint,
        table.gpu,
        table.gpu_count,
        table.is_simulated,
        table.state,
        table.is_provisioned,
    )
    sums = (_sum(table.to_ms - table.from_ms, "duration_ms"), _sum(table.nanos, "nanos"))
    where = range.of(holdings, table.from_ms)
    rows = connection.execute(select(*group, *sums).where(where).group_by(*group).order_by(*group))
    return [
        IdleUsageTotals(**dict(row._mapping) | {"state": IdleUsageState(row.state)}) for row in rows
    ]


def _sum(column: ColumnElement[Any], name: str) -> ColumnElement[int]:
    return total(column).label(name)


def open_boot(connection: Connection, boot: int, now_ms: int) -> None:
    """Record that a boot began. Fails when the number was used before."""
    connection.execute(insert(boots).values(boot=boot, opened_ms=now_ms))


def open_part(connection: Connection, boot: int, now_ms: int) -> None:
    """Record a boot that is a part of the run before it.

    It is never open by itself: its run's first boot is, and what that cost covers all of them.
    """
    row = {"boot": boot, "opened_ms": now_ms, "closed_ms": now_ms}
    connection.execute(insert(boots).values(row))


def is_boot_known(connection: Connection, boot: int) -> bool:
    """Return whether a boot with this number, or a later one, has been."""
    return connection.scalar(select(boots.c.boot).where(boots.c.boot >= boot)) is not None


def end_boot(connection: Connection, boot: int, now_ms: int) -> bool:
    """Record that a boot ended; return False when that was recorded before."""
    is_open = (boots.c.boot == boot) & boots.c.closed_ms.is_(None)
    return connection.execute(update(boots).where(is_open).values(closed_ms=now_ms)).rowcount > 0


def find_crashed(connection: Connection, before: int) -> list[Boot]:
    """Return the runs before boot ``before`` that nobody ended, oldest first.

    A run is a boot and its parts: the boots up to the next one that is open, as each start ends
    all runs before it.
    """
    unended = (boots.c.boot < before) & boots.c.closed_ms.is_(None)
    rows = connection.execute(select(boots).where(unended).order_by(boots.c.boot)).all()
    ends = [*(row.boot for row in rows), before][1:]
    return [
        _run(connection, row.boot, end, row.opened_ms) for row, end in zip(rows, ends, strict=False)
    ]


def find_nanos(connection: Connection, boot: int) -> int:
    """Return the nanos of all lines of one boot."""
    return _run(connection, boot, boot + 1, 0).nanos


def _run(connection: Connection, boot: int, end: int, opened_ms: int) -> Boot:
    used = select(
        total(usages.c.busy_nanos),
        func.max(usages.c.arrived_ms + usages.c.duration_ms),
    ).where(usages.c.boot >= boot, usages.c.boot < end)
    held = select(total(holdings.c.nanos), func.max(holdings.c.to_ms)).where(
        holdings.c.boot >= boot, holdings.c.boot < end
    )
    used_nanos, used_ms = connection.execute(used).one()
    held_nanos, held_ms = connection.execute(held).one()
    return Boot(
        boot=boot,
        opened_ms=opened_ms,
        last_ms=max(opened_ms, used_ms or 0, held_ms or 0),
        nanos=used_nanos + held_nanos,
    )
