"""The messages between the primary and a router, as records that msgspec writes and reads."""

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from coldspark.config import ServerConfig
from coldspark.fleet.fleet import EvictionCandidate
from coldspark.jobs.messages import JobId
from coldspark.node.replica_usage import ReplicaUsage
from coldspark.node.warmth import NextStart, PoolView, StartView
from coldspark.platform.metric_ports import Metric
from coldspark.platform.ports import EndpointView
from coldspark.spec.messages import NodeJoined, Reservation, ReservationRequested
from coldspark.spec.types import (
    AlarmState,
    EndpointDefinition,
    EndpointName,
    ReplicaId,
    VariantName,
)


class Welcome(Struct, frozen=True, kw_only=True, tag=True):
    """Primary: your configuration. The first message of a connection."""

    router: int
    config: ServerConfig
    node: NodeJoined
    boot: int
    instance: str
    cgroup: str
    """The primary's ``/proc/self/cgroup``, before it moved itself."""
    listeners: list[int]
    """Descriptors that callers connect to."""
    write_ends: list[int]
    """Descriptors of the write ends of all fd channels, in order."""
    read_end: int
    """The descriptor of its own channel's read end."""


class Ready(Struct, frozen=True, tag=True):
    """Router: I accept requests."""


class Drain(Struct, frozen=True, tag=True):
    """Primary: accept no more, finish what runs, and end."""


class ReservationRequest(Struct, frozen=True, tag=True):
    """Router: a replica requests a reservation. ``number`` comes back with the answer."""

    number: int
    request: ReservationRequested


class ReservationRelease(Struct, frozen=True, tag=True):
    """Router: as ``ReservationReleased``."""

    replica: ReplicaId


class ReservationYield(Struct, frozen=True, tag=True):
    """Router: as ``DevicesYielded``."""

    replica: ReplicaId


class ReservationGrant(Struct, frozen=True, tag=True):
    """Primary: the reservation for request ``number``."""

    number: int
    grant: Reservation


class ReservationRefusal(Struct, frozen=True, tag=True):
    """Primary: no node can ever hold it."""

    number: int
    replica: ReplicaId
    reason: str


class Evict(Struct, frozen=True, tag=True):
    """Primary: another replica needs this one's reservation."""

    replica: ReplicaId
    reason: str


class Shares(Struct, frozen=True, tag=True):
    """Router: my replicas' share of the node. Primary: all others' replicas' share."""

    ppm: int


class Measurement(Struct, frozen=True):
    """A value that was measured once, or ``count`` times."""

    metric: Metric
    value: float
    at_ms: int
    unit: str
    count: float


class Measurements(Struct, frozen=True, tag=True):
    """Router: a value that was measured here."""

    values: list[Measurement]


class WebhookEventsStored(Struct, frozen=True, tag=True):
    """Router: there are new webhook events on disk. The primary alone sends them."""


class BodyReleased(Struct, frozen=True, tag=True):
    """Router: an object's bytes belong to nothing any more; the primary knows who reads them."""

    body: str


class AlarmsRaised(Struct, frozen=True, tag=True):
    """Primary: these alarms are in ALARM, and no other. The second message of a connection."""

    names: list[str]


class AlarmStateChanged(Struct, frozen=True, tag=True):
    """Primary: an alarm has changed its state."""

    name: str
    state: AlarmState
    reason: str


class GetSnapshot(Struct, frozen=True, tag=True):
    """Return a ``RouterSnapshot`` of all of yours."""


class Deploy(Struct, frozen=True, tag=True):
    """Create or change an endpoint. The answer is its ``EndpointView``."""

    definition: EndpointDefinition
    raised: list[str] = []
    """Those alarms of its deployment that are in ALARM now."""


class SetScale(Struct, frozen=True, tag=True):
    """Set a variant's replica bounds. The answer is its ``EndpointView``."""

    name: EndpointName
    variant: VariantName
    replicas_min: int | None
    replicas_max: int | None
    reason: str


class Remove(Struct, frozen=True, tag=True):
    """Delete an endpoint. The answer is None."""

    name: EndpointName


class Settle(Struct, frozen=True, tag=True):
    """Ingest every line into the database. The answer is all that was charged, in nanos."""


class IngestLines(Struct, frozen=True, tag=True):
    """Ingest the lines of requests into the database, and forward metrics.

    The answer is None.
    """


class RefreshKeys(Struct, frozen=True, tag=True):
    """The API keys have changed. The answer is None, once they hold."""


class Advise(Struct, frozen=True, tag=True):
    """Return an ``EvictionCandidate`` of each replica."""


class GetStart(Struct, frozen=True, tag=True):
    """Return what a replica was started from: a ``StartView`` or None."""

    replica: ReplicaId


class MeasureReplicas(Struct, frozen=True, tag=True):
    """What do your running replicas use? The answer is a ``ReplicaUsage`` of each."""


class CancelJob(Struct, frozen=True, tag=True):
    """Cancel a job. The answer is None."""

    endpoint: EndpointName
    job: JobId


Question = (
    GetSnapshot
    | Deploy
    | SetScale
    | Remove
    | Settle
    | IngestLines
    | RefreshKeys
    | Advise
    | GetStart
    | MeasureReplicas
    | CancelJob
)


class RpcRequest(Struct, frozen=True, tag=True):
    """Primary: a request; ``RpcReply`` follows under the same number."""

    number: int
    question: Question


class RpcError(Struct, frozen=True):
    """A ``ColdsparkError`` on its way to the caller's process."""

    code: str
    message: str
    field: str | None = None


class RpcReply(Struct, frozen=True, tag=True):
    """Router: the answer, or the error."""

    number: int
    value: msgspec.Raw = msgspec.Raw(b"\xc0")
    problem: RpcError | None = None


Message = (
    Welcome
    | Ready
    | Drain
    | ReservationRequest
    | ReservationRelease
    | ReservationYield
    | ReservationGrant
    | ReservationRefusal
    | Evict
    | Shares
    | Measurements
    | WebhookEventsStored
    | BodyReleased
    | AlarmsRaised
    | AlarmStateChanged
    | RpcRequest
    | RpcReply
)


class Count(Struct, frozen=True):
    """Answers of one endpoint with one status."""

    endpoint: EndpointName
    status: int
    answers: int


class Counts(Struct, frozen=True):
    """The counters of a router since it began."""

    requests: list[Count]
    wakes: list[int]
    wake_s_sum: float


class RouterSnapshot(Struct, frozen=True):
    """A snapshot of a router."""

    views: list[EndpointView]
    warmth: list[list[NextStart]]
    """Of each view's variants, in order."""
    pool: PoolView
    counts: Counts


Advices = dict[ReplicaId, EvictionCandidate]
Start = StartView | None
Uses = list[ReplicaUsage]


def encode(value: object) -> bytes:
    """Return a record's bytes."""
    return _encoder.encode(value)


def _from_hook(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value)} is not for a link")


def to_hook(kind: type, value: Any) -> Any:
    """Decode types that msgspec does not know by itself."""
    if kind is Path:
        return Path(value)
    raise NotImplementedError(f"{kind} is not for a link")


_encoder = msgspec.msgpack.Encoder(enc_hook=_from_hook)
