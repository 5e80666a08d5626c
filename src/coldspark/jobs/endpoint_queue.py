"""One endpoint's queue at work: its rules, and the attempts under way."""

import asyncio
from dataclasses import dataclass, field

from coldspark.errors import ComponentNeeded
from coldspark.jobs.attempt import Attempt, FailedAttempt, SucceededAttempt
from coldspark.jobs.messages import JobId
from coldspark.jobs.ports import StoredJob
from coldspark.jobs.rules import JobBacklog
from coldspark.platform.ports import EndpointView
from coldspark.spec.types import EndpointName

AHEAD_MIN, AHEAD_MAX = 16, 64
"""Jobs that are handed in beyond what the replicas run, so that none of those waits for a disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRetention:
    """The retention of ended jobs."""

    jobs_s: float = 7 * 86_400.0
    jobs_max: int = 100_000
    bytes_max: int = 1024**3
    """Of answers that are stored with their jobs."""


@dataclass(slots=True)
class EndpointQueue:
    """One endpoint's queue at work."""

    endpoint: EndpointName
    backlog: JobBacklog
    attempts: dict[JobId, Attempt] = field(default_factory=dict)
    outcomes: dict[JobId, tuple[StoredJob, SucceededAttempt | FailedAttempt]] = field(
        default_factory=dict
    )
    """The result of the last attempt, until its job has ended."""
    timer: asyncio.TimerHandle | None = None
    checked_s: float = float("-inf")
    slots: int = 0
    reported_backlog: int = 0
    """The backlog last published to the platform."""
    completing: int = 0
    busy_s: float = 0.0
    """When there last were jobs."""


def refuse_components(view: EndpointView) -> None:
    """Raise ComponentNeeded for an endpoint whose jobs would have to name a component."""
    if view.definition.has_components:
        raise ComponentNeeded(
            f"endpoint {view.name} has components, and a job cannot name one: invoke a component,"
            " or deploy its model as an endpoint of its own"
        )


def slots_of(view: EndpointView) -> int:
    """Return how many jobs may be submitted at a time: what all replicas run, and some ahead."""
    specs = [variant.revision.spec for variant in view.variants if variant.weight > 0]
    slots = sum(spec.scale.replicas_max * spec.scale.concurrency for spec in specs)
    queue = min((spec.limits.queue_max for spec in specs), default=0)
    return slots + min(max(AHEAD_MIN, min(slots, AHEAD_MAX)), queue // 2)
