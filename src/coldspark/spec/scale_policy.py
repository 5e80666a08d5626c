"""The scale policy of a variant: how many replicas, and for how long."""

from dataclasses import dataclass, field

from coldspark.spec.scaling_rules import Histogram, Learned, Rule
from coldspark.spec.scheduled_scaling import ScheduledWindow, check_windows
from coldspark.spec.warmth import Warmth

DEFAULT_WAIT_VALUE = 10.0
FIRST_IDLE_S = 60.0
"""For how long an idle replica is kept before there is a measured start to reckon with."""
_PARKED_PER_IDLE = 5.0
"""A parked replica holds memory alone, so it may stay for longer than an idle one did."""


BATCH_SIZE_MAX = 500
_BATCH_WAIT_S = 0.005


def slots_of(concurrency: int | None, batch_size_max: int) -> int:
    """Return the slots of a replica, where None leaves them open.

    With batching it is two batches: one is computed while the next comes together.
    """
    if concurrency is not None:
        return concurrency
    return 1 if batch_size_max == 1 else 2 * batch_size_max


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePolicy:
    """How many replicas there are, and for how long an idle one is kept."""

    replicas_min: int = 0
    """Provisioned: kept warm, billed while idle."""
    replicas_max: int = 1
    concurrency: int = 1
    """Requests that one replica serves at a time (its slots); with batching, those it holds."""
    batch_size_max: int = 1
    """Requests that the handler is called for at once; 1: each alone."""
    batch_wait_s: float | None = None
    """How long a free replica may hold a request back for others to join it.

    None: 5 ms. 0: never.
    """
    idle_timeout_s: float | None = None
    """How long an idle replica is kept ready. None: learned from idle intervals."""
    park_timeout_s: float | None = None
    """How long an idle replica stays parked (frozen, its devices given back) before it ends.

    None: learned, or five times a given ``idle_timeout_s``. 0: it is never parked.
    """
    warmth: Warmth | None = None
    """None: as long at each warmth level as pays. Else the lowest level that idleness leads to."""
    wait_value: float = DEFAULT_WAIT_VALUE
    """What a second of a caller's waiting is worth, in seconds of a ready replica.

    Higher keeps idle replicas for longer, where a time above is learned, and starts more of them
    for the same queue; with 0 one replica works it off, unless somebody waits for three starts.
    """
    patience_s: float | None = None
    """Whoever would wait for longer than this gets a replica started, whether or not it pays.

    None: starts alone that pay. 0: one for everybody who waits, as keep-alive rules have it.
    """
    rule: Rule = field(default_factory=Learned)
    """The scaling rule. Only ``learned`` learns idle times and pre-warms."""
    waste_budget: float = 0.0
    """0 starts a replica for every slot's worth of waiting work; 1 only one that pays its start."""
    failed_starts_max: int = 3
    """Failed starts in a row after which the endpoint is FAILED."""
    windows: tuple[ScheduledWindow, ...] = ()
    """Times of the week with other bounds; of those open, the highest ``replicas_min`` wins."""

    def __post_init__(self) -> None:
        if not 0 <= self.replicas_min <= self.replicas_max:
            raise ValueError(f"replicas_min={self.replicas_min} must lie in 0..{self.replicas_max}")
        if not 1 <= self.replicas_max <= 10_000:
            raise ValueError(f"replicas_max={self.replicas_max} must lie in 1..10000")
        self._check_batching()
        if not 1 <= self.concurrency <= 1_000:
            raise ValueError(f"concurrency={self.concurrency} must lie in 1..1000")
        for name in ("idle_timeout_s", "park_timeout_s"):
            if (value := getattr(self, name)) is not None and not 0.0 <= value <= 7 * 86_400:
                raise ValueError(f"{name}={value} must lie in 0..604800")
        if not 0.0 <= self.wait_value <= 1e6:
            raise ValueError(f"wait_value={self.wait_value} must lie in 0..1000000")
        if self.patience_s is not None and not 0.0 <= self.patience_s <= 86_400:
            raise ValueError(f"patience_s={self.patience_s:g} must lie in 0..86400")
        self._check_warmth()
        self._check_rule()
        if not 0.0 <= self.waste_budget <= 1.0:
            raise ValueError(f"waste_budget={self.waste_budget} must lie in 0..1")
        if not 1 <= self.failed_starts_max <= 100:
            raise ValueError(f"failed_starts_max={self.failed_starts_max} must lie in 1..100")
        check_windows(self.windows, self.replicas_max)

    def _check_batching(self) -> None:
        size, wait_s = self.batch_size_max, self.batch_wait_s
        if not 1 <= size <= BATCH_SIZE_MAX:
            raise ValueError(f"batch_size={size} must lie in 1..{BATCH_SIZE_MAX}")
        if wait_s is not None and not 0.0 <= wait_s <= 10.0:
            raise ValueError(f"batch_wait={wait_s:g} s must lie in 0..10 s")
        if wait_s is not None and size == 1:
            raise ValueError(f"batch_wait={wait_s:g} s does nothing without batch_size: set both")
        if self.concurrency < size:
            raise ValueError(
                f"concurrency={self.concurrency} lets no batch of batch_size={size} come together:"
                f" set it to {size} or more, or leave it out for {2 * size}"
            )

    @property
    def batch_waits_s(self) -> float:
        """Return ``batch_wait_s``, or what stands for None."""
        return _BATCH_WAIT_S if self.batch_wait_s is None else self.batch_wait_s

    def _check_warmth(self) -> None:
        """Refuse times that the pinned warmth level makes meaningless."""
        if self.warmth is Warmth.READY and self.windows:
            raise ValueError(
                "windows end without effect with warmth=ready, which keeps all that was started:"
                " leave one of them out"
            )
        if self.warmth is Warmth.READY and self.idle_timeout_s is not None:
            raise ValueError(
                f"idle_timeout_s={self.idle_timeout_s:g} does nothing with warmth=ready:"
                " leave one of them out"
            )
        if self.warmth is not None and self.park_timeout_s is not None:
            raise ValueError(
                f"park_timeout_s={self.park_timeout_s:g} does nothing with"
                f" warmth={self.warmth.value}: leave one of them out"
            )

    def _check_rule(self) -> None:
        """Refuse settings that the rule does not use."""
        rule = self.rule
        if isinstance(rule, Learned):
            return
        name = rule.__struct_config__.tag
        if self.idle_timeout_s is not None:
            raise ValueError(
                f"idle_timeout_s={self.idle_timeout_s:g} does nothing with rule={name}:"
                " the rule says how long idle replicas are kept"
            )
        if self.warmth is Warmth.READY:
            raise ValueError(f"warmth=ready does nothing with rule={name}: set replicas_min")
        if self.wait_value != DEFAULT_WAIT_VALUE:
            raise ValueError(f"wait_value={self.wait_value:g} does nothing with rule={name}")
        if self.waste_budget:
            raise ValueError(f"waste_budget={self.waste_budget:g} does nothing with rule={name}")
        if self.patience_s is not None:
            raise ValueError(f"patience_s={self.patience_s:g} does nothing with rule={name}")
        if isinstance(rule, Histogram) and self.warmth is not None:
            raise ValueError(f"warmth={self.warmth.value} does nothing with rule={name}")

    @property
    def may_park(self) -> bool:
        """Return whether idle replicas are ever parked."""
        if self.warmth is None and self.park_timeout_s is None:
            # Five times nothing.
            return self.idle_timeout_s != 0.0
        return self.park_timeout_s != 0.0 and self.warmth in (None, Warmth.PARKED)

    @property
    def first_idle_s(self) -> float:
        """Return how long an idle replica is kept ready before anything was learned."""
        if self.warmth is Warmth.READY:
            return float("inf")
        return FIRST_IDLE_S if self.idle_timeout_s is None else self.idle_timeout_s

    @property
    def first_parked_s(self) -> float:
        """Return how long one is kept parked before anything was learned."""
        if not self.may_park:
            return 0.0
        if self.warmth is Warmth.PARKED:
            return float("inf")
        if self.park_timeout_s is None:
            return _PARKED_PER_IDLE * self.first_idle_s
        return self.park_timeout_s
