"""Captured lines on the local disk until their store has them: ``kill -9`` takes none along.

Each file becomes one object. Its first line is the object's URL, the others are the object. It is
written to until it is cut, then sent, then removed. Whoever is killed between sending and removing
sends it again, the same bytes to the same URL, so no line is there twice.

One thread does all the writing, in the order in which lines come, a few milliseconds after them;
nobody waits for it.
"""

import asyncio
import logging
import os
import uuid
from asyncio import wrap_future
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from coldspark.platform.capture.records import (
    CaptureCounts,
    CapturedRequest,
    CaptureFormat,
    file_name,
)

_log = logging.getLogger(__name__)
_AT_ONCE = 64
_GATHER_S = 0.005
_SUFFIX = ".jsonl"
_URL_BYTES_MAX = 8 * 1024


@dataclass(slots=True, eq=False)
class SpoolFile:
    """The lines of one hour of one variant, on their way."""

    path: Path
    url: str
    counted: CaptureCounts | None
    """None: an earlier run captured them."""
    lines: int = 0
    held_bytes: int = 0
    """What they count for while they are held."""
    tries: int = 0

    def body(self) -> bytes:
        """Return the whole lines, without one that was cut off. Blocks. Raises OSError."""
        lines = self.path.read_bytes().partition(b"\n")[2]
        return lines[: lines.rfind(b"\n") + 1]


@dataclass(frozen=True, slots=True)
class LostLines:
    """Lines that the disk refused."""

    counted: CaptureCounts
    lines: int
    held_bytes: int


class CaptureSpool:
    """The files of one process."""

    def __init__(
        self, directory: Path, format: CaptureFormat, *, adopts_from: Path | None = None
    ) -> None:
        """``adopts_from``: where directories lie whose files are taken over at the start."""
        self.format = format
        self._directory = directory
        self._adopts_from = adopts_from
        self._new: deque[tuple[CapturedRequest, CaptureCounts, int]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._open: dict[tuple[str, int], SpoolFile] = {}
        """Those that are written to, by folder and counts; used by the thread alone, as below."""
        self._sizes: dict[Path, int] = {}
        self._lost: list[LostLines] = []
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="coldspark-captures")

    def add(self, captured: CapturedRequest, counted: CaptureCounts, held_bytes: int) -> None:
        """Take what is to be written; never blocks."""
        self._new.append((captured, counted, held_bytes))
        if self._timer is None:
            # Waking a thread takes longer than writing a line.
            self._timer = asyncio.get_running_loop().call_later(_GATHER_S, self._ask)

    def _ask(self) -> None:
        self._timer = None
        self._worker.submit(self._write_new)

    async def recover(self) -> list[SpoolFile]:
        """Return what an earlier run left."""
        return await wrap_future(self._worker.submit(self._found))

    async def cut(self) -> tuple[list[SpoolFile], list[LostLines]]:
        """Return the files with all that was taken so far, to be sent, and what got lost."""
        return await wrap_future(self._worker.submit(self._cut))

    async def remove(self, file: SpoolFile) -> None:
        """Forget a file that was sent, or is given up."""
        await wrap_future(self._worker.submit(file.path.unlink, missing_ok=True))

    async def close(self) -> None:
        """Write what was taken, and stop."""
        if self._timer is not None:
            self._timer.cancel()
        await wrap_future(self._worker.submit(self._write_new))
        self._worker.shutdown(wait=False)

    def _write_new(self) -> None:
        while self._new:
            batch: dict[tuple[str, int], list[tuple[CapturedRequest, CaptureCounts, int]]] = {}
            for _ in range(min(_AT_ONCE, len(self._new))):
                one = self._new.popleft()
                batch.setdefault((one[0].folder, id(one[1])), []).append(one)
            for key, taken in batch.items():
                self._append(key, taken)

    def _append(
        self, key: tuple[str, int], taken: Sequence[tuple[CapturedRequest, CaptureCounts, int]]
    ) -> None:
        counted, held_bytes = taken[0][1], sum(size for _, _, size in taken)
        file = self._open.get(key)
        data = b"".join(self.format.encode(captured) for captured, _, _ in taken)
        if file is None:
            unique = str(uuid.uuid4())
            url = f"{key[0]}/{file_name(taken[0][0].at_ms, unique)}"
            file = SpoolFile(self._directory / f"{unique}{_SUFFIX}", url, counted)
            data = url.encode() + b"\n" + data
        size_bytes = self._sizes.get(file.path, 0)
        try:
            _write(file.path, size_bytes, data)
        except OSError as error:
            _log.warning("%d captured lines are lost: %s", len(taken), error)
            self._lost.append(LostLines(counted, len(taken), held_bytes))
            return
        self._open[key] = file
        self._sizes[file.path] = size_bytes + len(data)
        file.lines += len(taken)
        file.held_bytes += held_bytes

    def _cut(self) -> tuple[list[SpoolFile], list[LostLines]]:
        self._write_new()
        files, lost = list(self._open.values()), self._lost
        self._open, self._sizes, self._lost = {}, {}, []
        return files, lost

    def _found(self) -> list[SpoolFile]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._adopts_from is not None:
            for path in sorted(self._adopts_from.glob(f"*/*{_SUFFIX}")):
                path.rename(self._directory / path.name)
        found = [_read(path) for path in sorted(self._directory.glob(f"*{_SUFFIX}"))]
        return [file for file in found if file is not None]


def _write(path: Path, size_bytes: int, data: bytes) -> None:
    """Append to a file of so many bytes; what is there only in part is taken back."""
    # Path.open would take twice as long.
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
    except OSError:
        os.ftruncate(file, size_bytes)
        raise
    finally:
        os.close(file)


def _read(path: Path) -> SpoolFile | None:
    """Return a file that was left; one without a whole URL has no line, and goes."""
    with path.open("rb") as file:
        url = file.readline(_URL_BYTES_MAX)
    if not url.endswith(b"\n"):
        path.unlink()
        return None
    size_bytes = path.stat().st_size
    return SpoolFile(path, url.decode().rstrip("\n"), None, held_bytes=size_bytes)
