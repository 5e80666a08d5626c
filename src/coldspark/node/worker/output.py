"""Write out what the user's code printed, before anybody is told that it is done."""

from __future__ import annotations

import sys


def flush() -> None:
    """Flush both streams; one that is closed or gone has nothing left to write."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue


def print_error(text: str) -> None:
    """Print to standard error, which is the replica's log; the user's code may have closed it."""
    try:
        sys.stderr.write(text)
    except (OSError, ValueError, AttributeError):
        pass
