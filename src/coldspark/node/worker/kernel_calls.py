"""Read and write the small files that the kernel makes up, in as few calls as it takes.

``open`` asks seven times what kind of file it got; at each start and end there are dozens of them.
"""

from __future__ import annotations

import ctypes
import os

_READ_BYTES = 65_536


def read(path: str) -> bytes:
    """Return what a file holds. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, _READ_BYTES):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def write(path: str, data: bytes) -> None:
    """Write into a file that is there. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


_SET_PDEATHSIG = 1
_SET_CHILD_SUBREAPER = 36
_SET_NO_NEW_PRIVS = 38

# Looked up once, before any fork: a child must not load libraries to protect itself.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def _call(option: int, value: int) -> None:
    if _prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}, {value}): {os.strerror(number)}")


def set_parent_death_signal(signal_number: int) -> None:
    """Ask for a signal when the parent dies; 0 asks for none. A change of uid clears it."""
    _call(_SET_PDEATHSIG, signal_number)


def become_subreaper() -> None:
    """Adopt every descendant whose parent dies, so that none can slip away."""
    _call(_SET_CHILD_SUBREAPER, 1)


def forbid_new_privileges() -> None:
    """Make set-uid programs powerless for this process and all it starts."""
    _call(_SET_NO_NEW_PRIVS, 1)
