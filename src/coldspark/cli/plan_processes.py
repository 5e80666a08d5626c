"""A process for each core, for plans that take long.

They leave Ctrl-C to the process that started them, and end with it.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from types import TracebackType
from typing import Self

from coldspark.errors import InvalidRequest
from coldspark.sim.executor import Done, OnPiece, Piece, cancel_when


class ProcessPool:
    """Runs several pieces at once, reporting each when done. Use it as a context manager."""

    def __init__(self, count: int) -> None:
        """Start ``count`` processes with the first work."""
        context = multiprocessing.get_context("spawn")
        self._cancelled = context.Event()
        self._pool = ProcessPoolExecutor(
            count, mp_context=context, initializer=_begin, initargs=(self._cancelled,)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes; where it ends early, they cancel their work."""
        if kind is not None:
            self._cancelled.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, pieces: Sequence[Piece[Done]], on_piece: OnPiece) -> list[Done]:
        """Run the pieces in the processes."""
        futures: dict[Future[Done], str] = {self._pool.submit(work): name for name, work in pieces}
        try:
            for future in as_completed(futures):
                future.result()
                on_piece(futures[future])
        except BrokenProcessPool:
            raise InvalidRequest(
                "a process that worked on the plan was killed, by lack of memory most likely:"
                " plan a shorter trace"
            ) from None
        return [future.result() for future in futures]


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin(cancelled: Event) -> None:
    """Initialise a worker process."""
    cancel_when(cancelled.is_set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
