"""What the rooms ask of metrics and alarms."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from coldspark.spec.types import AlarmState as AlarmState

ENDPOINT_NAMESPACE = ":endpoint"
"""What is measured of endpoints. No client's namespace begins with a colon."""
REPLICA_NAMESPACE = ":replica"
"""What replicas use of their machine."""
Dimensions = tuple[tuple[str, str], ...]
"""Names and values, sorted by name."""
_SIZES = ("Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes")
_BITS = ("Bits", "Kilobits", "Megabits", "Gigabits", "Terabits")
UNITS = (
    "Seconds",
    "Microseconds",
    "Milliseconds",
    *_SIZES,
    *_BITS,
    "Percent",
    "Count",
    *(f"{size}/Second" for size in (*_SIZES, *_BITS, "Count")),
    "None",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One line of measurements: what is measured, and of what."""

    namespace: str
    """Such as ``ENDPOINT_NAMESPACE``, or a client's own."""
    name: str
    dimensions: Dimensions = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The measurements of one metric in one period."""

    at_ms: int
    """When it begins."""
    samples: float
    total: float
    least: float
    most: float
    values: tuple[tuple[float, float], ...] = ()
    """Values and how often each came, by value: what percentiles are read from."""

    @property
    def mean(self) -> float:
        """Return the average."""
        return self.total / self.samples


class Metrics(Protocol):
    """Takes measurements, for those who ask what was when."""

    def add(
        self, metric: Metric, value: float, at_ms: int, *, unit: str = "None", count: float = 1.0
    ) -> None:
        """Take a measurement: buffered, never blocks. What one request cost is in the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRule:
    """A threshold over one metric."""

    name: str
    metric: Metric
    statistic: str
    """``Average``, ``Sum``, ``Minimum``, ``Maximum``, ``SampleCount`` or ``p99``."""
    period_s: int
    evaluation_periods: int
    datapoints_to_alarm: int
    threshold: float
    comparison: str
    """Such as ``GreaterThanOrEqualToThreshold``."""
    missing: str = "missing"
    """What a period without data counts as: missing, breaching, notBreaching or ignore."""
    unit: str | None = None
    """Only what was measured in it; None: in whatever unit."""
    owner: str | None = None
    """What made it, where no caller did; its owner alone deletes it."""


OnAlarm = Callable[[str, AlarmState, str], None]
"""Takes an alarm's name, its new state and why."""


class AlarmStates(Protocol):
    """The states of alarms."""

    def state(self, name: str) -> AlarmState | None:
        """Return an alarm's state, or None where there is no such alarm."""

    def watch(self, on_alarm: OnAlarm) -> Callable[[], None]:
        """Call ``on_alarm`` at every change of state; return what ends that."""


class Alarms(AlarmStates, Protocol):
    """Alarms that are evaluated as time passes."""

    async def put(self, rule: AlarmRule) -> None:
        """Create or replace an alarm; durable on return."""

    async def drop(self, name: str) -> None:
        """Delete an alarm; one that is not there is no error."""
