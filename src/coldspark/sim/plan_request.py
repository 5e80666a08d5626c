"""The request for a plan, and a row of the result: one way to serve the traffic."""

from dataclasses import dataclass, field

from coldspark.sim.bootstrap import SEEDS_MAX
from coldspark.sim.costs import MonthlyCost
from coldspark.sim.frontier import Objective
from coldspark.sim.simulation import Scenario, SimulationResult
from coldspark.sim.traffic import Durations, Traffic
from coldspark.spec.messages import ScaleBoundsChanged
from coldspark.spec.scaling_rules import KeepAlive
from coldspark.spec.scheduled_scaling import ScheduledWindow
from coldspark.spec.types import ScalePolicy

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """The request for a plan."""

    traffic: Traffic
    period_s: float
    gpus: tuple[str, ...]
    """Types to compare, those that fit the model; none: it runs on CPU."""
    start: Durations
    """Of a replica here, from reservation granted to ready."""
    thaw: Durations | None = None
    """None: nothing is parked here."""
    bounds: ScalePolicy = field(default_factory=lambda: ScalePolicy(replicas_max=4))
    """Min, max and concurrency for every policy and platform."""
    own_hour_nanos: int
    """What a replica's hour here costs."""
    memory_bytes: int
    """Of a replica: what is billed where memory is."""
    objective: Objective = field(default_factory=Objective)
    windows: tuple[ScheduledWindow, ...] = ()
    """Times with another ``replicas_min``."""
    bounds_changes: tuple[tuple[float, ScaleBoundsChanged], ...] = ()
    """The bounds changes of a fleet with those windows, and when."""
    seed: int = 0
    seeds: int = 1
    """How often each policy is simulated: on the traffic as it is, and on resampled copies."""
    with_break_even: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= SEEDS_MAX:
            raise ValueError(f"seeds={self.seeds} must lie in 1..{SEEDS_MAX}")

    @property
    def requests_a_day(self) -> float:
        """Return the mean."""
        return len(self.traffic) * DAY_S / self.period_s

    @property
    def wait_max_s(self) -> float:
        """Return the wait that 95 % must keep: of the bound, or of a long request's own time."""
        services = sorted(self.traffic.services_s)
        long_s = services[min(len(services) - 1, int(0.95 * len(services)))]
        bound_s = self.objective.p95_s
        return long_s if bound_s is None else max(0.0, bound_s - long_s)

    def scenario(
        self, scale: ScalePolicy, start: Durations, thaw: Durations | None = None
    ) -> Scenario:
        """Return the traffic as it is under one policy."""
        return Scenario(
            traffic=self.traffic,
            period_s=self.period_s,
            scale=scale,
            start=start,
            thaw=thaw,
            hour_nanos=self.own_hour_nanos,
            seed=self.seed,
            bounds_changes=self.bounds_changes if scale.windows else (),
        )

    def plain_scale(self) -> ScalePolicy:
        """Return bounds under a plain rule: other platforms neither learn nor park."""
        return ScalePolicy(
            replicas_max=self.bounds.replicas_max,
            concurrency=self.bounds.concurrency,
            park_timeout_s=0.0,
            rule=KeepAlive(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Where a platform begins to cost more than dedicated instances."""

    requests_a_day: float | None
    """None: nowhere in the range, and ``why`` tells on which side it stays."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """One platform with one type of device."""

    platform: str
    title: str
    as_of: str
    gpu: str | None
    result: SimulationResult | None
    """None: it was not simulated, and ``missing`` holds the reason."""
    cost: MonthlyCost | None
    replicas: int | None = None
    """Of dedicated instances: how many it takes."""
    break_even: BreakEven | None = None
    missing: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
