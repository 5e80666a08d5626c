"""A platform, documents and keys in memory that obey the ports, for the AWS door's tests."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from coldspark.core.metering import Usage
from coldspark.core.types import (
    EndpointDefinition,
    EndpointName,
    EndpointStatus,
    Failure,
    FailureKind,
    VariantName,
)
from coldspark.core.waterfall import Waterfall
from coldspark.errors import AlreadyExists, ColdsparkError, NotFound
from coldspark.runtime.ports import (
    Document,
    EndpointView,
    Invocation,
    Key,
    LogLine,
    Receipt,
    Sink,
    Ticket,
    VariantView,
)


class Clock:
    """Wall milliseconds that move on by one second each time they are read."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        self.now_ms += 1_000
        return self.now_ms


class FakeDocuments:
    """Documents in a dictionary."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.rows: dict[tuple[str, str, str], Document] = {}

    async def create(self, door: str, kind: str, name: str, body: dict[str, object]) -> Document:
        if (door, kind, name) in self.rows:
            raise AlreadyExists(f"{kind} {name} exists")
        return await self.put(door, kind, name, body)

    async def put(self, door: str, kind: str, name: str, body: dict[str, object]) -> Document:
        now_ms = self._clock()
        old = self.rows.get((door, kind, name))
        document = Document(
            door=door,
            kind=kind,
            name=name,
            body=body,
            created_ms=old.created_ms if old else now_ms,
            updated_ms=now_ms,
        )
        self.rows[door, kind, name] = document
        return document

    async def get(self, door: str, kind: str, name: str) -> Document | None:
        return self.rows.get((door, kind, name))

    async def find(self, door: str, kind: str) -> list[Document]:
        keys = sorted(key for key in self.rows if key[:2] == (door, kind))
        return [self.rows[key] for key in keys]

    async def delete(self, door: str, kind: str, name: str) -> bool:
        return self.rows.pop((door, kind, name), None) is not None


class FakeKeys:
    """Keys with secrets that a test can read."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys = {key.id: key for key in keys}

    def is_empty(self) -> bool:
        return not self._keys

    def by_bearer(self, token: str) -> Key | None:
        prefix, _, key_id = token.partition("_")
        return self._keys.get(key_id) if prefix == "csk" else None

    def secret(self, key_id: str) -> str | None:
        return f"secret-of-{key_id}" if key_id in self._keys else None

    def by_id(self, key_id: str) -> Key | None:
        return self._keys.get(key_id)


class _Ticket:
    """A request that is over before its caller could give it up."""

    def cancel(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


@dataclass(frozen=True)
class Reply:
    """What a replica answers."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


Script = Callable[[Invocation], Reply | Failure]


def echo(invocation: Invocation) -> Reply:
    """Answer with the body, its content type and its custom attributes."""
    headers = [("content-type", invocation.content_type or "application/octet-stream")]
    return Reply(200, [*headers, *invocation.headers], invocation.body)


class FakePlatform:
    """Endpoints that are ready as soon as they are deployed, and answer by script."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.views: dict[EndpointName, EndpointView] = {}
        self.script: Script = echo
        self.refusal: ColdsparkError | None = None
        """What the next deploys raise."""
        self.invocations: list[Invocation] = []

    async def deploy(self, definition: EndpointDefinition) -> EndpointView:
        if self.refusal is not None:
            raise self.refusal
        now_ms = self._clock()
        old = self.views.get(definition.name)
        self.views[definition.name] = view = EndpointView(
            name=definition.name,
            definition=definition,
            status=EndpointStatus.READY,
            failure=None,
            created_ms=old.created_ms if old else now_ms,
            updated_ms=now_ms,
            variants=tuple(
                VariantView(
                    name=variant.name,
                    weight=variant.weight,
                    revision=variant.revision,
                    status=EndpointStatus.READY,
                    failure=None,
                    queued=0,
                    replicas=(),
                    decisions=(),
                )
                for variant in definition.variants
            ),
        )
        return view

    async def remove(self, name: EndpointName) -> None:
        self.endpoint(name)
        del self.views[name]

    def endpoint(self, name: EndpointName) -> EndpointView:
        if name not in self.views:
            raise NotFound(f"endpoint {name!r} does not exist")
        return self.views[name]

    def endpoints(self) -> list[EndpointView]:
        return [self.views[name] for name in sorted(self.views)]

    def logs(self, name: EndpointName, lines: int) -> list[LogLine]:
        return []

    def become(self, name: str, status: EndpointStatus, failure: str | None = None) -> None:
        """Change what an endpoint and all its variants are."""
        view = self.views[EndpointName(name)]
        variants = tuple(replace(one, status=status, failure=failure) for one in view.variants)
        self.views[view.name] = replace(view, status=status, failure=failure, variants=variants)

    def submit(self, invocation: Invocation, sink: Sink) -> Ticket:
        self.invocations.append(invocation)
        if invocation.endpoint not in self.views:
            failure = Failure(kind=FailureKind.ENDPOINT_RETIRED, message="no such endpoint")
            sink.fail(failure, None)
            return _Ticket()
        answer = self.script(invocation)
        if isinstance(answer, Failure):
            sink.fail(answer, self._receipt(invocation))
        else:
            receipt = self._receipt(invocation)
            sink.reply(answer.status, answer.headers, answer.body, receipt)
        return _Ticket()

    def _receipt(self, invocation: Invocation) -> Receipt:
        variant = self.views[invocation.endpoint].variants[0].name
        return Receipt(usage=_usage(invocation, variant), cost_nanos=1)


def _usage(invocation: Invocation, variant: VariantName) -> Usage:
    return Usage(
        request=invocation.request,
        endpoint=invocation.endpoint,
        variant=variant,
        revision=None,
        replica=None,
        gpu=None,
        gpu_count=0.0,
        is_simulated=False,
        arrived_ms=0,
        duration_ms=1,
        busy_ms=1,
        bytes_in=len(invocation.body),
        bytes_out=0,
        status=200,
        error=None,
        is_cold=False,
        key=invocation.key,
        busy_nanos=1,
        waterfall=Waterfall(),
    )
