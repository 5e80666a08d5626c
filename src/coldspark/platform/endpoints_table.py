"""What endpoints shall be, and every revision there ever was."""

from collections.abc import Callable

from sqlalchemy import Connection, delete, insert, select, update

from coldspark.database import schema
from coldspark.database.database import Database
from coldspark.database.dialect import insert_new
from coldspark.database.records import StoredEndpoint
from coldspark.platform.spec_json import definition_json, read_definition, read_revision, spec_json
from coldspark.spec.types import EndpointDefinition, EndpointName, Revision, RevisionId

_REVISIONS = insert_new(schema.revisions)


class Endpoints:
    """The endpoints on disk. What a call returns is durable."""

    def __init__(self, database: Database, wall_ms: Callable[[], int]) -> None:
        self._database = database
        self._wall_ms = wall_ms

    async def save(self, definition: EndpointDefinition) -> StoredEndpoint:
        """Store or replace an endpoint; ``created_ms`` is kept. Its revisions stay for good."""
        return await self._database.run(_save, definition, self._wall_ms())

    async def delete(self, name: EndpointName) -> bool:
        """Delete an endpoint; return whether there was one. Its revisions stay."""
        return await self._database.run(_delete, name)

    async def load(self) -> list[StoredEndpoint]:
        """Return all endpoints by name."""
        return await self._database.run(_load)

    async def revision(self, id: RevisionId) -> Revision | None:
        """Return a revision, also one that no endpoint uses any more."""
        return await self._database.run(_revision, id)


def _save(connection: Connection, definition: EndpointDefinition, now_ms: int) -> StoredEndpoint:
    table = schema.endpoints
    created_ms = connection.scalar(
        select(table.c.created_ms).where(table.c.name == definition.name)
    )
    values = {"definition": definition_json(definition).decode(), "updated_ms": now_ms}
    if created_ms is None:
        created_ms = now_ms
        row = {"name": definition.name, "created_ms": now_ms, **values}
        connection.execute(insert(table).values(row))
    else:
        connection.execute(update(table).where(table.c.name == definition.name).values(values))
    revisions = [variant.revision for variant in (*definition.variants, *definition.shadows)]
    rows = [(revision.id, spec_json(revision.spec).decode(), now_ms) for revision in revisions]
    if rows:
        _REVISIONS.run(connection, rows)
    return StoredEndpoint(definition=definition, created_ms=created_ms, updated_ms=now_ms)


def _delete(connection: Connection, name: EndpointName) -> bool:
    table = schema.endpoints
    return connection.execute(delete(table).where(table.c.name == name)).rowcount > 0


def _load(connection: Connection) -> list[StoredEndpoint]:
    return [
        StoredEndpoint(
            definition=read_definition(row.name, row.definition),
            created_ms=row.created_ms,
            updated_ms=row.updated_ms,
        )
        for row in connection.execute(select(schema.endpoints).order_by(schema.endpoints.c.name))
    ]


def _revision(connection: Connection, id: RevisionId) -> Revision | None:
    table = schema.revisions
    spec = connection.scalar(select(table.c.spec).where(table.c.id == id))
    return None if spec is None else read_revision(id, spec)
