"""Alarms on disk: what each watches, its state, and its history."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from coldspark.database.schema import alarm_history, alarms
from coldspark.spec.types import AlarmState
from coldspark.telemetry.alarm_events import (
    AlarmEdit,
    AlarmEdited,
    AlarmEvent,
    AlarmReason,
    kind_of,
)

HISTORY_MAX = 1_000
"""Items kept of each alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAlarm:
    """An alarm as it is."""

    name: str
    body: dict[str, object]
    """Its definition."""
    state: AlarmState
    reason: AlarmReason
    state_ms: int
    """When the state was last set, also to what it was, with another reason."""
    moved_ms: int
    """When the state became another."""
    updated_ms: int
    """When its definition was last changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmHistoryItem:
    """One item of an alarm's history."""

    alarm: str
    at_ms: int
    event: AlarmEvent
    id: int = 0


def load_alarms(connection: Connection) -> list[StoredAlarm]:
    """Return all alarms by name."""
    return [_read(row) for row in connection.execute(select(alarms).order_by(alarms.c.name))]


def put_alarm(connection: Connection, alarm: StoredAlarm, item: AlarmHistoryItem | None) -> None:
    """Store or replace an alarm, with an item of its history."""
    row = {
        "name": alarm.name,
        "body": msgspec.json.encode(alarm.body).decode(),
        "state": alarm.state.value,
        "reason": msgspec.json.encode(alarm.reason).decode(),
        "state_ms": alarm.state_ms,
        "moved_ms": alarm.moved_ms,
        "updated_ms": alarm.updated_ms,
    }
    changed = connection.execute(update(alarms).where(alarms.c.name == alarm.name).values(row))
    if changed.rowcount == 0:
        connection.execute(insert(alarms).values(row))
    if item is not None:
        add_history_item(connection, item)


def delete_alarms(connection: Connection, names: Sequence[str], now_ms: int) -> None:
    """Delete alarms. Their history stays until its time is over."""
    for name in names:
        connection.execute(delete(alarms).where(alarms.c.name == name))
        event = AlarmEdited(AlarmEdit.DELETED)
        add_history_item(connection, AlarmHistoryItem(alarm=name, at_ms=now_ms, event=event))


def add_history_item(connection: Connection, item: AlarmHistoryItem) -> None:
    """Append an item; of each alarm the newest are kept."""
    row = {
        "alarm": item.alarm,
        "at_ms": item.at_ms,
        "kind": kind_of(item.event),
        "event": msgspec.json.encode(item.event).decode(),
    }
    connection.execute(insert(alarm_history).values(row))
    table = alarm_history.c
    of_it = table.alarm == item.alarm
    newest = select(table.id).where(of_it).order_by(table.id.desc()).limit(1).offset(HISTORY_MAX)
    last = connection.scalar(newest)
    if last is not None:
        connection.execute(delete(alarm_history).where(of_it, table.id <= last))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmHistoryQuery:
    """Which items: None leaves a side open."""

    alarm: str | None = None
    kind: str | None = None
    """As ``kind_of`` says."""
    since_ms: int | None = None
    until_ms: int | None = None
    is_ascending: bool = False
    after_id: int | None = None
    """The last one that was shown."""
    limit: int = 100


def find_history(connection: Connection, asked: AlarmHistoryQuery) -> list[AlarmHistoryItem]:
    """Return items, newest first unless asked otherwise."""
    table = alarm_history.c
    query = select(alarm_history).limit(asked.limit)
    query = query.order_by(table.id if asked.is_ascending else table.id.desc())
    if asked.alarm is not None:
        query = query.where(table.alarm == asked.alarm)
    if asked.kind is not None:
        query = query.where(table.kind == asked.kind)
    if asked.since_ms is not None:
        query = query.where(table.at_ms >= asked.since_ms)
    if asked.until_ms is not None:
        query = query.where(table.at_ms <= asked.until_ms)
    if asked.after_id is not None:
        after = asked.after_id
        query = query.where(table.id > after if asked.is_ascending else table.id < after)
    return [
        AlarmHistoryItem(
            alarm=row.alarm,
            at_ms=row.at_ms,
            event=msgspec.json.decode(row.event, type=AlarmEvent),
            id=row.id,
        )
        for row in connection.execute(query)
    ]


def prune_history(connection: Connection, before_ms: int, rows_max: int) -> int:
    """Delete old items; return how many."""
    table = alarm_history.c
    old = select(table.id).where(table.at_ms < before_ms).limit(rows_max)
    return connection.execute(delete(alarm_history).where(table.id.in_(old))).rowcount


def _read(row: Row[tuple[object, ...]]) -> StoredAlarm:
    values = dict(row._mapping)
    values["body"] = msgspec.json.decode(values["body"])
    values["reason"] = msgspec.json.decode(values["reason"], type=AlarmReason)
    return StoredAlarm(**values | {"state": AlarmState(values["state"])})
