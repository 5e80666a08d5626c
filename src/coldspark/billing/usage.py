"""Usage in integers: the records that the ledger stores.

Here are only records that are written and read; ``meter`` is what measures.
"""

from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from coldspark.spec.types import EndpointName, ReplicaId, RequestId, RevisionId, VariantName
from coldspark.spec.waterfall import Waterfall


class IdleUsageState(StrEnum):
    """What a replica, or the node, did in an interval that no request paid for."""

    STARTING = "starting"
    IDLE = "idle"
    OVERHEAD = "overhead"


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """One line of the ledger: what one request used. Integer milliseconds, bytes, nano-dollars.

    A Struct, as one is made for every request: a frozen dataclass costs five times as much.
    """

    request: RequestId
    endpoint: EndpointName
    variant: VariantName
    revision: RevisionId | None
    replica: ReplicaId | None
    """None: the request never reached one."""
    gpu: str | None
    """Type of the device, or None for CPU."""
    gpu_count: float
    """Devices held: 2.0, or 0.5 of one."""
    is_simulated: bool
    """The device was a rehearsal, not hardware."""
    arrived_ms: int
    """Wall clock, milliseconds since the epoch."""
    duration_ms: int
    """Arrival to last byte."""
    busy_ms: int
    """Forwarded to answered: the billed compute time."""
    bytes_in: int
    bytes_out: int
    status: int
    """HTTP status as sent."""
    error: str | None
    """FailureKind, or None."""
    is_cold: bool
    """The request waited for a start."""
    key: str | None
    """Id of the caller's API key."""
    busy_nanos: int
    """Its part of the machine's bill."""
    waterfall: Waterfall


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleUsage:
    """One line of the ledger: what a replica (or the machine, as overhead) cost with no request."""

    state: IdleUsageState
    endpoint: EndpointName | None
    variant: VariantName | None
    replica: ReplicaId | None
    gpu: str | None
    gpu_count: float
    is_simulated: bool
    is_provisioned: bool
    """Idle as one of ``replicas_min``."""
    from_ms: int
    to_ms: int
    """Wall clock, milliseconds since the epoch."""
    nanos: int


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
class IdleUsageTotals:
    """What was held without a request, of one endpoint, device and state, added up."""

    endpoint: EndpointName | None
    """None: the machine's overhead, which belongs to no endpoint."""
    gpu: str | None
    gpu_count: float
    is_simulated: bool
    state: IdleUsageState
    is_provisioned: bool
    duration_ms: int
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTotals:
    """The totals of an interval of the ledger."""

    usages: tuple[UsageTotals, ...]
    idle_usages: tuple[IdleUsageTotals, ...]

    @property
    def nanos(self) -> int:
        """Return all that was recorded: busy, starting, idle and overhead."""
        return sum(row.busy_nanos for row in self.usages) + sum(
            row.nanos for row in self.idle_usages
        )
