"""Where SQLite and Postgres differ, and statements compiled for either.

All other SQL is SQLAlchemy Core that both understand. A server connects to SQLite today; what the
code asks of a database compiles for Postgres as well, and a test holds it to that. Differences:

- Row numbers: an ``INTEGER PRIMARY KEY`` for SQLite, a ``BIGSERIAL`` for Postgres.
- Text sorts by its UTF-8 bytes (S3's order): SQLite's default, collation ``C`` for Postgres.
- Sums of 64-bit integers are ``numeric`` for Postgres, and are made integers again.
- The length of a text in bytes.
- Placeholders of the drivers.

What is SQLite's alone is in ``sqlite`` (the driver, the PRAGMAs, WAL, who writes when, the
connection of the process that ingests a busy ledger) and in ``database`` (the file, its mode, its
lock, and syncing the write-ahead log). Two things rest on its single writer: ``ledger_tail`` reads
the ledger by row numbers, which rise in the order of commits, and functions that read before they
insert have no other writer in between.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    CursorResult,
    Dialect,
    Insert,
    Integer,
    LargeBinary,
    Table,
    cast,
    func,
)
from sqlalchemy import Text as AnyText
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

ROW_NUMBER = BigInteger().with_variant(Integer(), "sqlite")
"""The type of a key that the database counts up. SQLite does so with an INTEGER alone."""
Text = AnyText().with_variant(AnyText(collation="C"), "postgresql")
"""Text that is compared by its UTF-8 bytes."""
_PLACEHOLDERS = {"sqlite": "qmark", "postgresql": "format"}


def total(column: ColumnElement[Any]) -> ColumnElement[int]:
    """Return the sum of integers; 0 where there are none."""
    return func.coalesce(cast(func.sum(column), BigInteger), 0)


class utf8_bytes(FunctionElement[int]):
    """The length of a text in UTF-8."""

    type = Integer()
    inherit_cache = True


@compiles(utf8_bytes)
def _octet_length(element: utf8_bytes, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(func.octet_length(*element.clauses), **options)


@compiles(utf8_bytes, "sqlite")
def _length_of_blob(element: utf8_bytes, compiler: SQLCompiler, **options: Any) -> str:
    # Its octet_length came with 3.43.
    (column,) = element.clauses
    return compiler.process(func.length(cast(column, LargeBinary)), **options)


class _InsertNew(Insert):
    inherit_cache = True


class _InsertOrReplace(Insert):
    inherit_cache = True


@compiles(_InsertNew)
def _do_nothing(statement: _InsertNew, compiler: Any, **options: Any) -> str:
    return f"{compiler.visit_insert(statement, **options)} ON CONFLICT DO NOTHING"


@compiles(_InsertOrReplace)
def _do_update(statement: _InsertOrReplace, compiler: Any, **options: Any) -> str:
    table, name = statement.table, compiler.preparer.format_column
    key = ", ".join(map(name, table.primary_key))
    others = [name(column) for column in table.columns if not column.primary_key]
    values = ", ".join(f"{other} = excluded.{other}" for other in others)
    text = compiler.visit_insert(statement, **options)
    return f"{text} ON CONFLICT ({key}) DO UPDATE SET {values}"


class PreparedStatement:
    """A statement for hot paths: compiled once, and its rows are tuples.

    Building it, or only its parameters, would take most of the time of a transaction with hundreds
    of rows.
    """

    def __init__(self, statement: ClauseElement, names: Sequence[str]) -> None:
        self.statement = statement
        self.names = tuple(names)
        """Of its parameters, in the order in which they stand in it."""
        self._compiled: dict[str, str] = {}

    def run(
        self, connection: Connection, rows: tuple[Any, ...] | list[tuple[Any, ...]]
    ) -> CursorResult[Any]:
        """Execute it for one row of values, or for each of a list."""
        dialect = connection.dialect
        text = self._compiled.get(dialect.name) or self.sql(dialect)
        return connection.exec_driver_sql(text, rows)

    def sql(self, dialect: Dialect) -> str:
        """Return its text as the dialect's driver takes it."""
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = self._compile(dialect)
        return compiled

    def _compile(self, dialect: Dialect) -> str:
        own: Callable[..., Dialect] = type(dialect)
        compiled = self.statement.compile(
            dialect=own(paramstyle=_PLACEHOLDERS[dialect.name]),
            column_keys=list(self.names),
        )
        assert isinstance(compiled, SQLCompiler)
        order = tuple(compiled.positiontup or ())
        assert order == self.names, f"{order} must be {self.names}"
        return str(compiled)


def insert_rows(table: Table) -> PreparedStatement:
    """Return the statement that inserts rows."""
    return PreparedStatement(Insert(table).inline(), _columns(table))


def insert_new(table: Table) -> PreparedStatement:
    """Return the statement that inserts rows unless they exist."""
    return PreparedStatement(_InsertNew(table).inline(), _columns(table))


def insert_or_replace(table: Table) -> PreparedStatement:
    """Return the statement that inserts rows, or replaces those that exist."""
    return PreparedStatement(_InsertOrReplace(table).inline(), _columns(table))


def sqlite_text(prepared: PreparedStatement) -> str:
    """Return a statement for a connection of ``sqlite``, which knows nothing of SQLAlchemy."""
    return prepared.sql(sqlite.dialect())


def _columns(table: Table) -> list[str]:
    """Return the columns, in their order, but for an autoincremented one."""
    counted = table.autoincrement_column
    return [column.name for column in table.columns if column is not counted]
