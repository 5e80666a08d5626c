"""The mark that everything of one replica carries: ``COLDSPARK_REPLICA=<id>`` in its environment.

/proc/PID/environ shows the environment a process was *executed* with, so a fork of the template
would show the template's. The template therefore reserves room for an id in its own environment,
and each fork writes its id there, in place: what it forks in turn carries the mark as well.
"""

from __future__ import annotations

import ctypes
import os
import sys

from . import kernel_calls

NAME = "COLDSPARK_REPLICA"
ID_BYTES_MAX = 64


def reserve() -> None:
    """Execute this process again with room for a mark, unless it has it already."""
    if len(os.environ.get(NAME, "")) >= ID_BYTES_MAX:
        return
    os.environ[NAME] = "-" * ID_BYTES_MAX
    safe_path = ["-P"] if getattr(sys.flags, "safe_path", False) else []
    command = [sys.executable, *safe_path, *sys.argv]
    os.execv(sys.executable, getattr(sys, "orig_argv", command))


class ProcessTag:
    """The reserved room, found before anybody changes the environment."""

    def __init__(self) -> None:
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_void_p
        reserved = len(os.environ.get(NAME, "")) >= ID_BYTES_MAX
        self._address: int | None = getenv(NAME.encode()) if reserved else None
        os.environ.pop(NAME, None)

    def write(self, replica: str) -> None:
        """Write the id into this process's environment, as /proc and as its children see it."""
        if self._address is not None:
            ctypes.memmove(self._address, encode(replica).ljust(ID_BYTES_MAX, b"\0"), ID_BYTES_MAX)
        os.environ[NAME] = replica


def encode(replica: str) -> bytes:
    """Return the id's bytes. Raises ValueError when they do not fit."""
    data = replica.encode()
    if not 1 <= len(data) <= ID_BYTES_MAX:
        raise ValueError(f"replica id of {len(data)} bytes; 1 to {ID_BYTES_MAX} are allowed")
    return data


def has_tag(pid: int, replica: str) -> bool:
    """Say whether the process carries the replica's mark. A process out of reach does not."""
    try:
        environment = b"\0" + kernel_calls.read(f"/proc/{pid}/environ") + b"\0"
    except OSError:
        return False
    return b"\0" + NAME.encode() + b"=" + encode(replica) + b"\0" in environment
