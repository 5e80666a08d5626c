"""A long body that must be here before it is known who sent it: on disk, not in memory.

The signature of most clients covers the body's hash but does not name it. Nothing that is not
proved may reach a replica, or wake one, so the body waits in a file that has no name; it is hashed
and written in a thread, and its caller is read no faster than that.
"""

import asyncio
import tempfile
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

from coldspark.errors import ColdsparkError, StorageFull
from coldspark.platform.body_stream import HELD_BYTES_MAX, BodyStream

if TYPE_CHECKING:
    from coldspark.http.connection import Connection

_PIECE_BYTES = 256 * 1024
BYTES_MAX = 4 * 1024**3
"""Of all bodies that wait at once."""


class SpoolQuota:
    """Where bodies wait, and how much of them there is."""

    def __init__(self, directory: Path | None = None, bytes_max: int = BYTES_MAX) -> None:
        """``directory`` should be on a disk; None: the system's own for temporary files."""
        self.directory = directory
        self._bytes_max = bytes_max
        self.used_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Count bytes that come in. Raises StorageFull."""
        if self.used_bytes + size_bytes > self._bytes_max:
            raise StorageFull(
                f"signed bodies that wait for their signature's proof hold {self.used_bytes} "
                f"bytes on disk, of at most {self._bytes_max}: send this one later, or with an "
                "x-amz-content-sha256 header or a bearer key, which need no waiting"
            )
        self.used_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Count bytes that are gone."""
        self.used_bytes -= size_bytes


class BodySpool:
    """One body: written first, then read. One thing at a time is done to its file."""

    def __init__(
        self,
        connection: "Connection",
        quota: SpoolQuota,
        on_error: Callable[[ColdsparkError], None],
    ) -> None:
        self._connection = connection
        self._quota = quota
        self._on_error = on_error
        self._file: IO[bytes] | None = None
        self._hash = sha256()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._is_working = False
        self._is_closed = False
        self._on_whole: Callable[[str], None] | None = None
        self._left_bytes = 0
        """Of the body, not yet read back."""
        self.size_bytes = 0
        self._stream: BodyStream | None = None

    def feed(self, data: bytes) -> None:
        """Take a piece. Raises StorageFull."""
        self._quota.take(len(data))
        self.size_bytes += len(data)
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= HELD_BYTES_MAX:
            self._connection.pause_body()
        self._go_on()

    def end(self, on_whole: Callable[[str], None]) -> None:
        """Call ``on_whole`` with the body's SHA-256 in hex, once all of it is on disk."""
        self._on_whole = on_whole
        self._go_on()

    def stream(self) -> BodyStream:
        """Return the body from its beginning, once it is whole."""
        self._left_bytes = self.size_bytes
        self._stream = BodyStream(self.size_bytes, self.size_bytes, self._go_on)
        self._go_on()
        return self._stream

    def close(self) -> None:
        """Discard it. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._quota.give_back(self.size_bytes)
            self._connection.resume_body()
            self._go_on()

    def _go_on(self) -> None:
        """Begin the next thing to do, if there is one and none is being done."""
        if self._is_working:
            return
        if self._is_closed:
            if self._file is not None:
                self._file.close()  # It has no name: the kernel frees it.
        elif self._pending:
            pieces, self._pending, self._pending_bytes = self._pending, [], 0
            self._work(partial(self._write, pieces), self._wrote)
        elif self._on_whole is not None:
            on_whole, self._on_whole = self._on_whole, None
            on_whole(self._hash.hexdigest())
        elif self._stream is not None and self._left_bytes and not self._stream.is_full:
            at = self.size_bytes - self._left_bytes
            self._work(partial(self._read, at), self._was_read)

    def _work(self, work: Callable[[], bytes], done: Callable[[bytes], None]) -> None:
        self._is_working = True
        future = asyncio.get_running_loop().run_in_executor(None, work)
        future.add_done_callback(partial(self._worked, done))

    def _worked(self, done: Callable[[bytes], None], future: "asyncio.Future[bytes]") -> None:
        self._is_working = False
        if self._is_closed or future.cancelled():
            self._go_on()
        elif (error := future.exception()) is None:
            done(future.result())
            self._go_on()
        else:
            self._on_error(StorageFull(f"the body could not be kept until its end: {error}"))

    def _write(self, pieces: list[bytes]) -> bytes:
        if self._file is None:
            directory = self._quota.directory
            self._file = tempfile.TemporaryFile(buffering=0, dir=directory)  # noqa: SIM115  outlives this
        for piece in pieces:
            self._hash.update(piece)
            left = memoryview(piece)
            while left:
                left = left[self._file.write(left) :]
        return b""

    def _wrote(self, _: bytes) -> None:
        if self._pending_bytes < HELD_BYTES_MAX:
            self._connection.resume_body()

    def _read(self, at: int) -> bytes:
        assert self._file is not None
        self._file.seek(at)
        return self._file.read(_PIECE_BYTES)

    def _was_read(self, piece: bytes) -> None:
        assert self._stream is not None
        if not piece:
            self._on_error(StorageFull("the file of the body is shorter than it was"))
            return
        self._left_bytes -= len(piece)
        self._stream.feed(piece)
        if not self._left_bytes:
            self._stream.end()
