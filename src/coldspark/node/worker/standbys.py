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

from . import orphans, program, replica_process

_WORD_BYTES_MAX = 16 * 1024
_TROUBLE_CHARS_MAX = 2_000
Unwatch = Callable[[socket.socket], object]
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

    def fork(
        self, name: str, cgroups: Sequence[str], launch: replica_process.Launch
    ) -> tuple[int, socket.socket]:
        """Fork one; return its pid, and the socket on which it may say something. Raises OSError.

        Whoever watches that socket gives ``unwatch`` to what closes it.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            pid = forked(lambda: replica_process.stand_by(theirs, cgroups, launch))
        ours.setblocking(False)
        self._by_name[name] = _Standby(pid, ours, cgroups)
        return pid, ours

    def receive(self, name: str, unwatch: Unwatch) -> dict[str, Any] | None:
        """Return what one says; one that hung up is watched no longer."""
        standby = self._by_name.get(name)
        if standby is None:
            return None
        try:
            data = standby.orders.recv(_WORD_BYTES_MAX)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        word = _parsed(data)
        if word is None:
            unwatch(standby.orders)
        return word

    def send(
        self,
        name: str | None,
        message: dict[str, Any],
        descriptors: Sequence[int],
        unwatch: Unwatch,
    ) -> int | None:
        """Make one a replica and return its pid, or None when there is none of that name.

        One that has just died is the replica all the same: its end is told as the replica's.
        """
        standby = self._by_name.pop(name or "", None)
        if standby is None:
            return None
        _unwatched(standby, unwatch)
        with standby.orders:
            try:
                _stop_listening(standby.orders)
                socket.send_fds(standby.orders, [json.dumps(message).encode()], list(descriptors))
            except (BrokenPipeError, ConnectionResetError):
                pass
        return standby.pid

    def remove_dead(self, pid: int, unwatch: Unwatch) -> str | None:
        """Forget the one that died, if it is one of these; return its name."""
        for name, standby in self._by_name.items():
            if standby.pid == pid:
                _unwatched(standby, unwatch)
                standby.orders.close()
                del self._by_name[name]
                return name
        return None

    def kill(self) -> None:
        """Kill what their cgroups hold."""
        for standby in self._by_name.values():
            orphans.kill_cgroups(standby.cgroups)


def _parsed(data: bytes) -> dict[str, Any] | None:
    """Read a word; None for the end, and for what is none: user code runs in that process."""
    try:
        word = json.loads(data)
        trouble = word["trouble"]
        return {
            "load_us": int(word["load_us"]),
            "trouble": None if trouble is None else str(trouble)[:_TROUBLE_CHARS_MAX],
        }
    except (ValueError, KeyError, TypeError):
        return None


def _unwatched(standby: _Standby, unwatch: Unwatch) -> None:
    try:
        unwatch(standby.orders)
    except KeyError:
        return  # It hung up before.


def _stop_listening(orders: socket.socket) -> None:
    """Leave no word of the other end unread: closing would then reset it, and lose the order."""
    orders.shutdown(socket.SHUT_RD)
    try:
        while orders.recv(_WORD_BYTES_MAX):
            continue
    except BlockingIOError:
        return


def forked(child: Callable[[], NoReturn]) -> int:
    """Fork; return the child's pid."""
    program.flush_output()
    # A signal to the child before it has its own handlers would be taken for one to us.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL_SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            child()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return pid
