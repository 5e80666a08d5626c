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
    """Something the fleet did of its own accord, and why."""

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
    """What shall run. A replica may still run another one."""
    scale: ScalePolicy = field(init=False)
    """The revision's policy, under the floor and the ceiling that hold now."""
    bounds_change: ScaleBoundsChanged = _OWN
    """What they were moved to last."""
    is_retired: bool = False
    jobs_waiting: int = 0
    """Jobs that are handed in one by one as the requests of others are done."""
    queue: RequestQueue = field(default_factory=RequestQueue)
    replicas: ReplicaIndex = field(default_factory=ReplicaIndex)
    start_budget: StartBudget = field(default_factory=StartBudget)
    starts_s: Samples = field(default_factory=Samples)
    thaws_s: Samples = field(default_factory=Samples)
    """From room granted to ready, of parked replicas."""
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
        """Let another revision be what shall run; its rule decides from here on."""
        self.revision = revision
        self._apply_bounds()
        if revision.spec.scale.rule != self.policy_state.rule:
            self._reset_policy_state()

    def set_scale(self, moved: ScaleBoundsChanged) -> None:
        """Let another floor and ceiling hold, for this revision and those to come."""
        self.bounds_change = moved
        self._apply_bounds()

    def _apply_bounds(self) -> None:
        """Work out which policy holds. A ceiling that is left open is never under the floor."""
        own, floor, ceiling = (
            self.revision.spec.scale,
            self.bounds_change.replicas_min,
            self.bounds_change.replicas_max,
        )
        if floor is None and ceiling is None:
            self.scale = own
            return
        if ceiling is None:
            ceiling = max(own.replicas_max, floor or 0)
        if floor is None:
            floor = min(own.replicas_min, ceiling)
        self.scale = replace(own, replicas_min=floor, replicas_max=ceiling, windows=())

    @property
    def bounds_reason(self) -> str:
        """Say why there is the floor that there is."""
        return _OWN.reason if self.scale is self.revision.spec.scale else self.bounds_change.reason

    def _reset_policy_state(self) -> None:
        self.policy_state = PolicyState(self.revision.spec.scale.rule)
        is_counted = isinstance(self.policy_state.rule, Histogram)
        self.concurrency_levels.listener = self._count_idle_interval if is_counted else None

    def _count_idle_interval(self, level: int, gap_s: float) -> None:
        self.policy_state.idle_times(level).add(gap_s)

    def record_decision(self, now: float, what: str, reason: str) -> None:
        """Keep a decision for whoever asks what happened."""
        self.decisions.append(DecisionRecord(now, what, reason))
