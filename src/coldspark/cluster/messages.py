"""What the lead and a router say to each other, as records that msgspec writes and reads."""

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
    """Lead: who you are. The first word on a link."""

    router: int
    config: ServerConfig
    node: NodeJoined
    boot: int
    instance: str
    cgroup: str
    """The lead's ``/proc/self/cgroup``, before it moved itself."""
    listeners: list[int]
    """Descriptors that callers connect to."""
    inlets: list[int]
    """Descriptors that lead to each router's mailbox, in order."""
    outlet: int
    """The descriptor of its own mailbox."""


class Ready(Struct, frozen=True, tag=True):
    """Router: I take requests."""


class Drain(Struct, frozen=True, tag=True):
    """Lead: take no more, finish what runs, and end."""


class ReservationRequest(Struct, frozen=True, tag=True):
    """Router: a replica wants room. ``number`` comes back with the answer."""

    number: int
    asked: ReservationRequested


class ReservationRelease(Struct, frozen=True, tag=True):
    """Router: as ``ReservationReleased``."""

    replica: ReplicaId


class ReservationYield(Struct, frozen=True, tag=True):
    """Router: as ``DevicesYielded``."""

    replica: ReplicaId


class ReservationGrant(Struct, frozen=True, tag=True):
    """Lead: the room that ask ``number`` was for."""

    number: int
    grant: Reservation


class ReservationRefusal(Struct, frozen=True, tag=True):
    """Lead: there never is such room."""

    number: int
    replica: ReplicaId
    reason: str


class Evict(Struct, frozen=True, tag=True):
    """Lead: somebody else needs this replica's room."""

    replica: ReplicaId
    reason: str


class Shares(Struct, frozen=True, tag=True):
    """Router: what my replicas hold of the machine. Lead: what all others' replicas hold."""

    ppm: int


class Measurement(Struct, frozen=True):
    """A value that was measured once, or ``count`` times."""

    metric: Metric
    value: float
    at_ms: int
    unit: str
    count: float


class Measurements(Struct, frozen=True, tag=True):
    """Router: this was measured here."""

    values: list[Measurement]


class WebhookEventsStored(Struct, frozen=True, tag=True):
    """Router: there are new notices on disk. The lead alone sends them."""


class BodyReleased(Struct, frozen=True, tag=True):
    """Router: an object's bytes belong to nothing any more; you know who still reads them."""

    body: str


class AlarmsRaised(Struct, frozen=True, tag=True):
    """Lead: these alarms are in ALARM, and no other. The second word on a link."""

    names: list[str]


class AlarmStateChanged(Struct, frozen=True, tag=True):
    """Lead: an alarm has changed its state."""

    name: str
    state: AlarmState
    reason: str


class GetSnapshot(Struct, frozen=True, tag=True):
    """How is all of yours? The answer is a ``RouterSnapshot``."""


class Deploy(Struct, frozen=True, tag=True):
    """Create or change an endpoint. The answer is its ``EndpointView``."""

    definition: EndpointDefinition
    raised: list[str] = []
    """Those alarms of its change that are in ALARM now."""


class SetScale(Struct, frozen=True, tag=True):
    """Set a variant's floor and ceiling. The answer is its ``EndpointView``."""

    name: EndpointName
    variant: VariantName
    floor: int | None
    ceiling: int | None
    reason: str


class Remove(Struct, frozen=True, tag=True):
    """Delete an endpoint. The answer is None."""

    name: EndpointName


class Settle(Struct, frozen=True, tag=True):
    """Bring every line into the database. The answer is all that was charged, in nanos."""


class IngestLines(Struct, frozen=True, tag=True):
    """Bring the lines of requests into the database, and tell what was measured.

    The answer is None.
    """


class RefreshKeys(Struct, frozen=True, tag=True):
    """The API keys have changed. The answer is None, once they hold."""


class Advise(Struct, frozen=True, tag=True):
    """What may placement know of your replicas? The answer is an ``Advice`` of each."""


class GetStart(Struct, frozen=True, tag=True):
    """What was a replica started from? The answer is a ``StartView`` or None."""

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
    """Lead: a question; ``RpcReply`` follows under the same number."""

    number: int
    question: Question


class RpcError(Struct, frozen=True):
    """A ``ColdsparkError`` on its way to the caller's process."""

    code: str
    message: str
    field: str | None = None


class RpcReply(Struct, frozen=True, tag=True):
    """Router: the answer, or why there is none."""

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
    """What a router answered since it began."""

    requests: list[Count]
    wakes: list[int]
    wake_s_sum: float


class RouterSnapshot(Struct, frozen=True):
    """All of a router, at a moment."""

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
    """Read what msgspec does not know by itself."""
    if kind is Path:
        return Path(value)
    raise NotImplementedError(f"{kind} is not for a link")


_encoder = msgspec.msgpack.Encoder(enc_hook=_from_hook)
