"""Write ledger lines: at once, or those of one turn of the event loop together.

A line that the disk refuses stays in memory and is tried again with the next, so that they stay in
order. The caller stops accepting work meanwhile, which bounds the memory.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from coldspark.billing.journal import Journal, JournalPosition
from coldspark.errors import ColdsparkError

_log = logging.getLogger(__name__)

_WAITING_LINES_MAX = 256
_WAITING_BYTES_MAX = 256 * 1024


class JournalWriter:
    """Write one journal's lines. All calls are made on the event loop's thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._waiting: list[bytes] = []
        """Lines that the present turn of the loop brought."""
        self._waiting_bytes = 0
        self._done: list[Callable[[], None]] = []
        """Whom to call at the end of this turn; while there are any, that end is scheduled."""
        self._refused: list[bytes] = []

    @property
    def is_writable(self) -> bool:
        """Whether the disk took every line."""
        return not self._refused

    @property
    def end(self) -> JournalPosition:
        """Return the end of what is written."""
        return self._journal.end

    def write(self, lines: Sequence[bytes]) -> None:
        """Write the lines that wait or were refused before, and these."""
        if self._waiting or self._refused:
            lines = [*self._refused, *self._waiting, *lines]
            self._waiting, self._waiting_bytes = [], 0
        if not lines:
            return
        try:
            self._journal.append(lines)
        except ColdsparkError as error:
            if not self._refused:
                _log.error("ledger: requests are refused until it can be written: %s", error)
            self._refused = list(lines)
        else:
            self._refused = []

    def write_then(self, line: bytes, done: Callable[[], None]) -> None:
        """Write the line in this turn of the loop, then call ``done``: never before returning."""
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        self._done.append(done)
        if len(self._done) == 1:
            self._loop.call_soon(self.flush)
        elif len(self._waiting) >= _WAITING_LINES_MAX or self._waiting_bytes >= _WAITING_BYTES_MAX:
            self.write(())

    def flush(self) -> None:
        """Write the lines that wait, and call their callbacks."""
        self.write(())
        called, self._done = self._done, []
        for done in called:
            try:
                done()
            except Exception:  # noqa: BLE001
                # One caller's failure must not keep the others' replies.
                _log.exception("ledger: what was to follow a line failed")

    def close(self) -> None:
        """Write the last lines, and close the journal's file: nothing may follow."""
        self.flush()
        if self._refused:
            _log.error("ledger: %d line(s) are lost, the disk is full", len(self._refused))
        self._journal.close()
