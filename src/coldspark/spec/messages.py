"""Events (past tense) and effects (imperative) of a fleet and of placement.

The three that every warm request needs are Structs: they are made in a third of the time.
"""

from dataclasses import dataclass

from msgspec import Struct

from coldspark.spec.types import (
    DeviceId,
    Exit,
    Failure,
    FleetId,
    NodeId,
    ReplicaId,
    RequestId,
    Resources,
    Revision,
)


class RequestArrived(Struct, frozen=True, gc=False):
    """A caller holds a request open until ``deadline_s`` (monotonic seconds)."""

    request: RequestId
    deadline_s: float
    size_bytes: int = 0
    target: str | None = None
    """Which of many models it is for."""
    run_s: float | None = None
    """The deadline becomes this much from when a replica takes it; None: it stays."""


@dataclass(frozen=True, slots=True)
class RequestCancelled:
    """The caller disconnected."""

    request: RequestId


class RequestFinished(Struct, frozen=True, gc=False):
    """The replica has finished the request, well or badly, or has aborted it."""

    request: RequestId


@dataclass(frozen=True, slots=True)
class BacklogChanged:
    """So many jobs wait to be submitted as requests, behind those that were."""

    jobs: int


@dataclass(frozen=True, slots=True)
class ReservationGranted:
    """Placement has reserved devices and memory for the replica."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class ReservationRefused:
    """No node can ever hold the replica."""

    replica: ReplicaId
    reason: str


@dataclass(frozen=True, slots=True)
class EvictionRequested:
    """Another replica needs the reservation."""

    replica: ReplicaId
    reason: str


@dataclass(frozen=True, slots=True)
class ReplicaReady:
    """The replica has loaded and takes requests."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class ReplicaParked:
    """The replica is frozen: it uses no processor and no device, only host memory."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class ParkFailed:
    """The replica cannot be parked, and why; it runs as before."""

    replica: ReplicaId
    reason: str


@dataclass(frozen=True, slots=True)
class ReplicaExited:
    """The replica's process is gone, for whatever reason."""

    replica: ReplicaId
    exit: Exit


@dataclass(frozen=True, slots=True)
class ScaleBoundsChanged:
    """The bounds of the ready replicas, from now on.

    None is the policy's own. It holds until the next one, also for revisions to come.
    """

    replicas_min: int | None
    replicas_max: int | None
    reason: str

    def __post_init__(self) -> None:
        if self.replicas_min is not None and self.replicas_min < 0:
            raise ValueError(f"floor={self.replicas_min} must not be negative")
        if (
            self.replicas_max is not None
            and not max(1, self.replicas_min or 0) <= self.replicas_max <= 10_000
        ):
            raise ValueError(
                f"ceiling={self.replicas_max} must lie in {max(1, self.replicas_min or 0)}..10000"
            )


@dataclass(frozen=True, slots=True)
class RevisionAdopted:
    """Another revision is desired, or the same one under other limits."""

    revision: Revision
    bounds_change: ScaleBoundsChanged | None = None
    """The replica bounds with it, where they change."""


@dataclass(frozen=True, slots=True)
class Retired:
    """The endpoint was deleted: finish what runs, refuse what waits, stop everything."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """The time that the fleet asked for by ``WakeAt`` has come."""


RareEvent = (
    RequestCancelled
    | BacklogChanged
    | ReservationGranted
    | ReservationRefused
    | EvictionRequested
    | ReplicaReady
    | ReplicaParked
    | ParkFailed
    | ReplicaExited
    | ScaleBoundsChanged
    | RevisionAdopted
    | Retired
    | Ticked
)
"""All but the two that every request needs."""

FleetEvent = RequestArrived | RequestFinished | RareEvent


class Forward(Struct, frozen=True, gc=False):
    """Send the request to the replica now."""

    request: RequestId
    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class Reject:
    """Fail the request. It has left the fleet."""

    request: RequestId
    failure: Failure


@dataclass(frozen=True, slots=True)
class Abort:
    """Have the replica abort the request; ``RequestFinished`` follows when it has."""

    request: RequestId
    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class RequestReservation:
    """Request devices and memory; ``ReservationGranted`` or ``ReservationRefused`` follows."""

    replica: ReplicaId
    revision: Revision
    reason: str


@dataclass(frozen=True, slots=True)
class StartReplica:
    """Start the replica in its reservation; ``ReplicaReady`` or ``ReplicaExited`` follows."""

    replica: ReplicaId
    revision: Revision


@dataclass(frozen=True, slots=True)
class ParkReplica:
    """Freeze the idle replica; ``ReplicaParked``, ``ParkFailed`` or ``ReplicaExited`` follows."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class UnparkReplica:
    """Thaw the parked replica in its new reservation; ``ReplicaReady`` or its exit follows."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class YieldDevices:
    """Release the replica's devices, or withdraw its request for them; it keeps its memory."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class StopReplica:
    """End the replica: SIGTERM, then SIGKILL after ``grace_s``; ``ReplicaExited`` follows."""

    replica: ReplicaId
    grace_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class ReleaseReservation:
    """Release the replica's reservation, or withdraw its request."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class RolledOut:
    """The revision serves alone now."""

    revision: Revision


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The update failed; this revision serves on."""

    revision: Revision
    reason: str


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send ``Ticked`` at this time. A later effect with another time replaces it."""

    at_s: float


RareEffect = (
    Reject
    | Abort
    | RequestReservation
    | StartReplica
    | ParkReplica
    | UnparkReplica
    | YieldDevices
    | StopReplica
    | ReleaseReservation
    | RolledOut
    | RolledBack
)
"""All but the two that may come of every request."""

FleetEffect = Forward | WakeAt | RareEffect


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One GPU of a node."""

    id: DeviceId
    type: str
    memory_bytes: int
    is_simulated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeJoined:
    """A node offers its devices and memory."""

    node: NodeId
    memory_bytes: int
    vcpus: float
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeLeft:
    """A node is gone, and all that ran there with it."""

    node: NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationRequested:
    """A fleet requests a reservation for a replica."""

    replica: ReplicaId
    fleet: FleetId
    resources: Resources
    is_low_priority: bool = False
    """It takes spare capacity alone, and evicts nobody."""


@dataclass(frozen=True, slots=True)
class ReservationReleased:
    """The replica is gone, or its fleet no longer needs the reservation."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class DevicesYielded:
    """A parked replica needs no devices any more; its memory may be reclaimed at any time."""

    replica: ReplicaId
    device_bytes: int = 0
    """What was on its devices and lies in the host's memory now, beside its own."""


PlacementEvent = (
    NodeJoined | NodeLeft | ReservationRequested | ReservationReleased | DevicesYielded | Ticked
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """The node, devices and memory reserved for a replica."""

    replica: ReplicaId
    node: NodeId
    devices: tuple[Device, ...] = ()
    fraction: float = 1.0
    """Share of the one device, by memory; 1.0 is whole devices."""


@dataclass(frozen=True, slots=True)
class GrantReservation:
    """Answer a request with its reservation."""

    reservation: Reservation


@dataclass(frozen=True, slots=True)
class RefuseReservation:
    """Answer that no node can ever hold the replica."""

    replica: ReplicaId
    reason: str


@dataclass(frozen=True, slots=True)
class RequestEviction:
    """Ask the victim's fleet to release its reservation."""

    replica: ReplicaId
    reason: str


PlacementEffect = GrantReservation | RefuseReservation | RequestEviction | WakeAt
