"""Start a fresh interpreter where a fork would not do, and hand it what a fork would have."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

from . import control, process_tag


def spawn(
    order: dict[str, Any], path: str | None, paths: Sequence[str], descriptors: Sequence[int]
) -> int:
    """Start a replica that imports its program itself; return its pid. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        letter = {"order": order, "parent": os.getpid(), "program": path, "paths": list(paths)}
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * control.PACKET_MAX_BYTES)
        socket.send_fds(ours, [json.dumps(letter).encode()], list(descriptors))
        theirs.set_inheritable(True)
        return os.posix_spawn(
            sys.executable,
            command(theirs.fileno(), "--replica"),
            {**os.environ, process_tag.NAME: order["replica"]},
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGCHLD],
        )


def command(descriptor: int, *words: str) -> list[str]:
    """Return the words that start this package's bootstrap on a descriptor."""
    safe_path = ["-P"] if getattr(sys.flags, "safe_path", False) else []
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap.py")
    return [sys.executable, *safe_path, script, str(descriptor), *words]
