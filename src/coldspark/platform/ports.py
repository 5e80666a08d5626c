"""What the rooms of the machine ask of each other: plain records, and one Protocol per neighbour.

Everything here is called on the event loop's thread. Nothing here blocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from coldspark.billing.usage import IdleUsage, Usage
from coldspark.database.records import Document as Document
from coldspark.database.records import Key as Key
from coldspark.fleet.deployment import DeploymentPhase
from coldspark.platform.body_stream import BodyStream
from coldspark.spec.messages import Reservation
from coldspark.spec.types import (
    EndpointDefinition,
    EndpointName,
    EndpointStatus,
    Exit,
    Failure,
    FleetId,
    ReplicaId,
    RequestId,
    Revision,
    RevisionId,
    VariantName,
)


class JobTerms(Struct, frozen=True, kw_only=True, gc=False):
    """What is different for a request that a job makes: nobody holds it open."""

    wait_s: float
    """How long it may wait for a replica."""
    run_s: float
    """How long the replica may work on it."""


class Invocation(Struct, frozen=True, kw_only=True, gc=False):
    """A request as a door hands it in: whole, or with a long body that is still coming."""

    endpoint: EndpointName
    variant: VariantName | None = None
    """None: the weights choose."""
    is_component: bool = False
    """The variant is asked for as a component: an endpoint that has none refuses it."""
    target: str | None = None
    """Which of an endpoint's many models."""
    method: str = "POST"
    path: str | None = None
    """For a command: the path to call, None for its ``invoke_path``."""
    content_type: str | None = None
    accept: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Passed to the replica (lower-case names), besides the two above."""
    body: bytes = b""
    """All of it, unless it streams."""
    stream: BodyStream | None = None
    """The body instead of ``body``, which is then empty."""
    key: str | None = None
    """Id of the caller's API key."""
    started_s: float
    """Monotonic seconds when the request's head was read."""
    request: RequestId
    job: JobTerms | None = None
    """None: a caller holds it open, for the endpoint's ``request_timeout_s`` at most."""


class Receipt(Struct, frozen=True, kw_only=True, gc=False):
    """What the caller is told about cost and time."""

    usage: Usage
    cost_nanos: int
    """busy_nanos, plus what the start cost that this request alone caused."""


class Sink(Protocol):
    """Where one request's reply goes. A door implements it.

    Calls come in one of three orders: ``reply``; ``begin write* end``; ``fail``.
    ``fail`` may also follow ``begin``: the stream broke.
    """

    def reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, receipt: Receipt
    ) -> None:
        """Take a whole reply."""

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Take the head of a streamed reply."""

    def write(self, chunk: bytes) -> None:
        """Take a piece of a streamed reply."""

    def end(self, receipt: Receipt) -> None:
        """Take the end of a streamed reply."""

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        """Take a failure; the receipt is None when the request was never taken."""


class ReplySink(Protocol):
    """Where an engine puts what a replica answers to one call."""

    def on_waited(self, waited_us: int) -> None:
        """Hear how long the call waited in its replica for a batch; its end comes next."""

    def on_reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, handler_us: int | None
    ) -> None:
        """Take a whole reply: it ends the call."""

    def on_head(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Take the head of a streamed reply."""

    def on_chunk(self, chunk: bytes) -> None:
        """Take a piece of a streamed reply."""

    def on_end(self, handler_us: int | None) -> None:
        """Take the end of a streamed reply: it ends the call."""

    def on_failure(self, failure: Failure) -> None:
        """Take a failure of the handler (or the word that an aborted call ended): it ends it."""


class Flow(Protocol):
    """Back-pressure for one streamed call: a slow caller slows its replica down."""

    def pause(self) -> None:
        """Ask the replica's side to stop sending."""

    def resume(self) -> None:
        """Let it send again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOrder:
    """All that an engine needs to start one replica."""

    replica: ReplicaId
    fleet: FleetId
    revision: Revision
    grant: Reservation
    environment: dict[str, str] = field(default_factory=dict)
    """Variables besides the spec's own (endpoint name, device visibility, …)."""


class EngineListener(Protocol):
    """What an engine tells the controller. Every order ends in exactly one ``on_exited``."""

    def on_fetched(self, replica: ReplicaId) -> None:
        """Model data and environment are here."""

    def on_booted(self, replica: ReplicaId) -> None:
        """The process exists and begins to load."""

    def on_ready(self, replica: ReplicaId) -> None:
        """The replica takes calls."""

    def on_parked(self, replica: ReplicaId, device_bytes: int) -> None:
        """The replica is frozen: it uses no processor and no device. ``unpark`` ends that."""

    def on_park_failed(self, replica: ReplicaId, reason: str) -> None:
        """The replica cannot be parked, and why; it takes calls as before."""

    def on_exited(self, replica: ReplicaId, exit: Exit) -> None:
        """The process is gone; every open call was failed or is void from here."""


class ParkingEngine(Protocol):
    """What an engine can do besides, that freezes replicas."""

    def park(self, replica: ReplicaId) -> None:
        """Freeze a ready replica that works on nothing; the listener gets what comes of it."""

    def unpark(self, replica: ReplicaId, grant: Reservation | None = None) -> None:
        """Thaw a parked replica in its new reservation (None: as before); ``on_ready`` follows.

        A process cannot change its devices: with others it is started anew, which takes longer.
        """


class ReplicaReader(Protocol):
    """What an engine can say besides of its replicas: the views show it."""

    def logs(self, endpoint: EndpointName, lines: int) -> list["LogLine"]:
        """Return the newest lines of an endpoint's replicas."""

    def template(self, replica: ReplicaId) -> str | None:
        """Return what a replica was started from."""


class Engine(Protocol):
    """Where replicas run. What not every engine can do is a port of its own."""

    @property
    def parking(self) -> ParkingEngine | None:
        """Return what parks replicas; None: one that would be parked is stopped instead."""

    def start(self, order: StartOrder) -> None:
        """Begin to start a replica; the listener hears what comes of it."""

    def stop(self, replica: ReplicaId, grace_s: float) -> None:
        """End a replica: SIGTERM, SIGKILL after ``grace_s``. Idempotent."""

    def call(
        self, replica: ReplicaId, invocation: Invocation, deadline_s: float, sink: ReplySink
    ) -> Flow:
        """Send a request to a ready replica."""

    def abort(self, replica: ReplicaId, request: RequestId) -> None:
        """Cancel the request in the replica; the call's sink then gets its end."""


class Ledger(Protocol):
    """Where usage is written before a reply leaves.

    What was recorded survives kill -9 on return, for as long as ``is_writable``.
    """

    @property
    def is_writable(self) -> bool:
        """Whether every line so far is on disk; if not, no more requests are to be taken."""

    def record(self, usage: Usage) -> None:
        """Journal one request's line."""

    def record_then(self, usage: Usage, done: Callable[[], None]) -> None:
        """Journal one request's line with the others of this turn of the loop, then call ``done``.

        ``done`` is never called within this call.
        """

    def record_idle(self, holdings: Sequence[IdleUsage]) -> None:
        """Journal what was held without a request."""


class Ticket(Protocol):
    """A request that was handed in."""

    @property
    def variant(self) -> VariantName | None:
        """Return which variant answers it, or None when none was to be found."""

    def cancel(self) -> None:
        """Say that the caller hung up. Idempotent, and harmless after the end."""

    def break_off(self, failure: Failure) -> None:
        """Say that the body went wrong: the sink hears this failure, the replica lets go."""

    def pause(self) -> None:
        """Say that the caller reads slowly: send no more for now."""

    def resume(self) -> None:
        """Say that the caller keeps up again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """Something the platform did of its own accord, and why."""

    at_ms: int
    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaView:
    """One replica as it is now."""

    replica: ReplicaId
    revision: RevisionId
    state: str
    running: int
    age_s: float
    idle_s: float | None
    node: str | None
    devices: tuple[str, ...]
    """Such as ``A10G`` or ``A10G (simulated)``."""
    template: str | None = None
    """How it was started: ``fork of template …``, or why it was not forked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleTransitionView:
    """A moment from which on another floor and ceiling hold."""

    at_ms: int
    min: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleBoundsView:
    """How many ready replicas there are at least and at most now."""

    min: int
    max: int
    reason: str | None
    """The window or the bound that says so; None: the policy's own."""
    next: ScaleTransitionView | None
    """None: it stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantView:
    """One variant as it is now."""

    name: VariantName
    weight: float
    revision: Revision
    status: EndpointStatus
    failure: str | None
    queued: int
    replicas: tuple[ReplicaView, ...]
    decisions: tuple[DecisionView, ...]
    """The latest, oldest first."""
    floor: ScaleBoundsView
    has_started: bool = True
    """Whether a replica of it ever became ready, since this server runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentView:
    """A change of an endpoint that is under way."""

    phase: DeploymentPhase
    share: float
    """Of the requests, that the new replicas get."""
    step: int
    """From 1."""
    steps: int
    reason: str
    """Why it is done in place, or taken back; empty otherwise."""
    is_in_place: bool
    since_ms: int
    """When its present phase or step began."""
    variants: tuple[VariantView, ...]
    """The new ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TapsView:
    """How many requests were copied to a shadow or written down, and how many were not."""

    copied: int = 0
    uncopied: tuple[tuple[str, int], ...] = ()
    """By why."""
    captured: int = 0
    uncaptured: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointView:
    """One endpoint as it is now."""

    name: EndpointName
    definition: EndpointDefinition
    status: EndpointStatus
    failure: str | None
    created_ms: int
    updated_ms: int
    variants: tuple[VariantView, ...]
    """Those that serve; while a change is under way, the former ones."""
    router: int | None = None
    """The process that owns it, where there are several."""
    shift: DeploymentView | None = None
    """The change that is under way."""
    shadows: tuple[VariantView, ...] = ()
    taken_back: tuple[tuple[VariantName, str], ...] = ()
    """Variants whose last change was taken back, and why."""
    taps: TapsView | None = None
    """Where requests are copied or written down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line that a replica printed."""

    at_ms: int
    replica: ReplicaId
    stream: str
    """``stdout``, ``stderr``, or ``coldspark`` for the platform's own remarks."""
    text: str


class Platform(Protocol):
    """What the doors call. The platform's one front."""

    def submit(self, invocation: Invocation, sink: Sink) -> Ticket:
        """Take a request; every outcome reaches the sink, also "no such endpoint"."""

    async def deploy(self, definition: EndpointDefinition) -> EndpointView:
        """Create or change an endpoint; it is durable on return.

        Raises InvalidRequest (a spec that cannot work) and NoRoom (fits no device here; the
        message names the smallest type that would hold it).
        """

    def check_capacity(self, definition: EndpointDefinition) -> None:
        """Raise the NoRoom that ``deploy`` would raise."""

    async def set_scale(
        self,
        name: EndpointName,
        variant: VariantName,
        floor: int | None,
        ceiling: int | None,
        reason: str,
    ) -> EndpointView:
        """Set how many ready replicas a variant has at least and at most; both None lifts it.

        It wins over the windows and the policy, also of revisions to come, until it is lifted, the
        variant is deleted or its process ends: it is not on disk. Applying it anew costs nothing.
        Raises NotFound and InvalidRequest.
        """

    async def remove(self, name: EndpointName) -> None:
        """Delete an endpoint: what waits is refused, what runs may finish. Raises NotFound."""

    def endpoint(self, name: EndpointName) -> EndpointView:
        """Return one endpoint. Raises NotFound."""

    def endpoints(self) -> list[EndpointView]:
        """Return all endpoints by name."""

    def logs(self, name: EndpointName, lines: int) -> list[LogLine]:
        """Return the newest lines of all replicas of an endpoint, oldest first."""


class DocumentStore(Protocol):
    """The doors' own records on disk."""

    async def create(self, door: str, kind: str, name: str, body: dict[str, object]) -> Document:
        """Store a new record. Raises AlreadyExists."""

    async def put(self, door: str, kind: str, name: str, body: dict[str, object]) -> Document:
        """Store or replace a record; ``created_ms`` is kept."""

    async def get(self, door: str, kind: str, name: str) -> Document | None:
        """Return a record, or None."""

    async def find(self, door: str, kind: str) -> list[Document]:
        """Return all records of a kind, by name."""

    async def delete(self, door: str, kind: str, name: str) -> bool:
        """Delete a record; return whether there was one."""


class ApiKeys(Protocol):
    """The API keys, in memory: checked on the hot path."""

    def is_empty(self) -> bool:
        """Return whether no key exists: then loopback callers need none."""

    def by_bearer(self, token: str) -> Key | None:
        """Return the key of a bearer token, compared in constant time."""

    def secret(self, key_id: str) -> str | None:
        """Return the secret access key for SigV4, or None for an unknown id."""

    def by_id(self, key_id: str) -> Key | None:
        """Return a key by its id."""
