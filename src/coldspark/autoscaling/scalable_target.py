"""What is kept of a scalable target: one document holds it all, so that it changes as one."""

from enum import StrEnum

from msgspec import Struct

from coldspark.autoscaling.capacity import CapacityBounds, CooldownState, SuspendedScaling
from coldspark.autoscaling.causes import Registered, ScalingCause, ScalingChange
from coldspark.fleet.step_scaling import StepAdjustments
from coldspark.platform.metric_ports import Metric
from coldspark.spec.types import EndpointName, VariantName


class ScalableDimension(StrEnum):
    """What of a variant is scaled."""

    CONCURRENCY = "concurrency"
    """How many requests find a ready slot: the fewest replicas, in slots."""
    REPLICAS = "replicas"
    """How many replicas there are, the fewest and the most."""
    COPIES = "copies"
    """The same of a component: its replicas are called copies."""

    @property
    def is_replicas(self) -> bool:
        """Return whether capacity counts replicas, not slots."""
        return self is not ScalableDimension.CONCURRENCY


class PredefinedMetric(StrEnum):
    """The metrics that a policy may track by a name of their own."""

    UTILIZATION = "utilization"
    """The share of provisioned slots in use."""
    INVOCATIONS = "invocations"
    """Requests a minute for each replica."""
    CONCURRENCY = "concurrency"
    """Requests at once for each replica."""
    COPY_INVOCATIONS = "copy_invocations"
    COPY_CONCURRENCY = "copy_concurrency"


class TargetId(Struct, frozen=True, kw_only=True):
    """Which target."""

    endpoint: EndpointName
    variant: VariantName
    dimension: ScalableDimension

    def __str__(self) -> str:
        """Return the path of what is scaled."""
        if self.dimension is ScalableDimension.COPIES:
            return f"inference-component/{self.variant}"
        return f"endpoint/{self.endpoint}/variant/{self.variant}"

    @property
    def key(self) -> str:
        """Return the name under which it is stored."""
        return f"{self}/{self.dimension}"


class TrackedMetric(Struct, frozen=True, kw_only=True):
    """Which metric a policy tracks, and how it is read."""

    metric: Metric
    statistic: str
    unit: str | None = None
    predefined: PredefinedMetric | None = None
    """None: the caller named the metric."""
    period_s: int = 60
    is_zero_without_data: bool = False
    """Nothing measured is nothing there: it is derived from requests."""


class TrackingPolicy(Struct, frozen=True, kw_only=True):
    """Keep a metric at its target."""

    tracked: TrackedMetric
    target: float
    out_cooldown_s: int | None = None
    in_cooldown_s: int | None = None
    is_in_disabled: bool | None = None
    """None: not said, so it goes in."""
    alarms: tuple[str, ...] = ()
    """Names of the alarm over the target, and of the one well under it."""


class StepPolicy(Struct, frozen=True, kw_only=True):
    """Change capacity by a step, while an alarm that names the policy is in ALARM."""

    steps: StepAdjustments
    has_magnitude: bool = False
    cooldown_s: int | None = None
    aggregation: str | None = None
    """``Average``, ``Minimum`` or ``Maximum`` of the alarm's data points."""


class ScalingPolicy(Struct, frozen=True, kw_only=True):
    """A scaling policy."""

    name: str
    id: str
    created_ms: int
    tracking: TrackingPolicy | None = None
    step: StepPolicy | None = None


class ScheduledAction(Struct, frozen=True, kw_only=True):
    """New bounds at times."""

    name: str
    id: str
    schedule: str
    """``at(…)``, ``rate(…)`` or ``cron(…)``."""
    time_zone: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    least: int | None = None
    most: int | None = None
    created_ms: int
    done_ms: int
    """Up to when its times have been evaluated."""


class ActivityStatus(StrEnum):
    """How an activity stands."""

    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    OVERRIDDEN = "Overridden"
    FAILED = "Failed"


class ScalingActivity(Struct, frozen=True, kw_only=True):
    """Something that was done to a target, and why."""

    id: str
    change: ScalingChange
    cause: ScalingCause
    start_ms: int
    end_ms: int | None = None
    status: ActivityStatus = ActivityStatus.IN_PROGRESS
    failure: str | None = None
    """Why it failed, where the platform said."""


class ScalableTarget(Struct, frozen=True, kw_only=True):
    """A scalable target, with all that belongs to it."""

    place: TargetId
    id: str
    created_ms: int
    endpoint_ms: int
    """When its endpoint was created: another one of the same name is another one."""
    bounds: CapacityBounds
    capacity: int
    """What was set last."""
    own: tuple[int, int]
    """The variant's own fewest and most replicas when the capacity was taken from there."""
    cause: ScalingCause = Registered()
    """Why the capacity is what it is."""
    suspended: SuspendedScaling = SuspendedScaling()
    role: str | None = None
    cooldown: CooldownState = CooldownState()
    moved_ms: int = 0
    """When the capacity changed last: older measurements are of another capacity."""
    policies: tuple[ScalingPolicy, ...] = ()
    actions: tuple[ScheduledAction, ...] = ()
    activities: tuple[ScalingActivity, ...] = ()
    """The newest last."""
    tags: tuple[tuple[str, str], ...] = ()

    def policy(self, name: str) -> ScalingPolicy | None:
        """Return a policy by its name."""
        return next((one for one in self.policies if one.name == name), None)

    def action(self, name: str) -> ScheduledAction | None:
        """Return a scheduled action by its name."""
        return next((one for one in self.actions if one.name == name), None)
