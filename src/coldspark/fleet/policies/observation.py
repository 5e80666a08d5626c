"""What a rule sees of its fleet, and what it says: Structs, as one is made whenever one waits."""

from msgspec import Struct

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.policies.demand import DemandWindow

_SILENT = DemandWindow(1.0)


class Observation(Struct, frozen=True, kw_only=True, gc=False):
    """What a fleet looks like at one moment."""

    queued: int
    ready: int
    """Replicas that take requests."""
    starting_ages_s: tuple[float, ...]
    """How long ago each replica that is not ready yet was asked for."""
    oldest_wait_s: float
    """How long the first in the queue has waited; 0 when nobody waits."""
    start_s: float | None
    """C: seconds that a start takes (a low quantile); None until one was measured."""
    service_s: float | None
    """S: seconds that a request takes (a high quantile); None until one was measured."""
    service_mean_s: float | None = None
    """The mean of what was measured."""
    arrivals_per_s: float = 0.0
    """Requests that came per second over the last ``RATE_STARTS`` starts or more."""
    now: float = 0.0
    """Monotonic seconds."""
    running: int = 0
    slots: int = 1
    """Requests that one replica serves at a time."""
    demand: DemandWindow = _SILENT
    """Open requests over the last minutes, for the rules that look back."""

    @property
    def open(self) -> int:
        """Return how many requests wait or run."""
        return self.queued + self.running

    @property
    def present(self) -> int:
        """Return how many replicas are ready or on their way."""
        return self.ready + len(self.starting_ages_s)


class ScaleDecision(Struct, frozen=True, gc=False):
    """How many replicas there shall be, those that are starting included, and why."""

    replicas: int
    reason: str
    replicas_min: int = 0
    """Fewer are never kept, however long they idle."""
    keep_alive_s: float = 0.0
    """One that idles for so long goes, above the floor."""
    evaluate_again_s: float = NEVER
    """When the rule wants to be asked again, though nothing has happened."""
    is_fixed: bool = True
    """``look_again_s`` holds whatever comes; else only while nothing comes, ends or is added."""
