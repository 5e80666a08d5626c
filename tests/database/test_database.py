"""The database: its versions, its file, and who may open it when."""

import asyncio
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from coldspark.billing.usage import IdleUsage, Usage
from coldspark.database import schema
from coldspark.database.database import Database
from coldspark.spec.waterfall import STAGES


def test_the_migrations_make_the_tables_that_the_code_expects(tmp_path: Path) -> None:
    """Names, columns, keys and indexes: Alembic itself finds no difference."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    def differences(connection: Connection) -> list[object]:
        found: list[object] = compare_metadata(
            MigrationContext.configure(connection), schema.metadata
        )
        return found

    def columns(connection: Connection, table: str) -> list[str]:
        return [row.name for row in connection.execute(text(f"PRAGMA table_info({table})"))]

    database = Database.open(tmp_path / "coldspark.db")
    assert asyncio.run(database.run(differences)) == []
    for table in schema.metadata.tables.values():
        # Rows go in as tuples, so their order counts, too.
        assert asyncio.run(database.run(columns, table.name)) == list(table.columns.keys())
    database.close()


def test_a_ledger_table_has_the_records_fields_in_their_order() -> None:
    """Rows are made of a record's values as they stand in it."""
    usage = Usage.__struct_fields__
    assert schema.usages.columns.keys() == ["number", usage[0], "boot", *usage[1:-1], *STAGES]
    holding = [field.name for field in fields(IdleUsage)]
    assert schema.holdings.columns.keys() == ["boot", "segment", "position", *holding]


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    """The write-ahead log holds the same rows."""
    database = Database.open(tmp_path / "data" / "coldspark.db")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    assert "coldspark.db-wal" in modes
    assert set(modes.values()) == {0o600}
    database.close()


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Also the tables that it made."""

    def half(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (x INTEGER)"))
        connection.execute(text("INSERT INTO half VALUES (1)"))
        raise KeyError("half-way")

    def tables(connection: Connection) -> set[str]:
        rows = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))
        return {row.name for row in rows}

    database = Database.open(tmp_path / "coldspark.db")
    with pytest.raises(KeyError, match="half-way"):
        asyncio.run(database.run(half))
    assert asyncio.run(database.run(tables)) == {*schema.metadata.tables, "alembic_version"}
    database.close()


OPENS = """
import sys
from dataclasses import fields
from pathlib import Path
from coldspark.database.database import Database

sys.stdin.readline()
Database.open(Path(sys.argv[1])).close()
print("alembic" in sys.modules)
"""


@pytest.mark.process
def test_processes_that_open_a_new_database_at_once_all_succeed(tmp_path: Path) -> None:
    """One of them migrates; the others, and later ones, do not even load Alembic."""
    argv = [sys.executable, "-c", OPENS, str(tmp_path / "coldspark.db")]
    pipe = subprocess.PIPE
    racers = [subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.communicate()[0].strip() for racer in racers]
    assert sorted(said) == ["False", "False", "False", "True"]
    assert [racer.returncode for racer in racers] == [0] * 4
