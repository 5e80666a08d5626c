"""Callers' own log groups, streams and events, and what is kept of endpoints' groups.

A batch of events is one transaction. What is deleted is out of sight at once; its events go in
bounded chunks (``expire``), so that no other work on the database waits long.
"""

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import (
    Connection,
    Row,
    and_,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)

from coldspark.database import schema
from coldspark.database.database import Database
from coldspark.database.dialect import insert_rows, total, utf8_bytes
from coldspark.errors import AlreadyExists, NotFound
from coldspark.telemetry.log_records import (
    LogEvent,
    LogGroup,
    LogStream,
    Position,
    ReadLimits,
    TimeRange,
)

EVENT_OVERHEAD_BYTES = 26
"""What an event counts besides its text."""
CHUNK_EVENTS = 2_000
_DAY_MS = 86_400_000
_GROUPS, _STREAMS, _EVENTS = schema.log_groups, schema.log_streams, schema.log_events
_INSERT_EVENTS = insert_rows(_EVENTS)


class LogEvents:
    """The logs in the database. What a call returns is durable."""

    def __init__(self, database: Database, wall_ms: Callable[[], int]) -> None:
        self._database = database
        self._wall_ms = wall_ms

    async def create_group(self, name: str, tags: dict[str, str]) -> None:
        """Make a group. Raises AlreadyExists."""
        await self._database.run(_create_group, name, tags, self._wall_ms())

    async def groups(self) -> list[LogGroup]:
        """Return all groups by name."""
        return await self._database.run(_groups)

    async def group(self, name: str) -> LogGroup | None:
        """Return a group, or None."""
        return await self._database.run(_group, name)

    async def change_group(self, group: LogGroup) -> None:
        """Keep a group's retention and tags; make it if there is none of its name."""
        await self._database.run(_change_group, group)

    async def drop_group(self, name: str) -> bool:
        """Delete a group with its streams; return whether there was one."""
        return await self._database.run(_drop_group, name)

    async def create_stream(self, group: LogGroup, name: str) -> None:
        """Make a stream. Raises AlreadyExists."""
        await self._database.run(_create_stream, group.id, name, self._wall_ms())

    async def streams(self, group: LogGroup) -> list[LogStream]:
        """Return a group's streams by name."""
        return await self._database.run(_streams, group.id)

    async def stream(self, group: LogGroup, name: str) -> LogStream | None:
        """Return a stream, or None."""
        return await self._database.run(_stream, group.id, name)

    async def drop_stream(self, group: LogGroup, name: str) -> bool:
        """Delete a stream; return whether there was one."""
        return await self._database.run(_drop_streams, group.id, name) > 0

    async def put(self, group: LogGroup, stream: str, events: Sequence[tuple[int, str]]) -> None:
        """Store events (time and text) as one batch. Raises NotFound for a stream that is gone."""
        await self._database.run(_put, group.id, stream, events, self._wall_ms())

    async def stored_bytes(self) -> int:
        """Return what all streams hold."""
        return await self._database.run(_stored_bytes)

    async def page(
        self,
        stream: LogStream,
        span: TimeRange,
        bounds: ReadLimits,
        *,
        after: Position | None = None,
        before: Position | None = None,
    ) -> list[LogEvent]:
        """Return events of one stream, oldest first: from ``after`` on, else the last ones."""
        return await self._database.run(_page, stream, span, bounds, after, before)

    async def scan(
        self, group: LogGroup, span: TimeRange, bounds: ReadLimits, after: Position
    ) -> list[tuple[int, LogEvent]]:
        """Return the events of all streams that come next, each with its stream's id."""
        return await self._database.run(_scan, group.id, span, bounds, after)

    async def expire(self) -> bool:
        """Remove one chunk of what is deleted or over its retention; return if there was any."""
        return await self._database.run(_expire, self._wall_ms())


def size_of(message: str) -> int:
    """Return what an event counts in bytes."""
    return len(message.encode()) + EVENT_OVERHEAD_BYTES


def _create_group(connection: Connection, name: str, tags: dict[str, str], now_ms: int) -> None:
    if _group(connection, name) is not None:
        raise AlreadyExists(f"a log group named {name!r} already exists")
    row = {"name": name, "created_ms": now_ms, "tags": msgspec.json.encode(tags).decode()}
    connection.execute(insert(_GROUPS).values(row))


def _groups(connection: Connection) -> list[LogGroup]:
    sizes = _sizes(connection)
    rows = connection.execute(select(_GROUPS).order_by(_GROUPS.c.name))
    return [_read_group(row, sizes.get(row.id, 0)) for row in rows]


def _sizes(connection: Connection) -> dict[int, int]:
    stored = total(_STREAMS.c.stored_bytes)
    wanted = select(_STREAMS.c.log_group, stored).where(_STREAMS.c.name.is_not(None))
    return {row[0]: row[1] for row in connection.execute(wanted.group_by(_STREAMS.c.log_group))}


def _group(connection: Connection, name: str) -> LogGroup | None:
    row = connection.execute(select(_GROUPS).where(_GROUPS.c.name == name)).first()
    if row is None:
        return None
    stored = select(total(_STREAMS.c.stored_bytes)).where(
        _STREAMS.c.log_group == row.id, _STREAMS.c.name.is_not(None)
    )
    return _read_group(row, connection.scalar(stored) or 0)


def _read_group(row: Row[tuple[object, ...]], stored_bytes: int) -> LogGroup:
    return LogGroup(
        id=row.id,
        name=row.name,
        created_ms=row.created_ms,
        retention_days=row.retention_days,
        tags=msgspec.json.decode(row.tags),
        stored_bytes=stored_bytes,
    )


def _change_group(connection: Connection, group: LogGroup) -> None:
    tags = msgspec.json.encode(group.tags).decode()
    values = {"retention_days": group.retention_days, "tags": tags}
    changed = connection.execute(
        update(_GROUPS).where(_GROUPS.c.name == group.name).values(values)
    ).rowcount
    if not changed:
        made = {"name": group.name, "created_ms": group.created_ms}
        connection.execute(insert(_GROUPS).values(made | values))


def _drop_group(connection: Connection, name: str) -> bool:
    group = _group(connection, name)
    if group is None:
        return False
    _drop_streams(connection, group.id, None)
    connection.execute(delete(_GROUPS).where(_GROUPS.c.id == group.id))
    return True


def _drop_streams(connection: Connection, group: int, name: str | None) -> int:
    """Take the name from one stream or all: nobody sees them any more, and ``expire`` does."""
    of_group = and_(_STREAMS.c.log_group == group, _STREAMS.c.name.is_not(None))
    wanted = of_group if name is None else and_(of_group, _STREAMS.c.name == name)
    return connection.execute(update(_STREAMS).where(wanted).values(name=None)).rowcount


def _create_stream(connection: Connection, group: int, name: str, now_ms: int) -> None:
    if _stream(connection, group, name) is not None:
        raise AlreadyExists(f"a log stream named {name!r} already exists")
    row = {"log_group": group, "name": name, "created_ms": now_ms, "stored_bytes": 0}
    connection.execute(insert(_STREAMS).values(row))


def _streams(connection: Connection, group: int) -> list[LogStream]:
    named = and_(_STREAMS.c.log_group == group, _STREAMS.c.name.is_not(None))
    rows = connection.execute(select(_STREAMS).where(named).order_by(_STREAMS.c.name))
    return [_read_stream(row) for row in rows]


def _stream(connection: Connection, group: int, name: str) -> LogStream | None:
    wanted = and_(_STREAMS.c.log_group == group, _STREAMS.c.name == name)
    row = connection.execute(select(_STREAMS).where(wanted)).first()
    return None if row is None else _read_stream(row)


def _read_stream(row: Row[tuple[object, ...]]) -> LogStream:
    values = dict(row._mapping)
    del values["log_group"]
    return LogStream(**values)


def _put(
    connection: Connection, group: int, name: str, events: Sequence[tuple[int, str]], now_ms: int
) -> None:
    stream = _stream(connection, group, name)
    if stream is None:
        raise NotFound(f"no log stream named {name!r}")
    rows = [(group, stream.id, at_ms, now_ms, message) for at_ms, message in events]
    _INSERT_EVENTS.run(connection, rows)
    times = [at_ms for at_ms, _ in events]
    first, last = min(times), max(times)
    size_bytes = sum(size_of(message) for _, message in events)
    values = {
        "first_ms": first if stream.first_ms is None else min(first, stream.first_ms),
        "last_ms": last if stream.last_ms is None else max(last, stream.last_ms),
        "ingested_ms": now_ms,
        "stored_bytes": stream.stored_bytes + size_bytes,
    }
    connection.execute(update(_STREAMS).where(_STREAMS.c.id == stream.id).values(values))


def _stored_bytes(connection: Connection) -> int:
    return connection.scalar(select(total(_STREAMS.c.stored_bytes))) or 0


def _page(
    connection: Connection,
    stream: LogStream,
    span: TimeRange,
    bounds: ReadLimits,
    after: Position | None,
    before: Position | None,
) -> list[LogEvent]:
    table, place = _EVENTS.c, tuple_(_EVENTS.c.at_ms, _EVENTS.c.id)
    wanted = select(_EVENTS).where(table.stream == stream.id, table.at_ms >= span.start_ms)
    if span.end_ms is not None:
        wanted = wanted.where(table.at_ms < span.end_ms)
    if after is not None:
        wanted = wanted.where(place > (after[0], after[2])).order_by(table.at_ms, table.id)
    else:
        if before is not None:
            wanted = wanted.where(place < (before[0], before[2]))
        wanted = wanted.order_by(table.at_ms.desc(), table.id.desc())
    found = [event for _, event in _taken(connection, wanted.limit(bounds.events), bounds)]
    return found if after is not None else found[::-1]


def _scan(
    connection: Connection, group: int, span: TimeRange, bounds: ReadLimits, after: Position
) -> list[tuple[int, LogEvent]]:
    table = _EVENTS.c
    place = tuple_(table.at_ms, table.id)
    wanted = select(_EVENTS).where(
        table.log_group == group,
        table.at_ms >= span.start_ms,
        place > (after[0], after[2]),
    )
    if span.end_ms is not None:
        wanted = wanted.where(table.at_ms < span.end_ms)
    ordered = wanted.order_by(table.at_ms, table.id).limit(bounds.events)
    return _taken(connection, ordered, bounds)


def _taken(
    connection: Connection, wanted: object, bounds: ReadLimits
) -> list[tuple[int, LogEvent]]:
    """Read rows one by one until the bound in bytes; the first is always taken."""
    found: list[tuple[int, LogEvent]] = []
    size_bytes = 0
    with connection.execute(wanted) as rows:  # type: ignore[call-overload]
        for row in rows:
            size_bytes += size_of(row.message)
            if found and size_bytes > bounds.size_bytes:
                break
            position = (row.at_ms, 0, row.id)
            event = LogEvent(row.at_ms, row.ingested_ms, row.message, position)
            found.append((row.stream, event))
    return found


def _expire(connection: Connection, now_ms: int) -> bool:
    return _expire_dropped(connection) or _expire_old(connection, now_ms)


def _expire_dropped(connection: Connection) -> bool:
    stream = connection.scalar(select(_STREAMS.c.id).where(_STREAMS.c.name.is_(None)).limit(1))
    if stream is None:
        return False
    some = select(_EVENTS.c.id).where(_EVENTS.c.stream == stream).limit(CHUNK_EVENTS)
    if connection.execute(delete(_EVENTS).where(_EVENTS.c.id.in_(some))).rowcount == 0:
        connection.execute(delete(_STREAMS).where(_STREAMS.c.id == stream))
    return True


def _expire_old(connection: Connection, now_ms: int) -> bool:
    kept = select(_GROUPS.c.id, _GROUPS.c.retention_days)
    for group, days in connection.execute(kept.where(_GROUPS.c.retention_days.is_not(None))).all():
        if _expire_group(connection, group, now_ms - days * _DAY_MS):
            return True
    return False


def _expire_group(connection: Connection, group: int, until_ms: int) -> bool:
    table = _EVENTS.c
    size = utf8_bytes(table.message) + EVENT_OVERHEAD_BYTES
    old = (
        select(table.id, table.stream, size)
        .where(table.log_group == group, table.at_ms < until_ms)
        .order_by(table.at_ms, table.id)
        .limit(CHUNK_EVENTS)
    )
    rows = connection.execute(old).all()
    if not rows:
        return False
    connection.execute(delete(_EVENTS).where(table.id.in_([row[0] for row in rows])))
    freed: dict[int, int] = {}
    for _, stream, size_bytes in rows:
        freed[stream] = freed.get(stream, 0) + size_bytes
    for stream, size_bytes in freed.items():
        first = select(func.min(table.at_ms)).where(table.stream == stream).scalar_subquery()
        values = {"stored_bytes": _STREAMS.c.stored_bytes - size_bytes, "first_ms": first}
        connection.execute(update(_STREAMS).where(_STREAMS.c.id == stream).values(values))
    return True
