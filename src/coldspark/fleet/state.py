"""What the parts of one fleet share. They alone write it, and only inside ``Fleet.step``."""

from collections import deque
from dataclasses import dataclass, field, replace

from coldspark.fleet.idle_intervals import Levels
from coldspark.fleet.measurements import Samples
from coldspark.fleet.policies.policy_state import Ruling
from coldspark.fleet.replica_index import Roster
from coldspark.fleet.request_queue import RequestBook
from coldspark.fleet.start_budget import StartBudget
from coldspark.spec.messages import FloorMoved
from coldspark.spec.scaling_rules import Histogram
from coldspark.spec.types import FleetId, Revision, ScalePolicy

DECISIONS_KEPT = 50
_OWN = FloorMoved(None, None, "provisioned")


@dataclass(frozen=True, slots=True)
class Note:
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
    moved: FloorMoved = _OWN
    """What they were moved to last."""
    is_retired: bool = False
    backlog: int = 0
    """Jobs that are handed in one by one as the requests of others are done."""
    book: RequestBook = field(default_factory=RequestBook)
    roster: Roster = field(default_factory=Roster)
    budget: StartBudget = field(default_factory=StartBudget)
    starts_s: Samples = field(default_factory=Samples)
    thaws_s: Samples = field(default_factory=Samples)
    """From room granted to ready, of parked replicas."""
    services_s: Samples = field(default_factory=Samples)
    levels: Levels = field(default_factory=Levels)
    ruling: Ruling = field(init=False)
    notes: deque[Note] = field(default_factory=lambda: deque(maxlen=DECISIONS_KEPT))

    def __post_init__(self) -> None:
        self._bound()
        self._rule_anew()

    @property
    def waiting(self) -> int:
        """Return how many requests wait, with the jobs behind them: those come while some run."""
        return self.book.queued + (self.backlog if self.book.open else 0)

    def follow(self, revision: Revision) -> None:
        """Let another revision be what shall run; its rule decides from here on."""
        self.revision = revision
        self._bound()
        if revision.spec.scale.rule != self.ruling.rule:
            self._rule_anew()

    def move_floor(self, moved: FloorMoved) -> None:
        """Let another floor and ceiling hold, for this revision and those to come."""
        self.moved = moved
        self._bound()

    def _bound(self) -> None:
        """Work out which policy holds. A ceiling that is left open is never under the floor."""
        own, floor, ceiling = self.revision.spec.scale, self.moved.floor, self.moved.ceiling
        if floor is None and ceiling is None:
            self.scale = own
            return
        if ceiling is None:
            ceiling = max(own.replicas_max, floor or 0)
        if floor is None:
            floor = min(own.replicas_min, ceiling)
        self.scale = replace(own, replicas_min=floor, replicas_max=ceiling, windows=())

    @property
    def floor_reason(self) -> str:
        """Say why there is the floor that there is."""
        return _OWN.reason if self.scale is self.revision.spec.scale else self.moved.reason

    def _rule_anew(self) -> None:
        self.ruling = Ruling(self.revision.spec.scale.rule)
        is_counted = isinstance(self.ruling.rule, Histogram)
        self.levels.listener = self._count_gap if is_counted else None

    def _count_gap(self, level: int, gap_s: float) -> None:
        self.ruling.idle_times(level).add(gap_s)

    def note(self, now: float, what: str, reason: str) -> None:
        """Keep a decision for whoever asks what happened."""
        self.notes.append(Note(now, what, reason))
