"""The process that absorbs a busy ledger: who kills whom, and nothing is lost or doubled."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import ledger_lines
import pytest
from ledger_lines import holding, usage
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from coldspark.billing import ingester
from coldspark.billing.ingest_process import IngestProcess
from coldspark.billing.ledger import LedgerStore
from coldspark.database.database import Database

pytestmark = pytest.mark.process

LINES = 20


class Recorder:
    """A ledger that asks the process for every line, and what was recorded in it."""

    def __init__(self, ledger: LedgerStore, database: Database) -> None:
        self.ledger = ledger
        self.database = database
        self.count = 0

    def record(self, lines: int = LINES) -> None:
        """Record so many usages, and as many holdings."""
        for number in range(self.count, self.count + lines):
            self.ledger.record(usage(number))
            self.ledger.hold([holding(number)])
        self.count += lines

    async def absorb(self) -> None:
        """Record some lines and absorb them; check that all so far are there, once."""
        self.record()
        await self.ledger.ingest()
        assert await self.database.run(counted) == (self.count, self.count)

    async def started(self) -> int:
        """Absorb until a process did it; return its id."""
        await self.absorb()
        pid = self.ledger.ingest_pid
        assert pid is not None
        await self.absorb()
        assert self.ledger.ingest_pid == pid
        return pid


def counted(connection: Connection) -> tuple[int, int]:
    """Return how many usages and holdings there are."""
    counts = [
        len(connection.execute(text(select)).all())
        for select in ("SELECT boot FROM usages", "SELECT boot FROM holdings")
    ]
    return (counts[0], counts[1])


def changes(connection: Connection) -> int:
    """Return how many rows the server's own connection has changed."""
    driver = connection.connection.driver_connection
    assert driver is not None
    total: int = driver.total_changes
    return total


def exists(pid: int | None) -> bool:
    """Return whether there is such a process, or what a parent left of it."""
    return pid is not None and Path(f"/proc/{pid}").exists()


def play(
    root: Path,
    act: Callable[[Recorder], Awaitable[None]],
    *,
    busy_bytes: int = 0,
    idle_s: float = 3_600.0,
    absorb_every_s: float = 3_600.0,
) -> None:
    """Open a ledger, act, and close it: then no process is left."""

    async def run() -> None:
        database = Database.open(root / "ledger.db")
        ledger = LedgerStore(
            root / "journal",
            database,
            boot=1,
            wall_ms=lambda: 9,
            absorb_every_s=absorb_every_s,
            busy_bytes=busy_bytes,
            absorber_idle_s=idle_s,
        )
        await ledger.open()
        recorder = Recorder(ledger, database)
        try:
            await act(recorder)
        finally:
            pid = ledger.ingest_pid
            await ledger.close()
            assert await database.run(counted) == (recorder.count, recorder.count)
            database.close()
        assert ledger.ingest_pid is None
        assert not exists(pid)

    asyncio.run(run())


def ended(pid: int) -> None:
    """Wait until a process has ended, be it a zombie."""
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([watch], [], [], 30)[0], "it lives on"
    finally:
        os.close(watch)


def kill(pid: int) -> None:
    """Kill -9, and wait for the end."""
    os.kill(pid, signal.SIGKILL)
    ended(pid)


def test_a_busy_ledger_is_absorbed_by_another_process(tmp_path: Path) -> None:
    """The server's own threads insert nothing once it runs."""

    async def act(recorder: Recorder) -> None:
        pid = await recorder.started()
        assert pid != os.getpid()

        before = await recorder.database.run(changes)
        await recorder.absorb()
        assert await recorder.database.run(changes) == before
        assert recorder.ledger.ingest_pid == pid
        assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)

    play(tmp_path, act)


def test_a_quiet_ledger_starts_no_process(tmp_path: Path) -> None:
    """Few lines are the thread's."""

    async def act(recorder: Recorder) -> None:
        await recorder.absorb()
        assert recorder.ledger.ingest_pid is None

    play(tmp_path, act, busy_bytes=ingester.BUSY_BYTES)


def test_a_process_killed_between_rounds_is_replaced(tmp_path: Path) -> None:
    """Its lines are the thread's in that round; a later one starts another."""

    async def act(recorder: Recorder) -> None:
        first = await recorder.started()
        kill(first)
        await recorder.absorb()
        assert recorder.ledger.ingest_pid is None
        await recorder.absorb()
        assert await recorder.started() != first

    play(tmp_path, act)


def test_a_process_killed_while_it_inserts_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """It is killed with a transaction open; the same call brings every line in."""

    async def act(recorder: Recorder) -> None:
        pid = await recorder.started()
        recorder.record(6_000)
        round = asyncio.ensure_future(recorder.ledger.ingest())
        await asyncio.to_thread(killed_while_it_reads, pid, round.done)
        await round
        assert recorder.ledger.ingest_pid is None
        await recorder.absorb()

    play(tmp_path, act)


def killed_while_it_reads(pid: int, is_over: Callable[[], bool]) -> None:
    """Kill -9 once it has a segment open, which it has until all its lines are inserted."""
    while not any(file.endswith(".journal") for file in open_files(pid)):
        assert not is_over(), "it was not seen at work"
    kill(pid)


def open_files(pid: int) -> list[str]:
    """Return the names of a process's open files."""
    names = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            names.append(str(link.readlink()))
        except FileNotFoundError:
            continue
    return names


def test_a_process_that_does_not_answer_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, it still has the lines from the thread, and writes nothing later."""
    monkeypatch.setattr(ingester, "IngestProcess", lambda: IngestProcess(answer_s=2.0))

    async def act(recorder: Recorder) -> None:
        pid = await recorder.started()
        os.kill(pid, signal.SIGSTOP)
        await recorder.absorb()
        assert not exists(pid)

    play(tmp_path, act)


def test_an_idle_process_is_ended(tmp_path: Path) -> None:
    """Nothing is left of it, and the next busy round has another."""

    async def act(recorder: Recorder) -> None:
        recorder.record()
        await recorder.ledger.ingest()
        pid = recorder.ledger.ingest_pid
        assert pid is not None
        # The ledger's own rounds end it: lines are not needed for that.
        await asyncio.to_thread(ended, pid)
        recorder.record()
        await recorder.ledger.ingest()
        assert recorder.ledger.ingest_pid != pid

    play(tmp_path, act, idle_s=0.5, absorb_every_s=0.01)


def test_a_database_that_refuses_is_told_as_by_the_thread(tmp_path: Path) -> None:
    """Lines wait in the journal until it takes them."""

    def rename(connection: Connection, old: str, new: str) -> None:
        connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    async def act(recorder: Recorder) -> None:
        await recorder.started()
        await recorder.database.run(rename, "usages", "away")
        recorder.record()
        with pytest.raises(OperationalError):
            await recorder.ledger.ingest()
        await recorder.database.run(rename, "away", "usages")
        await recorder.absorb()

    play(tmp_path, act)


SERVES = """
import asyncio, sys
from pathlib import Path
from ledger_lines import usage
from coldspark.database.database import Database
from coldspark.billing.ledger import LedgerStore

async def main(root):
    database = Database.open(root / "ledger.db")
    ledger = LedgerStore(root / "journal", database, boot=1, wall_ms=lambda: 1, busy_bytes=0)
    await ledger.open()
    for number in range(2):
        ledger.record(usage(number))
        await ledger.ingest()
    print(ledger.ingest_pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("is_stopped", [False, True], ids=["waiting", "stopped"])
def test_it_ends_with_a_server_that_is_killed(tmp_path: Path, is_stopped: bool) -> None:
    """Kill -9 of the server ends it, also when it cannot notice by itself."""
    argv = [sys.executable, "-c", SERVES, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(ledger_lines.__file__).parent)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        if is_stopped:
            os.kill(pid, signal.SIGSTOP)
        server.kill()
        ended(pid)
