"""Read a replica's stdout and stderr on the event loop, fairly.

A replica that prints without end slows itself down: its pipe is read once a wakeup, and after a
full read it rests for at least five times as long as the read took to handle. So one pipe costs the
loop at most a sixth of its time, however much is printed and however short the lines are.
"""

import asyncio
import os
from collections.abc import Callable

from coldspark import clock

READ_BYTES = 64 * 1024
PAUSE_MIN_S = 0.001
PAUSE_FACTOR = 5
_DRAIN_READS = 32


class LogPipe:
    """The reading end of one pipe; ``on_data`` takes the bytes, ``b""`` at the end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_data: Callable[[bytes], None]) -> None:
        self._loop = loop
        self._on_data = on_data
        self._pause: asyncio.TimerHandle | None = None
        read_end, self._write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(read_end, False)
        self._read_end: int | None = read_end
        loop.add_reader(read_end, self._readable)

    @property
    def write_end(self) -> int:
        """The descriptor for the child; ``close_write_end`` once the child has it."""
        return self._write_end

    def close_write_end(self) -> None:
        """Close this process's copy of the writing end. Idempotent."""
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1

    def drain(self) -> None:
        """Take what is in the pipe now (at most 2 MiB), then close it. Idempotent."""
        for _ in range(_DRAIN_READS):
            if not self._take():
                break
        self.close()

    def close(self) -> None:
        """Stop reading and close both ends. Idempotent."""
        self.close_write_end()
        if self._pause is not None:
            self._pause.cancel()
        if self._read_end is not None:
            self._loop.remove_reader(self._read_end)
            os.close(self._read_end)
            self._read_end = None
            self._on_data(b"")

    def _readable(self) -> None:
        started_s = clock.monotonic_s()
        if self._take() >= READ_BYTES and self._read_end is not None:
            spent_s = clock.monotonic_s() - started_s
            self._loop.remove_reader(self._read_end)
            pause_s = max(PAUSE_MIN_S, PAUSE_FACTOR * spent_s)
            self._pause = self._loop.call_later(pause_s, self._go_on)

    def _go_on(self) -> None:
        if self._read_end is not None:
            self._loop.add_reader(self._read_end, self._readable)

    def _take(self) -> int:
        """Read once; return how many bytes came. The end closes the pipe."""
        if self._read_end is None:
            return 0
        try:
            data = os.read(self._read_end, READ_BYTES)
        except BlockingIOError:
            return 0
        if data:
            self._on_data(data)
        else:
            self.close()
        return len(data)
