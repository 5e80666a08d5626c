"""Price books: what a cloud, or the node itself, charges for usage. All of it is data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

CPU = "CPU"
"""Where a book keeps the rate of what runs without a GPU."""


class PriceBookKind(StrEnum):
    """How a book turns usage into money."""

    ALLOCATED = "allocated"
    """The machine's own bill, split as the meter recorded it."""
    METERED = "metered"
    """Rates times quantities, as a cloud does it."""
    INSTANCES = "instances"
    """Whole instances by the hour, used or not."""


class Component(StrEnum):
    """What a line of a bill is for."""

    BUSY = "busy"
    STARTING = "starting"
    IDLE = "idle"
    OVERHEAD = "overhead"
    PROVISIONED = "provisioned concurrency"
    INVOCATIONS = "invocations"
    COMPUTE = "compute"
    TRANSFER = "data transfer"
    DEDICATED = "dedicated instance"


class BilledTime(StrEnum):
    """Which time a metered book calls compute."""

    BUSY = "busy"
    """Only while a request runs."""
    STARTED = "started"
    """Starting and running, not idle."""
    HELD = "held"
    """From start to stop: starting, running and idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRates:
    """One type's rates in nano-dollars; None where the book has none."""

    invocation_nanos: int | None = None
    compute_hour_nanos: int | None = None
    provisioned_hour_nanos: int | None = None
    """For one slot that is kept warm, an hour."""
    gigabyte_nanos: int | None = None
    memory_hour_nanos: int | None = None
    """For an hour with one GiB of memory, where compute is billed by memory."""
    memory_bytes_max: int | None = None
    """The most that can be had."""
    estimated: tuple[Component, ...] = ()
    """Components whose rate was derived, not published."""

    def of(self, component: Component) -> int | None:
        """Return the rate of one component."""
        return {
            Component.INVOCATIONS: self.invocation_nanos,
            Component.COMPUTE: self.compute_hour_nanos,
            Component.PROVISIONED: self.provisioned_hour_nanos,
            Component.TRANSFER: self.gigabyte_nanos,
        }.get(component)


@dataclass(frozen=True, slots=True, kw_only=True)
class RentedInstance:
    """A whole machine that is rented by the hour."""

    name: str | None
    """As its seller calls it; None where the source does not say."""
    gpus: int
    hour_nanos: int
    is_estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A figure of the source that does not follow from the source's own inputs."""

    figure: str
    printed: str
    computed: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """A dated set of rates with its source."""

    name: str
    title: str
    kind: PriceBookKind
    as_of: str
    source: str
    components: tuple[Component, ...]
    """The components that the book charges for; the others are not part of it."""
    billed_time: BilledTime = BilledTime.BUSY
    rates: Mapping[str, DeviceRates] = field(default_factory=dict)
    """By GPU type."""
    dedicated: Mapping[str, RentedInstance] = field(default_factory=dict)
    """The smallest whole instance with such a GPU."""
    missing: Mapping[Component, str] = field(default_factory=dict)
    """Why the book has no rate for something that it charges."""
    corrections: tuple[Correction, ...] = ()
