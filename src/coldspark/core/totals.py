"""The ledger added up: one record per group of lines that one rate prices."""

from dataclasses import dataclass

from coldspark.core.metering import HoldingState
from coldspark.core.types import EndpointName, VariantName


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals:
    """Requests of one variant on one kind of device, added up."""

    endpoint: EndpointName
    variant: VariantName
    gpu: str | None
    """Type of the device, or None for CPU."""
    gpu_count: float
    is_simulated: bool
    requests: int
    errors: int
    """Requests that ended in a failure of the platform or the handler (``Usage.error`` is set)."""
    cold: int
    """Requests that waited for a start."""
    busy_ms: int
    duration_ms: int
    busy_nanos: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldingTotals:
    """What was held without a request, of one endpoint, device and state, added up."""

    endpoint: EndpointName | None
    """None: the machine's overhead, which belongs to no endpoint."""
    gpu: str | None
    gpu_count: float
    is_simulated: bool
    state: HoldingState
    is_provisioned: bool
    duration_ms: int
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """A stretch of the ledger, added up."""

    usages: tuple[UsageTotals, ...]
    holdings: tuple[HoldingTotals, ...]

    @property
    def nanos(self) -> int:
        """Return all that was recorded: busy, starting, idle and overhead."""
        return sum(row.busy_nanos for row in self.usages) + sum(row.nanos for row in self.holdings)
