"""A platform that does what a test tells it to, and the records it hands out."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from msgspec import structs

from coldspark.billing.usage import Usage
from coldspark.errors import ColdsparkError, NotFound
from coldspark.http.door import endpoint_body_bytes_max
from coldspark.platform.body_stream import BodyStream
from coldspark.platform.ports import (
    EndpointView,
    Invocation,
    LogLine,
    Receipt,
    ReplicaView,
    ScaleBoundsView,
    Sink,
    VariantView,
)
from coldspark.spec.types import (
    EndpointDefinition,
    EndpointName,
    EndpointStatus,
    Failure,
    FailureKind,
    HandlerProgram,
    Limits,
    ReplicaId,
    Revision,
    RevisionId,
    Spec,
    VariantDefinition,
    VariantName,
)
from coldspark.spec.waterfall import Waterfall

WARM = Waterfall(received_us=12, queued_us=8, inferred_us=1500, returned_us=30, unaccounted_us=150)
COLD = Waterfall(placed_us=1000, booted_us=14000, loaded_us=5000, inferred_us=2000)
REPLICA = ReplicaView(
    replica=ReplicaId("r-1"),
    revision=RevisionId("0123456789abcdef"),
    state="ready",
    running=2,
    age_s=10.0,
    idle_s=None,
    node="n-1",
    devices=("A10G (simulated)",),
)
"""It runs two requests."""


def receipt(
    invocation: Invocation,
    *,
    status: int = 200,
    cost_nanos: int = 12_345,
    waterfall: Waterfall = WARM,
    error: str | None = None,
) -> Receipt:
    """Return what the platform would say about a request."""
    return Receipt(
        usage=Usage(
            request=invocation.request,
            endpoint=invocation.endpoint,
            variant=VariantName("main"),
            revision=RevisionId("0123456789abcdef"),
            replica=ReplicaId("r-1"),
            gpu="A10G",
            gpu_count=1.0,
            is_simulated=True,
            arrived_ms=1_700_000_000_000,
            duration_ms=2,
            busy_ms=2,
            bytes_in=len(invocation.body),
            bytes_out=0,
            status=status,
            error=error,
            is_cold=waterfall.loaded_us > 0,
            key=invocation.key,
            busy_nanos=cost_nanos,
            waterfall=waterfall,
        ),
        cost_nanos=cost_nanos,
    )


@dataclass
class FakeTicket:
    """Notes what the door says of its caller."""

    invocation: Invocation
    sink: Sink
    said: list[str] = field(default_factory=list)
    on_said: Callable[[str], None] = lambda word: None
    variant: VariantName | None = None

    def cancel(self) -> None:
        """The caller hung up."""
        self._note("cancel")

    def break_off(self, failure: Failure) -> None:
        """The body went wrong."""
        self._note("break_off")
        self.sink.fail(failure, receipt(self.invocation, status=500, error=failure.kind))

    def pause(self) -> None:
        """The caller reads slowly."""
        self._note("pause")

    def resume(self) -> None:
        """The caller keeps up."""
        self._note("resume")

    def _note(self, word: str) -> None:
        self.said.append(word)
        self.on_said(word)


Script = Callable[[Invocation, Sink], None]


def echo(invocation: Invocation, sink: Sink) -> None:
    """Answer at once, inside ``submit``, with the body and its content type."""
    media = invocation.content_type or "application/octet-stream"
    sink.reply(200, [("content-type", media)], invocation.body, receipt(invocation))


def hold(invocation: Invocation, sink: Sink) -> None:
    """Leave the request open."""


def fail(kind: FailureKind, message: str = "it broke", **fields: object) -> Script:
    """Fail every request in one way."""

    def run(invocation: Invocation, sink: Sink) -> None:
        failure = Failure(kind=kind, message=message, **fields)  # type: ignore[arg-type]
        sink.fail(failure, receipt(invocation, status=500, error=kind))

    return run


class FakePlatform:
    """Implements ``Platform``. ``script`` answers what is submitted; deploys are ready at once."""

    def __init__(
        self,
        script: Script = echo,
        *,
        clock: Callable[[], int] = lambda: 1_700_000_000_000,
        replicas: tuple[ReplicaView, ...] = (REPLICA,),
    ) -> None:
        self.script = script
        self.tickets: list[FakeTicket] = []
        self.on_submit: Callable[[FakeTicket], None] = lambda ticket: None
        self.views: dict[str, EndpointView] = {}
        self.lines: list[LogLine] = []
        self.refusal: ColdsparkError | None = None
        """What the next deploys raise."""
        self._clock = clock
        self._replicas = replicas

    @property
    def invocations(self) -> list[Invocation]:
        """Return everything that was submitted."""
        return [ticket.invocation for ticket in self.tickets]

    def submit(self, invocation: Invocation, sink: Sink) -> FakeTicket:
        """Take a request."""
        ticket = FakeTicket(invocation, sink)
        self.tickets.append(ticket)
        if invocation.stream is None:
            self._answer(invocation, sink)
        else:
            invocation.stream.limit_bytes = endpoint_body_bytes_max(self, invocation.endpoint)
            self._gather(ticket, invocation.stream)
        self.on_submit(ticket)
        return ticket

    def _gather(self, ticket: FakeTicket, stream: BodyStream) -> None:
        """Answer once the body is here, as a handler does."""
        body = bytearray()

        def take() -> None:
            while piece := stream.take(2**20):
                body.extend(piece)
            if stream.is_over:
                whole = structs.replace(ticket.invocation, body=bytes(body), stream=None)
                ticket.invocation = whole
                self._answer(whole, ticket.sink)

        stream.attach(take)

    def _answer(self, invocation: Invocation, sink: Sink) -> None:
        self.script(invocation, sink)

    def check_capacity(self, definition: EndpointDefinition) -> None:
        """Raise what a deploy would."""
        if self.refusal is not None:
            raise self.refusal

    async def deploy(self, definition: EndpointDefinition) -> EndpointView:
        """Create or change an endpoint."""
        self.check_capacity(definition)
        now_ms = self._clock()
        old = self.views.get(definition.name)
        self.views[definition.name] = made = replace(
            view(definition, self._replicas),
            created_ms=old.created_ms if old else now_ms,
            updated_ms=now_ms,
        )
        return made

    def become(self, name: str, status: EndpointStatus, failure: str | None = None) -> None:
        """Change what an endpoint and all its variants are."""
        old = self.views[name]
        variants = tuple(replace(one, status=status, failure=failure) for one in old.variants)
        self.views[name] = replace(old, status=status, failure=failure, variants=variants)

    async def set_scale(
        self,
        name: EndpointName,
        variant: VariantName,
        floor: int | None,
        ceiling: int | None,
        reason: str,
    ) -> EndpointView:
        """Show the floor and the ceiling that were set."""
        old = self.endpoint(name)
        variants = tuple(
            replace(
                one,
                floor=ScaleBoundsView(min=floor or 0, max=ceiling or 1, reason=reason, next=None),
            )
            if one.name == variant
            else one
            for one in old.variants
        )
        self.views[name] = replace(old, variants=variants)
        return self.views[name]

    async def remove(self, name: EndpointName) -> None:
        """Delete an endpoint."""
        self.endpoint(name)
        del self.views[name]

    def endpoint(self, name: EndpointName) -> EndpointView:
        """Return one endpoint."""
        if name not in self.views:
            raise NotFound(f"endpoint {name!r} does not exist")
        return self.views[name]

    def endpoints(self) -> list[EndpointView]:
        """Return all endpoints by name."""
        return [self.views[name] for name in sorted(self.views)]

    def logs(self, name: EndpointName, lines: int) -> list[LogLine]:
        """Return the newest lines."""
        self.endpoint(name)
        return self.lines[-lines:]


def definition(name: str = "churn", **limits: int) -> EndpointDefinition:
    """Return an endpoint with one variant that runs a handler."""
    spec = Spec(handler=HandlerProgram(), limits=Limits(**limits))  # type: ignore[arg-type]
    revision = Revision(id=RevisionId("0123456789abcdef"), spec=spec)
    return EndpointDefinition(
        name=EndpointName(name),
        variants=(VariantDefinition(name=VariantName("main"), revision=revision),),
    )


def view(
    definition: EndpointDefinition, replicas: tuple[ReplicaView, ...] = (REPLICA,)
) -> EndpointView:
    """Return an endpoint as the platform would show it."""
    return EndpointView(
        name=definition.name,
        definition=definition,
        status=EndpointStatus.READY,
        failure=None,
        created_ms=1_700_000_000_000,
        updated_ms=1_700_000_000_000,
        variants=tuple(
            VariantView(
                name=variant.name,
                weight=variant.weight,
                revision=variant.revision,
                status=EndpointStatus.READY,
                failure=None,
                queued=3,
                replicas=replicas,
                decisions=(),
                floor=ScaleBoundsView(
                    min=variant.revision.spec.scale.replicas_min,
                    max=variant.revision.spec.scale.replicas_max,
                    reason=None,
                    next=None,
                ),
            )
            for variant in definition.variants
        ),
    )
