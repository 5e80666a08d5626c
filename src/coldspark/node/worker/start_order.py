"""One order to start a replica, as the supervisor words it (see ``control``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import process_tag


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


def parse(message: dict[str, Any]) -> ReplicaOrder:
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
