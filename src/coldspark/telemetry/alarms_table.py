"""Alarms on disk: what each watches, its state, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from coldspark.database.schema import alarm_history, alarms
from coldspark.spec.types import AlarmState

HISTORY_MAX = 1_000
"""Items kept of each alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAlarm:
    """An alarm as it is."""

    name: str
    body: dict[str, object]
    """What it watches, in the words of its owner."""
    state: AlarmState
    reason: str
    reason_data: str | None
    state_ms: int
    """When the state was last looked at and changed, or given anew with another reason."""
    moved_ms: int
    """When the state became another."""
    updated_ms: int
    """When what it watches was last changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmHistoryItem:
    """One item of an alarm's history."""

    alarm: str
    at_ms: int
    kind: str
    """``ConfigurationUpdate``, ``StateUpdate`` or ``Action``."""
    summary: str
    data: str
    """JSON."""
    id: int = 0


def load_alarms(connection: Connection) -> list[StoredAlarm]:
    """Return all alarms by name."""
    return [_read(row) for row in connection.execute(select(alarms).order_by(alarms.c.name))]


def put_alarm(
    connection: Connection, alarm: StoredAlarm, happening: AlarmHistoryItem | None
) -> None:
    """Store or replace an alarm, and write down why."""
    row = {
        "name": alarm.name,
        "body": msgspec.json.encode(alarm.body).decode(),
        "state": alarm.state.value,
        "reason": alarm.reason,
        "reason_data": alarm.reason_data,
        "state_ms": alarm.state_ms,
        "moved_ms": alarm.moved_ms,
        "updated_ms": alarm.updated_ms,
    }
    changed = connection.execute(update(alarms).where(alarms.c.name == alarm.name).values(row))
    if changed.rowcount == 0:
        connection.execute(insert(alarms).values(row))
    if happening is not None:
        add_history_item(connection, happening)


def delete_alarms(connection: Connection, names: Sequence[str], now_ms: int) -> None:
    """Delete alarms. Their history stays until its time is over."""
    for name in names:
        connection.execute(delete(alarms).where(alarms.c.name == name))
        summary = f'Alarm "{name}" deleted'
        happening = AlarmHistoryItem(
            alarm=name, at_ms=now_ms, kind="ConfigurationUpdate", summary=summary, data="{}"
        )
        add_history_item(connection, happening)


def add_history_item(connection: Connection, happening: AlarmHistoryItem) -> None:
    """Write down what happened; of each alarm the newest are kept."""
    row = {
        "alarm": happening.alarm,
        "at_ms": happening.at_ms,
        "kind": happening.kind,
        "summary": happening.summary,
        "data": happening.data,
    }
    connection.execute(insert(alarm_history).values(row))
    table = alarm_history.c
    of_it = table.alarm == happening.alarm
    newest = select(table.id).where(of_it).order_by(table.id.desc()).limit(1).offset(HISTORY_MAX)
    last = connection.scalar(newest)
    if last is not None:
        connection.execute(delete(alarm_history).where(of_it, table.id <= last))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmHistoryQuery:
    """Which items: None leaves a side open."""

    alarm: str | None = None
    kind: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    is_ascending: bool = False
    after_id: int | None = None
    """The last one that was shown."""
    limit: int = 100


def find_history(connection: Connection, asked: AlarmHistoryQuery) -> list[AlarmHistoryItem]:
    """Return what happened, newest first unless asked otherwise."""
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
    return [AlarmHistoryItem(**row._mapping) for row in connection.execute(query)]


def prune_history(connection: Connection, before_ms: int, rows_max: int) -> int:
    """Delete what happened long ago; return how many items went."""
    table = alarm_history.c
    old = select(table.id).where(table.at_ms < before_ms).limit(rows_max)
    return connection.execute(delete(alarm_history).where(table.id.in_(old))).rowcount


def _read(row: Row[tuple[object, ...]]) -> StoredAlarm:
    values = dict(row._mapping)
    values["body"] = msgspec.json.decode(values["body"])
    return StoredAlarm(**values | {"state": AlarmState(values["state"])})
