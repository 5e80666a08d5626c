"""Have another process suspend and resume the CUDA state of a replica, with a deadline.

``cuda_checkpoint`` says what is done; here is the platform's end of it. The process lives as long
as the suspension: what it loaded is then warm for the restore, and when the platform dies, the end
of its input ends it.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coldspark.node import processes
from coldspark.node.gpu import cuda_checkpoint
from coldspark.node.gpu.cuda_checkpoint import LIBRARY, LOCK_TIMEOUT_MS, CheckpointUnavailable

_OPEN_WITHIN_S = 30.0
"""cuInit takes seconds where no process keeps the driver awake (no persistence mode)."""
_END_WITHIN_S = 2.0
WITHIN_S = 120.0
"""A bound for one suspension or resumption, not an expectation."""


class SuspensionFailed(Exception):
    """The driver did not do it; ``is_running`` says whether the processes go on as before."""

    def __init__(self, message: str, *, is_running: bool) -> None:
        super().__init__(message)
        self.is_running = is_running


class Suspension:
    """The CUDA state of some processes, and the process that can move it."""

    def __init__(self, process: Process, within_s: float) -> None:
        self._process = process
        self._within_s = within_s
        self._pids: list[int] = []

    @property
    def pid(self) -> int:
        """Return the id of the process that makes the calls."""
        return self._process.pid

    async def suspend(self, pids: Sequence[int]) -> None:
        """Move device memory to the host, of all processes or of none. Raises SuspensionFailed."""
        self._pids = list(pids)
        await self._ask("suspend")

    async def resume(self) -> None:
        """Move it back. Raises SuspensionFailed."""
        await self._ask("resume")

    def close(self) -> None:
        """End the process. What is suspended stays so for good. Idempotent."""
        if self._process.returncode is None:
            self._process.kill()

    async def ended(self) -> None:
        """End the process, and wait until it is gone, a moment at most."""
        await _end(self._process)

    async def _ask(self, what: str) -> None:
        assert self._process.stdin is not None
        question = {"do": what, "pids": self._pids, "lock_timeout_ms": LOCK_TIMEOUT_MS}
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        words = await _answer(self._process, self._within_s)
        if words is None:
            self.close()
            message = f"the CUDA driver did not {what} it within {self._within_s:g} s"
            raise SuspensionFailed(message, is_running=False)
        if words["trouble"] is not None:
            raise SuspensionFailed(str(words["trouble"]), is_running=bool(words["running"]))


async def open_suspension(library: str = LIBRARY, within_s: float = WITHIN_S) -> Suspension:
    """Start the process that makes the calls. Raises Unavailable."""
    process = await asyncio.create_subprocess_exec(
        *argv(library),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        # It must see every device, so nothing of CUDA_VISIBLE_DEVICES goes along.
        env=processes.clean_environment(),
    )
    try:
        words = await _answer(process, min(_OPEN_WITHIN_S, within_s))
    except asyncio.CancelledError:
        process.kill()
        raise
    if words is None or words["trouble"] is not None:
        await _end(process)
        raise CheckpointUnavailable(
            "the CUDA driver does not answer" if words is None else words["trouble"]
        )
    return Suspension(process, within_s)


def examine(library: str = LIBRARY, within_s: float = _OPEN_WITHIN_S) -> int:
    """Return the CUDA version that can do it, as 12080 for 12.8. Raises Unavailable. Blocks."""
    try:
        ended = subprocess.run(
            argv(library),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=processes.clean_environment(),
            timeout=within_s,
            check=False,
        )
        words = json.loads(ended.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise CheckpointUnavailable("the CUDA driver does not answer") from None
    if words["trouble"] is not None:
        raise CheckpointUnavailable(words["trouble"])
    return int(words["version"])


def argv(library: str) -> list[str]:
    """Return the words that start it: isolated, without site packages, it is up at once."""
    return [sys.executable, "-I", "-S", str(Path(cuda_checkpoint.__file__)), library]


async def _end(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    # One that hangs in the driver may not die of it.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_WITHIN_S):
            await process.wait()


async def _answer(process: Process, within_s: float) -> dict[str, Any] | None:
    """Return one line's words, or None when none came in time or at all."""
    assert process.stdout is not None
    try:
        async with asyncio.timeout(within_s):
            line = await process.stdout.readline()
        words: dict[str, Any] = json.loads(line)
    except (TimeoutError, ValueError):
        return None
    return words
