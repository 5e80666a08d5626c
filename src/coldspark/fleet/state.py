"""What the parts of one fleet share. They alone write it, and only inside ``Fleet.step``."""

from collections import deque
from dataclasses import dataclass, field, replace

from coldspark.fleet.idle_intervals import ConcurrencyLevels
from coldspark.fleet.measurements import Samples
from coldspark.fleet.policies.policy_state import PolicyState
from coldspark.fleet.replica_index import ReplicaIndex
from coldspark.fleet.request_queue import RequestQueue
from coldspark.fleet.start_budget import StartBudget
from coldspark.spec.messages import ScaleBoundsChanged
from coldspark.spec.scaling_rules import Histogram
from coldspark.spec.types import FleetId, Revision, ScalePolicy

DECISIONS_MAX = 50
_OWN = ScaleBoundsChanged(None, None, "provisioned")


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision of the fleet, and why."""

    at_s: float
    what: str
    reason: str


@dataclass(slots=True)
class FleetState:
    """One fleet's requests, replicas and measurements."""

    id: FleetId
    prefix: str
    """Of its replicas' ids; they are numbered from 1."""
    revision: Revision
    """The desired one. A replica may still run another."""
    scale: ScalePolicy = field(init=False)
    """The revision's policy, with the ``replicas_min`` and ``replicas_max`` in force."""
    bounds_change: ScaleBoundsChanged = _OWN
    """The latest change of the bounds."""
    is_retired: bool = False
    jobs_waiting: int = 0
    """Queued jobs: one is submitted whenever the request of another is done."""
    queue: RequestQueue = field(default_factory=RequestQueue)
    replicas: ReplicaIndex = field(default_factory=ReplicaIndex)
    start_budget: StartBudget = field(default_factory=StartBudget)
    starts_s: Samples = field(default_factory=Samples)
    thaws_s: Samples = field(default_factory=Samples)
    """From reservation granted to ready, of parked replicas."""
    services_s: Samples = field(default_factory=Samples)
    concurrency_levels: ConcurrencyLevels = field(default_factory=ConcurrencyLevels)
    policy_state: PolicyState = field(init=False)
    decisions: deque[DecisionRecord] = field(default_factory=lambda: deque(maxlen=DECISIONS_MAX))

    def __post_init__(self) -> None:
        self._apply_bounds()
        self._reset_policy_state()

    @property
    def requests_waiting(self) -> int:
        """Return how many requests wait, with the jobs behind them: those come while some run."""
        return self.queue.queued + (self.jobs_waiting if self.queue.open else 0)

    def adopt(self, revision: Revision) -> None:
        """Set the desired revision; its rule decides from here on."""
        self.revision = revision
        self._apply_bounds()
        if revision.spec.scale.rule != self.policy_state.rule:
            self._reset_policy_state()

    def set_scale(self, change: ScaleBoundsChanged) -> None:
        """Set the replica bounds, for this revision and those to come."""
        self.bounds_change = change
        self._apply_bounds()

    def _apply_bounds(self) -> None:
        """Work out the policy in force; an open maximum is never under the minimum."""
        own, replicas_min, replicas_max = (
            self.revision.spec.scale,
            self.bounds_change.replicas_min,
            self.bounds_change.replicas_max,
        )
        if replicas_min is None and replicas_max is None:
            self.scale = own
            return
        if replicas_max is None:
            replicas_max = max(own.replicas_max, replicas_min or 0)
        if replicas_min is None:
            replicas_min = min(own.replicas_min, replicas_max)
        self.scale = replace(own, replicas_min=replicas_min, replicas_max=replicas_max, windows=())

    @property
    def bounds_reason(self) -> str:
        """Return the reason of the replica bounds in force."""
        return _OWN.reason if self.scale is self.revision.spec.scale else self.bounds_change.reason

    def _reset_policy_state(self) -> None:
        self.policy_state = PolicyState(self.revision.spec.scale.rule)
        is_counted = isinstance(self.policy_state.rule, Histogram)
        self.concurrency_levels.listener = self._count_idle_interval if is_counted else None

    def _count_idle_interval(self, level: int, idle_s: float) -> None:
        self.policy_state.idle_times(level).add(idle_s)

    def record_decision(self, now: float, what: str, reason: str) -> None:
        """Record a decision for the history."""
        self.decisions.append(DecisionRecord(now, what, reason))
