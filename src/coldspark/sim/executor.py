"""Executors of a plan's work: this process alone, or others that are given pieces of it.

The same work gives the same result in each, as each piece carries its own seed.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

Done = TypeVar("Done")
Piece = tuple[str, Callable[[], Done]]
"""A piece of work with its name; what a crew of several does must be picklable."""
OnPiece = Callable[[str], None]

_is_called_off: Callable[[], bool] | None = None
"""What this process asks whether its work is still wanted."""


class WorkCancelled(Exception):
    """The work was cancelled."""


class WorkExecutor(Protocol):
    """Runs pieces of work."""

    def run(self, pieces: Sequence[Piece[Done]], on_piece: OnPiece) -> list[Done]:
        """Return the results in order; ``on_piece`` is called with each piece, and may raise."""
        ...


class SerialExecutor:
    """Runs one piece after the other; ``on_piece`` is called before each."""

    def run(self, pieces: Sequence[Piece[Done]], on_piece: OnPiece) -> list[Done]:
        """Run the pieces in this process."""
        done = []
        for name, work in pieces:
            on_piece(name)
            done.append(work())
        return done


def cancel_when(is_called_off: Callable[[], bool]) -> None:
    """Set what tells whether this process's work is cancelled."""
    global _is_called_off
    _is_called_off = is_called_off


def raise_if_cancelled(done: int, total: int) -> None:
    """Raise WorkCancelled when the work is cancelled; long pieces call it now and then."""
    if _is_called_off is not None and _is_called_off():
        raise WorkCancelled(f"at {done} of {total}")
