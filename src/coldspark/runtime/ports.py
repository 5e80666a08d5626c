"""What the rooms of the machine ask of each other: plain records, and one Protocol per neighbour.

Everything here is called on the event loop's thread. Nothing here blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from coldspark.core.messages import Grant
from coldspark.core.metering import Holding, Usage
from coldspark.core.types import (
    EndpointName,
    Exit,
    Failure,
    FleetId,
    ReplicaId,
    RequestId,
    Revision,
    VariantName,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A request as a door hands it in, whole."""

    endpoint: EndpointName
    variant: VariantName | None = None
    """None: the weights choose."""
    method: str = "POST"
    path: str | None = None
    """For a command: the path to call, None for its ``invoke_path``."""
    content_type: str | None = None
    accept: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Passed to the replica (lower-case names), besides the two above."""
    body: bytes = b""
    key: str | None = None
    """Id of the caller's API key."""
    started_s: float
    """Monotonic seconds when the request's head was read."""
    request: RequestId


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
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
        """Take a failure; the receipt is None when the endpoint does not exist."""


class ReplySink(Protocol):
    """Where an engine puts what a replica answers to one call."""

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
    grant: Grant
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

    def on_exited(self, replica: ReplicaId, exit: Exit) -> None:
        """The process is gone; every open call was failed or is void from here."""


class Engine(Protocol):
    """Where replicas run."""

    def start(self, order: StartOrder) -> None:
        """Begin to start a replica; the listener hears what comes of it."""

    def stop(self, replica: ReplicaId, grace_s: float) -> None:
        """End a replica: SIGTERM, SIGKILL after ``grace_s``. Idempotent."""

    def call(
        self, replica: ReplicaId, invocation: Invocation, deadline_s: float, sink: ReplySink
    ) -> Flow:
        """Send a request to a ready replica."""

    def abort(self, replica: ReplicaId, request: RequestId) -> None:
        """Ask the replica to give the request up; the call's sink then hears its end."""

    def log_tail(self, replica: ReplicaId, lines: int) -> tuple[str, ...]:
        """Return the last lines of a replica, living or recently ended."""


class Ledger(Protocol):
    """Where usage is written before a reply leaves. Both calls survive kill -9 on return."""

    def record(self, usage: Usage) -> None:
        """Journal one request's line."""

    def hold(self, holdings: Sequence[Holding]) -> None:
        """Journal what was held without a request."""
