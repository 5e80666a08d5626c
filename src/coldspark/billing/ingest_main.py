"""Ingest the ledger in a process of its own: ``python -m coldspark.billing.ingest_main FD PARENT``.

It takes orders from the socket FD, one message each, and answers when the lines are committed. It
ends when the socket does, and with its parent even while it works. Killed at any point it leaves
a transaction that was not committed, or lines that inserting again does not change.
"""

import ctypes
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import msgspec

from coldspark.billing.journal import JournalPosition
from coldspark.billing.ledger_lines import Inserts, insert_segment_range
from coldspark.database import sqlite

ORDER_BYTES_MAX = 64 * 1024
_SET_PDEATHSIG = 1
_NICER = 5


class IngestOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An interval of the journal, and its database. Each order stands for itself."""

    database: str
    is_synced: bool
    """Whether a commit waits for the disk."""
    insert_usages: str
    """The SQL that inserts a row unless it exists."""
    insert_holdings: str
    directory: str
    boot: int
    segment: int
    offset: int
    end: int
    """Offset to stop at."""


def _main(fd: int, parent: int) -> None:
    _end_with(parent)
    # The serving process has priority.
    os.nice(_NICER)
    with socket.socket(fileno=fd) as channel:
        _serve(channel)


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        # It was gone before the line above.
        raise SystemExit(0)


def _serve(channel: socket.socket) -> None:
    connection: sqlite.Connection | None = None
    while message := channel.recv(ORDER_BYTES_MAX):
        order = msgspec.json.decode(message, type=IngestOrder)
        connection = connection or sqlite.connect(order.database, is_synced=order.is_synced)
        channel.send(_carry_out(connection, order))


def _carry_out(connection: sqlite.Connection, order: IngestOrder) -> bytes:
    inserts = Inserts(
        usages=partial(connection.executemany, order.insert_usages),
        holdings=partial(connection.executemany, order.insert_holdings),
    )
    sqlite.begin(connection)
    start = JournalPosition(order.boot, order.segment, order.offset)
    result = insert_segment_range(inserts, Path(order.directory), start, order.end)
    sqlite.commit(connection)
    return msgspec.json.encode(result)


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
