"""Several processes write to one database in turn."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Connection

from coldspark.database import sqlite
from coldspark.database.database import Database

WRITES = """
import asyncio, sys
from pathlib import Path
from coldspark.database.database import Database

def put(connection, writer, number):
    connection.exec_driver_sql(
        "INSERT INTO marks (name, place) VALUES (?, ?)", (f"{writer}-{number}", number)
    )

async def main(path, writer):
    database = Database.open(path)
    for number in range(300):
        await database.run(put, writer, number)
    database.close()

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def opened(path: Path) -> sqlite3.Connection:
    """Return a connection that takes turns."""
    return sqlite.connect(str(path), is_synced=False)


@pytest.mark.process
def test_processes_that_write_all_the_time_all_come_to_their_turn(tmp_path: Path) -> None:
    """None is told that the database is locked, and every row is there."""
    path = tmp_path / "coldspark.db"
    argv = [sys.executable, "-c", WRITES, str(path)]
    writers = [subprocess.Popen([*argv, str(writer)]) for writer in range(3)]
    assert [writer.wait(60) for writer in writers] == [0] * 3

    def count(connection: Connection) -> int:
        found = connection.exec_driver_sql("SELECT count(*) FROM marks").scalar()
        assert isinstance(found, int)
        return found

    database = Database.open(path)
    assert asyncio.run(database.run(count)) == 3 * 300
    database.close()


def test_a_turn_that_does_not_come_is_reported(tmp_path: Path) -> None:
    """Patience is bounded; afterwards the connection is as good as before."""
    first, second = opened(tmp_path / "db"), opened(tmp_path / "db")
    sqlite.begin(first)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite.begin(second, patience_ms=30)
    first.execute("COMMIT")
    sqlite.begin(second, patience_ms=30)
    second.execute("COMMIT")


def test_what_is_no_matter_of_turns_is_reported_at_once(tmp_path: Path) -> None:
    """Waiting would not help."""
    connection = opened(tmp_path / "db")
    sqlite.begin(connection)
    with pytest.raises(sqlite3.OperationalError, match="within a transaction"):
        sqlite.begin(connection)
