"""Processes forked ahead: each has left the template, joined its cgroups, and waits for its order.

A standby is used once. Its order comes through a socket that only the template holds: when that
ends, so does the standby.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from . import output, remains, replica

_ALL_SIGNALS = signal.valid_signals()


@dataclass(frozen=True)
class _Standby:
    pid: int
    orders: socket.socket
    cgroups: Sequence[str]


class Standbys:
    """Those of one template, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, _Standby] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    @property
    def pids(self) -> frozenset[int]:
        """Return their processes."""
        return frozenset(standby.pid for standby in self._by_name.values())

    def fork(self, name: str, cgroups: Sequence[str], launch: replica.Launch) -> int:
        """Fork one; return its pid. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pid = forked(lambda: replica.stand_by(theirs, cgroups, launch))
        self._by_name[name] = _Standby(pid, ours, cgroups)
        return pid

    def send(
        self, name: str | None, message: dict[str, Any], descriptors: Sequence[int]
    ) -> int | None:
        """Make one a replica and return its pid, or None when there is none of that name.

        One that has just died is the replica all the same: its end is told as the replica's.
        """
        standby = self._by_name.pop(name or "", None)
        if standby is None:
            return None
        with standby.orders:
            try:
                socket.send_fds(standby.orders, [json.dumps(message).encode()], list(descriptors))
            except (BrokenPipeError, ConnectionResetError):
                pass
        return standby.pid

    def fall(self, pid: int) -> str | None:
        """Forget the one that died, if it is one of these; return its name."""
        for name, standby in self._by_name.items():
            if standby.pid == pid:
                standby.orders.close()
                del self._by_name[name]
                return name
        return None

    def kill(self) -> None:
        """Kill what their cgroups hold."""
        for standby in self._by_name.values():
            remains.kill_cgroups(standby.cgroups)


def forked(child: Callable[[], NoReturn]) -> int:
    """Fork; return the child's pid."""
    output.flush()
    # A signal to the child before it has its own handlers would be taken for one to us.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            child()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return pid
