"""Start, command and end the process that ingests a busy ledger.

Under load the serving process must not spend its time on the database. While the other process
works, the database's thread waits for it: so there is one writer at a time, as ever.
"""

import logging
import os
import socket
import subprocess
import sys
from contextlib import suppress

import msgspec

from coldspark.billing.ingest_main import ORDER_BYTES_MAX, IngestOrder
from coldspark.billing.ledger_lines import IngestResult

_log = logging.getLogger(__name__)

ANSWER_S = 15.0
"""How long an order may take: a segment takes a tenth of a second where there is a core."""
_END_S = 2.0
_PAUSE_MAX = 64


class IngestProcess:
    """The process, when there is one. All calls but ``pid`` are made on the database's thread.

    That thread starts it, and the kernel ends it with that thread.
    """

    def __init__(self, answer_s: float = ANSWER_S) -> None:
        self._answer_s = answer_s
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._pause = 0
        """Orders to decline before another start; it doubles with each failure in a row."""
        self._declined = 0

    @property
    def pid(self) -> int | None:
        """Return the process's id while there is one."""
        return None if self._process is None else self._process.pid

    def run_order(self, order: IngestOrder) -> IngestResult | None:
        """Have an order carried out; None: this process cannot, this time.

        The first order only starts it, so that nobody waits until it has started.
        """
        if self._channel is None:
            self._start_unless_paused()
            return None
        try:
            result = _send_order(self._channel, order)
        except (OSError, msgspec.MsgspecError) as error:
            self._fail(error)
            return None
        self._pause = 0
        return result

    def end(self) -> None:
        """End the process, if there is one."""
        process, channel = self._process, self._channel
        self._process = self._channel = None
        if channel is not None:
            channel.close()
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
            process.kill()
            process.wait()

    def _start_unless_paused(self) -> None:
        if self._declined < self._pause:
            self._declined += 1
            return
        self._declined = 0
        try:
            self._start()
        except OSError as error:
            self._fail(error)

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.settimeout(self._answer_s)
            self._channel = ours
            self._process = _spawn(theirs.fileno())
        _log.info("ledger: process %d absorbs while it is busy", self._process.pid)

    def _fail(self, error: Exception) -> None:
        if self._process is not None:
            # What does not answer may still work: nobody else may write before it is dead.
            self._process.kill()
        self.end()
        self._pause = min(_PAUSE_MAX, 2 * self._pause or 1)
        _log.warning("ledger: its process failed (%r); a thread absorbs meanwhile", error)


def _spawn(fd: int) -> subprocess.Popen[bytes]:
    program = [
        sys.executable,
        "-P",
        "-m",
        "coldspark.billing.ingest_main",
        str(fd),
        str(os.getpid()),
    ]
    return subprocess.Popen(
        program,
        pass_fds=[fd],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # Ctrl-C at a terminal is the server's affair, which ends this in its own time.
        start_new_session=True,
    )


def _send_order(channel: socket.socket, order: IngestOrder) -> IngestResult:
    channel.send(msgspec.json.encode(order))
    reply = channel.recv(ORDER_BYTES_MAX)
    if not reply:
        raise ConnectionResetError("it ended")
    return msgspec.json.decode(reply, type=IngestResult)
