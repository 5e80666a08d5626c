"""The words between supervisor and template: one JSON object a packet, on a SEQPACKET socket.

The supervisor starts ``python -P bootstrap.py FD`` (``FD``: the template's end of the socket,
inheritable; without -P before Python 3.11). Its environment is what the import sees, so it holds
the revision's variables. To find a fork's mark in /proc, the template needs room for one in its
environment: unless ``COLDSPARK_REPLICA`` has 64 characters it executes itself again (same pid).

    supervisor -> template
      {"op": "prepare", "program": path | null, "paths": [dir, …], "model_dir": dir | null,
       "setup_dir": dir | null, "learned": [module, …], "cgroups": [cgroup.procs path, …]}
            Join the cgroups. Put ``paths`` first on sys.path and import the program's module, once.
            ``null``: nothing to import (the template of commands). With a ``model_dir`` the model
            is loaded as well, and replicas are forked with it; if that rules a fork out, what the
            program's ``setup_fn`` returned is kept, or imports alone. With a ``setup_dir``
            ``setup_fn`` runs and the model is not loaded. The modules of ``learned`` are imported
            after the program; what rules a fork out is told as denied.
      {"op": "stand_by", "standby": name, "cgroups": [cgroup.procs path, …], "load": bool}
            Fork a process ahead: it joins the cgroups and waits to become a replica. It is used
            once. Nothing happens in a template that is not fork-safe. With ``load`` it loads the
            model that could not be loaded before the fork, and does not wait for an order to.
      {"op": "fork", "replica": id, "argv": [word, …] | null, "environment": {…}, "cwd": dir,
       "model_dir": dir | null, "concurrency": n, "batch_size_max": n, "batch_wait_s": s,
       "cgroups": [cgroup.procs path, …], "uid": n | null, "processes_max": n,
       "standby": name | null}
            with descriptors: stdout, stderr, and (handler only) the channel's end. ``argv`` not
            null: the child executes it (a command). ``environment`` is laid over the template's
            own. ``replica`` has at most 64 bytes. ``cgroups`` belong to this replica alone: what
            is in them dies with it. ``gid`` may be given besides ``uid``. A handler without a
            ``model_dir`` gets ``cwd``. With ``standby`` that process becomes the replica (the
            order names its cgroups); one that is gone is replaced by a fork. A template that is
            not fork-safe has dropped its program, and executes a fresh interpreter instead of
            forking; nothing else differs.
      {"op": "signal", "replica": id, "signal": n}
            Signal the replica's whole process group (the template has not reaped it: no pid reuse).
      {"op": "sweep", "replica": id}
            Kill whatever the replica left behind in its group or carrying its mark
            (``COLDSPARK_REPLICA=id`` in its environment), and the replica itself if it lives.

    template -> supervisor
      {"event": "prepared", "import_us": n, "fork_safe": bool, "reason": text | null,
       "has_model": bool, "has_setup": bool, "loads_ahead": bool, "learned": n,
       "denied": {module: reason}, "learned_us": n, "load_us": n, "load_private_bytes": n}
            ``reason`` says why the program, or only its model, is not held; ``loads_ahead``, that
            a process that stands by may load it. ``learned`` counts the modules that were imported
            besides the program's. The last two are of what was loaded: how long, and how much
            private memory it made.
      {"event": "standing", "standby": name, "pid": n}
      {"event": "loaded_ahead", "standby": name, "load_us": n, "trouble": text | null}
      {"event": "fell", "standby": name}      a process that stood by is gone, unused
      {"event": "broken", "cause": RootCause, "message": text, "traceback": text}   and it exits
      {"event": "forked", "replica": id, "pid": n}
      {"event": "exited", "replica": id, "pid": n, "status": n}     minus a signal's number
            Told once what the replica left behind is dead.
      {"event": "fork_failed", "replica": id, "message": text}

When the socket ends (the supervisor died) the template kills every replica with all its
descendants and exits, as it does on SIGTERM. A replica dies with its template (parent-death
signal); what a replica had started is then left to the supervisor, that is, to its cgroups.
An order that cannot be read is dropped with a remark on stderr.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import process_tag

PACKET_MAX_BYTES = 128 * 1024

EXIT_BOOT_FAILED = 78
"""Exit code of a template or replica that cannot load: starting it again will not help."""
EXIT_ORPHANED = 79
"""Exit code of a template whose supervisor is gone."""


@dataclass(frozen=True)
class ModelMemory:
    """What the models of one replica may hold together, and whether they stay after their calls."""

    memory_bytes: int
    is_cached: bool


@dataclass(frozen=True)
class ReplicaOrder:
    """What the new replica shall be. ``argv`` None: a handler, served on the channel."""

    replica: str
    argv: tuple[str, ...] | None
    environment: dict[str, str]
    cwd: str
    model_dir: str | None
    concurrency: int
    cgroups: tuple[str, ...]
    uid: int | None
    gid: int | None
    processes_max: int | None
    standby: str | None = None
    """The process that stands by to become it."""
    batch_size_max: int = 1
    """More than 1: the handler is called for that many requests at once."""
    batch_wait_s: float = 0.0
    room: ModelMemory | None = None
    """For the models of a handler that has many; None: it has one."""

    @property
    def descriptors(self) -> int:
        """Return how many descriptors come with the order: stdout, stderr, and a channel."""
        return 3 if self.argv is None else 2


def parse_order(message: dict[str, Any]) -> ReplicaOrder:
    """Read a ``fork`` message. Raises ValueError that says what is wrong with it."""
    try:
        process_tag.encode(message["replica"])
        argv = message.get("argv")
        if argv is not None and not argv:
            raise ValueError("argv is empty")
        return ReplicaOrder(
            replica=message["replica"],
            argv=None if argv is None else tuple(argv),
            environment=dict(message.get("environment") or {}),
            cwd=message["cwd"],
            model_dir=message.get("model_dir"),
            concurrency=max(1, int(message.get("concurrency") or 1)),
            cgroups=tuple(message.get("cgroups") or ()),
            uid=message.get("uid"),
            gid=message.get("gid"),
            processes_max=message.get("processes_max"),
            standby=message.get("standby"),
            batch_size_max=max(1, int(message.get("batch_size_max") or 1)),
            batch_wait_s=max(0.0, float(message.get("batch_wait_s") or 0.0)),
            room=_room(message.get("multi_model")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"bad order: {type(error).__name__}: {error}") from None


def _room(message: dict[str, Any] | None) -> ModelMemory | None:
    if message is None:
        return None
    return ModelMemory(int(message["memory_bytes"]), bool(message["is_cached"]))


def spawn(
    order: dict[str, Any], path: str | None, paths: Sequence[str], descriptors: Sequence[int]
) -> int:
    """Start a replica that imports its program itself; return its pid. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        letter = {"order": order, "parent": os.getpid(), "program": path, "paths": list(paths)}
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * PACKET_MAX_BYTES)
        socket.send_fds(ours, [json.dumps(letter).encode()], list(descriptors))
        theirs.set_inheritable(True)
        return os.posix_spawn(
            sys.executable,
            bootstrap_command(theirs.fileno(), "--replica"),
            {**os.environ, process_tag.NAME: order["replica"]},
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGCHLD],
        )


def bootstrap_command(descriptor: int, *words: str) -> list[str]:
    """Return the words that start this package's bootstrap on a descriptor."""
    safe_path = ["-P"] if getattr(sys.flags, "safe_path", False) else []
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bootstrap.py")
    return [sys.executable, *safe_path, script, str(descriptor), *words]
