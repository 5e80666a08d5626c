"""The life cycle of a replica: a table, and a record that crashes on an illegal transition."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from coldspark.spec.types import ReplicaId, RequestId, Revision

_TARGETS_MAX = 256


class ReplicaState(StrEnum):
    """A phase of the life cycle."""

    PLACING = "placing"
    STARTING = "starting"
    READY = "ready"
    PARKING = "parking"
    PARKED = "parked"
    DRAINING = "draining"
    STOPPING = "stopping"
    GONE = "gone"


_S = ReplicaState
TRANSITIONS: Mapping[ReplicaState, frozenset[ReplicaState]] = MappingProxyType(
    {
        # A parked replica requests devices again, and may turn out not to be needed after all.
        _S.PLACING: frozenset({_S.STARTING, _S.PARKED, _S.STOPPING, _S.GONE}),
        _S.STARTING: frozenset({_S.READY, _S.STOPPING, _S.GONE}),
        _S.READY: frozenset({_S.PARKING, _S.DRAINING, _S.STOPPING, _S.GONE}),
        _S.PARKING: frozenset({_S.PARKED, _S.STOPPING, _S.GONE}),
        _S.PARKED: frozenset({_S.PLACING, _S.STOPPING, _S.GONE}),
        _S.DRAINING: frozenset({_S.STOPPING, _S.GONE}),
        _S.STOPPING: frozenset({_S.GONE}),
        _S.GONE: frozenset(),
    }
)


class IllegalTransition(Exception):
    """A bug: a transition that is not in the table."""


@dataclass(slots=True, eq=False)
class Replica:
    """One replica as its fleet knows it."""

    id: ReplicaId
    revision: Revision
    requested_s: float
    state: ReplicaState = ReplicaState.PLACING
    history: list[tuple[ReplicaState, float]] = field(default_factory=list)
    running: set[RequestId] = field(default_factory=set)
    """Requests that hold a slot, those being aborted included."""
    served: int = 0
    granted_s: float | None = None
    ready_s: float | None = None
    idle_since_s: float | None = None
    parked_s: float | None = None
    """Since when it is frozen, while it is, and until it is ready again."""
    failed_start: str | None = None
    """Why the platform itself ended this start."""
    targets: dict[str, None] = field(default_factory=dict)
    """Of many models those that it served, the latest last: it may still have them loaded."""
    slots: int = field(init=False)
    """How many requests it serves at a time."""

    def __post_init__(self) -> None:
        self.slots = self.revision.spec.scale.concurrency

    @property
    def has_free_slot(self) -> bool:
        """Return whether it can take a request now."""
        return self.state is ReplicaState.READY and len(self.running) < self.slots

    def record_target(self, target: str) -> None:
        """Record that it serves a model; bounded, for callers choose the names."""
        self.targets.pop(target, None)
        self.targets[target] = None
        if len(self.targets) > _TARGETS_MAX:
            del self.targets[next(iter(self.targets))]

    def transition(self, state: ReplicaState, now: float) -> None:
        """Go to another phase, as the table allows."""
        if state not in TRANSITIONS[self.state]:
            story = " -> ".join(f"{name}@{at:.3f}" for name, at in self.history)
            raise IllegalTransition(f"{self.id}: {self.state} -> {state} after {story or 'birth'}")
        self.history.append((state, now))
        self.state = state
