"""SQLite's alone: the settings of a connection, and the turns of the processes that write.

The standard library's driver is used here and nowhere else, and nothing here needs SQLAlchemy: the
process that ingests a busy ledger starts without it.

SQLite's own busy handler sleeps up to 100 ms between two attempts, so among processes that write
all the time one may wait for seconds while the others go on. Trying every few milliseconds is
fairer: of four that wrote at full speed on two cores, the longest wait fell from 1.7 to 0.1 s.
"""

import sqlite3
from typing import TypeAlias

Connection: TypeAlias = sqlite3.Connection

_BUSY_MS = 5_000
"""How long switching to WAL may wait for another process."""
_POLL_MS = 10
"""One call of SQLite's looks after 0, 1, 3 and 8 ms, and then gives up."""
PATIENCE_MS = 30_000


def connect(file: str, *, is_synced: bool) -> Connection:
    """Open a database that is there."""
    connection = sqlite3.connect(file)
    configure(connection, is_synced=is_synced)
    return connection


def configure(connection: Connection, *, is_synced: bool) -> None:
    """Make a new connection one that survives kill -9 and takes turns.

    WAL with ``synchronous=NORMAL`` loses at most the last transactions in a power cut, and none
    where each commit is synced.
    """
    # Python's own transaction handling would commit before each CREATE TABLE, and half a
    # migration would stay. Without it, BEGIN is ours.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={'FULL' if is_synced else 'NORMAL'}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA busy_timeout={_POLL_MS}")


def begin(connection: Connection, patience_ms: int = PATIENCE_MS) -> None:
    """Begin a transaction that writes, once no other process does.

    Raises sqlite3.OperationalError, among others when that takes longer than the patience.
    """
    for attempt in range(max(1, patience_ms // _POLL_MS)):
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or (attempt + 1) * _POLL_MS >= patience_ms:
                raise


def commit(connection: Connection) -> None:
    """End the transaction."""
    connection.execute("COMMIT")
