"""Webhook events on disk: written with their cause, deleted once delivered or given up."""

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from coldspark.database import schema
from coldspark.database.database import Database
from coldspark.database.group_commit import GroupCommit
from coldspark.jobs.records import WebhookEvent

_TABLE = schema.notices


class WebhookEventTable:
    """The webhook events on disk."""

    def __init__(self, database: Database, group: GroupCommit) -> None:
        self._database = database
        self._group = group

    async def add(self, event: WebhookEvent) -> None:
        """Store a webhook event; durable on return."""
        await self._group.run(lambda connection: insert_webhook_event(connection, event))

    async def postpone(self, id: str, attempts: int, due_ms: int) -> None:
        """Record that a webhook event is tried again."""
        statement = update(_TABLE).where(_TABLE.c.id == id)
        values = {"attempts": attempts, "due_ms": due_ms}
        await self._group.run(lambda connection: connection.execute(statement.values(**values)))

    async def drop(self, id: str) -> None:
        """Delete a webhook event."""
        statement = delete(_TABLE).where(_TABLE.c.id == id)
        await self._group.run(lambda connection: connection.execute(statement))

    async def due(self, limit: int) -> list[WebhookEvent]:
        """Return the webhook events that are due first."""
        return await self._database.run(_due, limit)


def insert_webhook_event(connection: Connection, event: WebhookEvent) -> None:
    """Store a webhook event within a transaction."""
    values = msgspec.structs.asdict(event)
    values["headers"] = msgspec.json.encode(event.headers).decode()
    connection.execute(insert(_TABLE).values(**values))


def _due(connection: Connection, limit: int) -> list[WebhookEvent]:
    statement = select(_TABLE).order_by(_TABLE.c.due_ms, _TABLE.c.id).limit(limit)
    return [_read(row) for row in connection.execute(statement)]


def _read(row: Row[tuple[object, ...]]) -> WebhookEvent:
    values = dict(row._mapping)
    values["headers"] = msgspec.json.decode(values["headers"], type=tuple[tuple[str, str], ...])
    values["body"] = bytes(values["body"])
    return WebhookEvent(**values)
