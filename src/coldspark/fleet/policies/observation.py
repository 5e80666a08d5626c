"""The observation a rule takes and the decision it returns: Structs, made whenever one waits."""

from msgspec import Struct

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.policies.demand import DemandWindow

_SILENT = DemandWindow(1.0)


class Observation(Struct, frozen=True, kw_only=True, gc=False):
    """A fleet at one moment, as a rule sees it."""

    queued: int
    ready: int
    """Replicas that take requests."""
    starting_ages_s: tuple[float, ...]
    """How long ago each replica that is not ready yet was requested."""
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
    """The desired number of replicas, those that are starting included, and why."""

    replicas: int
    reason: str
    replicas_min: int = 0
    """Fewer are never kept, however long they idle."""
    keep_alive_s: float = 0.0
    """One that idles for so long is ended, above ``replicas_min``."""
    evaluate_again_s: float = NEVER
    """When the rule is to be evaluated again, though nothing has happened."""
    is_fixed: bool = True
    """``evaluate_again_s`` holds whatever happens; else while nothing comes, ends or is added."""
