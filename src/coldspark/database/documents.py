"""The doors' own records: JSON objects under (door, kind, name)."""

from collections.abc import Callable
from dataclasses import asdict, replace

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, and_, delete, insert, select, update

from coldspark.database import schema
from coldspark.database.database import Database
from coldspark.database.records import Document
from coldspark.errors import AlreadyExists

_TABLE = schema.documents


class Documents:
    """The documents on disk. What a call returns is durable."""

    def __init__(self, database: Database, wall_ms: Callable[[], int]) -> None:
        self._database = database
        self._wall_ms = wall_ms

    async def create(self, door: str, kind: str, name: str, body: dict[str, object]) -> Document:
        """Store a new record. Raises AlreadyExists."""
        return await self._database.run(_create, _document(door, kind, name, body, self._wall_ms()))

    async def put(self, door: str, kind: str, name: str, body: dict[str, object]) -> Document:
        """Store or replace a record; ``created_ms`` stays."""
        return await self._database.run(_put, _document(door, kind, name, body, self._wall_ms()))

    async def get(self, door: str, kind: str, name: str) -> Document | None:
        """Return a record, or None."""
        return await self._database.run(_get, door, kind, name)

    async def find(self, door: str, kind: str) -> list[Document]:
        """Return all records of a kind, by name."""
        return await self._database.run(_find, door, kind)

    async def delete(self, door: str, kind: str, name: str) -> bool:
        """Delete a record; return whether there was one."""
        return await self._database.run(_delete, door, kind, name)


def _document(door: str, kind: str, name: str, body: dict[str, object], now_ms: int) -> Document:
    return Document(
        door=door, kind=kind, name=name, body=body, created_ms=now_ms, updated_ms=now_ms
    )


def _create(connection: Connection, document: Document) -> Document:
    if _get(connection, document.door, document.kind, document.name) is not None:
        raise AlreadyExists(f"a {document.kind} named {document.name!r} already exists")
    connection.execute(insert(_TABLE).values(_values(document)))
    return document


def _put(connection: Connection, document: Document) -> Document:
    old = _get(connection, document.door, document.kind, document.name)
    if old is None:
        connection.execute(insert(_TABLE).values(_values(document)))
        return document
    document = replace(document, created_ms=old.created_ms)
    named = _is(document.door, document.kind, document.name)
    connection.execute(update(_TABLE).where(named).values(_values(document)))
    return document


def _get(connection: Connection, door: str, kind: str, name: str) -> Document | None:
    row = connection.execute(select(_TABLE).where(_is(door, kind, name))).first()
    return None if row is None else _read(row)


def _find(connection: Connection, door: str, kind: str) -> list[Document]:
    of_kind = and_(_TABLE.c.door == door, _TABLE.c.kind == kind)
    rows = connection.execute(select(_TABLE).where(of_kind).order_by(_TABLE.c.name))
    return [_read(row) for row in rows]


def _delete(connection: Connection, door: str, kind: str, name: str) -> bool:
    return connection.execute(delete(_TABLE).where(_is(door, kind, name))).rowcount > 0


def _is(door: str, kind: str, name: str) -> ColumnElement[bool]:
    return and_(_TABLE.c.door == door, _TABLE.c.kind == kind, _TABLE.c.name == name)


def _values(document: Document) -> dict[str, object]:
    values: dict[str, object] = asdict(document)
    return values | {"body": msgspec.json.encode(document.body).decode()}


def _read(row: Row[tuple[object, ...]]) -> Document:
    values = dict(row._mapping)
    return Document(**values | {"body": msgspec.json.decode(values["body"])})
