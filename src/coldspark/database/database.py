"""The database: one SQLite file, one connection, and one thread that alone uses it.

A single writer in a process needs no locks, and several processes take turns (see ``sqlite``); the
event loop never waits for a disk. WAL with ``synchronous=NORMAL`` survives kill -9 of this process
at any point; a power cut may take the last transactions with it, unless the database is opened
with ``fsync=True``.
"""

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from coldspark.database import migrate, sqlite

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """A connection and its thread. Every function given to ``run`` is one transaction."""

    def __init__(
        self, engine: Engine, worker: ThreadPoolExecutor, is_synced: bool, file: Path | None
    ) -> None:
        self._engine = engine
        self._worker = worker
        self.file = file
        """Where another process finds it, if it is an SQLite file."""
        self.is_synced = is_synced
        """Whether a commit waits for the disk (survives a power cut)."""

    @classmethod
    def open(cls, path: Path, *, fsync: bool = False) -> "Database":
        """Open or create the database at ``path`` and bring it to this code's version.

        Raises Conflict when a newer coldspark made it.
        """
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="coldspark-database")
        try:
            engine = worker.submit(_open, path, fsync).result()
        except BaseException:
            worker.shutdown()
            raise
        return cls(engine, worker, fsync, path.absolute())

    async def run(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``work(connection, …)`` on the database's thread, as one transaction.

        A caller who is cancelled does not stop the work: it commits or fails as a whole.
        """

        def transact() -> T:
            with self._engine.begin() as connection:
                return work(connection, *args, **kwargs)

        return await asyncio.wrap_future(self._worker.submit(transact))

    async def run_outside_transaction(
        self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``work(…)`` on the database's thread, outside of any transaction.

        Nothing else is done meanwhile: another process may write, and meets nobody.
        """
        return await asyncio.wrap_future(self._worker.submit(work, *args, **kwargs))

    async def sync(self) -> None:
        """Make all that was committed survive a power cut as well."""
        if self.file is not None and not self.is_synced:
            log = self.file.with_name(self.file.name + "-wal")
            await self.run_outside_transaction(_sync, log)

    def close(self) -> None:
        """Finish what is queued, then close the file."""
        self._worker.submit(self._engine.dispose).result()
        self._worker.shutdown()


def _open(path: Path, fsync: bool) -> Engine:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _exclusive_open(path):
        # SQLite gives its -wal and -shm files the mode of the database itself.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
        engine = _engine(path, fsync)
        try:
            with engine.begin() as connection:
                migrate.upgrade(connection)
        except BaseException:
            engine.dispose()
            raise
    return engine


def _sync(log: Path) -> None:
    """Sync the write-ahead log. SQLite locks other files, so closing this one releases none."""
    try:
        fd = os.open(log, os.O_RDONLY)
    except FileNotFoundError:
        return  # It was folded into the database, and that was synced.
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _exclusive_open(path: Path) -> Iterator[None]:
    """Have one process at a time open the file: switching to WAL does not wait for its turn."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _engine(path: Path, fsync: bool) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), poolclass=StaticPool)

    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite.Connection)
        sqlite.configure(connection, is_synced=fsync)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite.Connection)
        sqlite.begin(driver)

    return engine
