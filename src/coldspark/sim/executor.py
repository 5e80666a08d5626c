"""Who does the work of a plan: this process alone, or whoever else is given pieces of it.

The same work comes to the same, whoever does it, as each piece carries its own seed.
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
    """The work is not wanted any more."""


class WorkExecutor(Protocol):
    """Does pieces of work."""

    def run(self, pieces: Sequence[Piece[Done]], hear: OnPiece) -> list[Done]:
        """Return what comes of the pieces, in their order; ``hear`` is told of each, may raise."""
        ...


class SerialExecutor:
    """One piece after the other; each is told of before it begins."""

    def run(self, pieces: Sequence[Piece[Done]], hear: OnPiece) -> list[Done]:
        """Do the pieces here."""
        done = []
        for name, work in pieces:
            hear(name)
            done.append(work())
        return done


def cancel_when(is_called_off: Callable[[], bool]) -> None:
    """Let this process's work end when it is not wanted any more."""
    global _is_called_off
    _is_called_off = is_called_off


def raise_if_cancelled(done: int, total: int) -> None:
    """Give up when the work is called off: what a long piece of it calls now and then."""
    if _is_called_off is not None and _is_called_off():
        raise WorkCancelled(f"at {done} of {total}")
