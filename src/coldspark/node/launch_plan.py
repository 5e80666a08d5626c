"""The words of a start: how far it is, what it was resolved to, what replicas share."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from coldspark.errors import ArtifactUnavailable, ColdsparkError, EnvironmentFailed
from coldspark.node.cgroups import Cgroups
from coldspark.node.gpu.gpu_parking import GpuTools
from coldspark.node.sandbox.scratch import ScratchDirectories
from coldspark.node.templates.fork_order import TemplateFailure, TemplateKey
from coldspark.node.templates.pool import TemplatePool
from coldspark.platform.metric_ports import Metrics
from coldspark.platform.ports import EngineListener
from coldspark.spec.types import Exit, RootCause
from coldspark.tasks import Tasks

TAIL_LINES = 50
"""How much of its log a replica's end tells."""


class ReplicaPhase(StrEnum):
    """How far a replica is."""

    PREPARING = "preparing"
    """Model data, environment, template."""
    STARTING = "starting"
    """The template was asked to fork."""
    LOADING = "loading"
    READY = "ready"
    PARKING = "parking"
    """It gives back what a frozen process should not hold."""
    PARKED = "parked"
    UNPARKING = "unparking"
    STOPPING = "stopping"
    ENDED = "ended"


TRANSITIONS: dict[ReplicaPhase, frozenset[ReplicaPhase]] = {
    ReplicaPhase.PREPARING: frozenset({ReplicaPhase.STARTING, ReplicaPhase.ENDED}),
    ReplicaPhase.STARTING: frozenset(
        {ReplicaPhase.LOADING, ReplicaPhase.STOPPING, ReplicaPhase.ENDED}
    ),
    # Back to STARTING: a command lost the race for its port and is tried once more.
    ReplicaPhase.LOADING: frozenset(
        {ReplicaPhase.READY, ReplicaPhase.STARTING, ReplicaPhase.STOPPING, ReplicaPhase.ENDED}
    ),
    ReplicaPhase.READY: frozenset(
        {ReplicaPhase.PARKING, ReplicaPhase.STOPPING, ReplicaPhase.ENDED}
    ),
    ReplicaPhase.PARKING: frozenset(
        {ReplicaPhase.PARKED, ReplicaPhase.READY, ReplicaPhase.STOPPING, ReplicaPhase.ENDED}
    ),
    ReplicaPhase.PARKED: frozenset(
        {ReplicaPhase.UNPARKING, ReplicaPhase.STOPPING, ReplicaPhase.ENDED}
    ),
    ReplicaPhase.UNPARKING: frozenset(
        {ReplicaPhase.READY, ReplicaPhase.STOPPING, ReplicaPhase.ENDED}
    ),
    ReplicaPhase.STOPPING: frozenset({ReplicaPhase.ENDED}),
    ReplicaPhase.ENDED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class LaunchFiles:
    """What a spec needs, on this machine."""

    interpreter: Path
    code_dir: Path | None
    model_dir: Path | None
    is_environment_built: bool
    """The environment was not here before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchPlan:
    """What was found out about an order: where everything lies on this machine."""

    key: TemplateKey
    files: LaunchFiles
    environment: dict[str, str]
    cwd: Path
    argv: tuple[str, ...] | None = None
    """None: a handler."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    """What all replicas of this machine share."""

    pool: TemplatePool
    cgroups: Cgroups
    scratch_directories: ScratchDirectories
    tasks: Tasks
    listener: EngineListener
    gpu_tools: GpuTools = field(default_factory=GpuTools)
    fetch: Callable[[str], Coroutine[object, object, Path]] | None = None
    """Brings model data here, for replicas that have many models."""
    metrics: Metrics | None = None
    """Hears of these models; None: nobody measures."""


class TemplateBroken(Exception):
    """The template that a replica waited for cannot be forked from."""

    def __init__(self, failure: TemplateFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def exit_of(error: Exception) -> Exit:
    """Put what went wrong before there was a process in words."""
    if isinstance(error, ColdsparkError):
        causes = {
            ArtifactUnavailable.code: RootCause.ARTIFACT_UNAVAILABLE,
            EnvironmentFailed.code: RootCause.ENVIRONMENT_FAILED,
        }
        cause = causes.get(error.code, RootCause.HANDLER_INVALID)
        return Exit(cause=cause, message=error.message, log_tail=error.log_tail[-TAIL_LINES:])
    message = f"The platform could not start it: {type(error).__name__}: {error}"
    return Exit(cause=RootCause.UNKNOWN, message=message)
