"""The native API's bodies, as types: what is read is checked by them, OpenAPI is made of them."""

import msgspec

from coldspark.jobs.messages import JobState
from coldspark.jobs.ports import StoredJob
from coldspark.spec.types import EndpointStatus, Warmth


class StrictBody(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A body that is read strictly: an unknown field is refused."""


class HandlerBody(StrictBody):
    """A Python file with handler functions (``model_fn``, ``predict_fn``, …)."""

    program: str = "inference.py"
    requirements: list[str] = []
    overrides: list[str] = []


class CommandBody(StrictBody):
    """Any HTTP server; it binds the port in ``$PORT``."""

    argv: list[str]
    ping_path: str = "/ping"
    invoke_path: str = "/invocations"
    park_path: str | None = None
    unpark_path: str | None = None
    requirements: list[str] = []
    overrides: list[str] = []


class WindowBody(StrictBody, kw_only=True):
    """A time of the week at which another floor holds."""

    cron: str
    """When it begins: minute, hour, day of the month, month, day of the week."""
    time_zone: str = "UTC"
    lasts_s: float
    min: int
    max: int | None = None
    """None: the policy's own."""


Plain = bool | int | float | str
Fields = dict[str, str | int | float | None]
"""A rule's settings, or a window."""


class ScaleBody(StrictBody):
    """How many replicas there are, and for how long an idle one is kept."""

    min: int = 0
    max: int = 1
    concurrency: int | None = None
    """1 unless it is given; with batching, twice ``batch_size_max``."""
    batch_size_max: int = 1
    batch_wait_s: float | None = None
    idle_timeout_s: float | None = None
    """None: learned from the gaps between requests."""
    park_timeout_s: float | None = None
    """None: learned, or five times a given ``idle_timeout_s``. 0: never parked."""
    warmth: Warmth | None = None
    """The rung that idle replicas go down to and stay on; None: as long on each as pays."""
    wait_value: float = 10.0
    """What a second of a caller's waiting is worth, in seconds of a ready replica."""
    patience_s: float | None = None
    """Whoever would wait for longer gets a replica started. None: starts alone that pay."""
    rule: str | dict[str, str | float] = "learned"
    """A rule's name, or a table of ``name`` and settings, as ``{"name": "knative", "target": 1}``.

    The names: learned, keep-alive, histogram, knative, ray-serve, queue-delay, request-count,
    target-tracking.
    """
    waste_budget: float = 0.0
    failed_starts_max: int = 3
    windows: list[WindowBody] = []
    """Of those that are open at a time, the one with the highest ``min`` holds."""


class LimitsBody(StrictBody):
    """The bounds of one variant."""

    queue_max: int = 1_000
    queue_bytes_max: int = 256 * 1024**2
    body_bytes_max: int = 64 * 1024**2
    request_timeout_s: float = 600.0
    start_timeout_s: float = 600.0
    stop_grace_s: float = 10.0
    log_bytes_max: int = 16 * 1024**2
    processes_max: int = 256


class VariantBody(StrictBody, kw_only=True):
    """What one variant runs: either ``handler`` or ``command``."""

    name: str = "main"
    weight: float = 1.0
    handler: HandlerBody | str | None = None
    """The short form is the program's name."""
    command: CommandBody | list[str] | None = None
    """The short form is the words of the command."""
    code: str | None = None
    """SHA-256 of an uploaded archive."""
    model: str | None = None
    """``file:///…``, ``s3://…`` or ``artifact:<sha256>``."""
    gpu: str | list[str] | None = None
    """``A10G``, ``A100:4``, ``A10G/0.5``, ``L4,A10G``; none means CPU."""
    gpu_memory: int | str | None = None
    """Bytes, or such as ``15GB``."""
    memory: int | str = 1024**3
    vcpus: float = 1.0
    scale: ScaleBody = msgspec.field(default_factory=ScaleBody)
    limits: LimitsBody = msgspec.field(default_factory=LimitsBody)
    environment: dict[str, str] = {}


class DefinitionBody(VariantBody, kw_only=True):
    """What an endpoint shall be: one variant in short form, or ``variants``."""

    variants: list[VariantBody] | None = None


class ReplicaBody(msgspec.Struct):
    """One replica as it is now."""

    replica: str
    revision: str
    state: str
    running: int
    age_s: float
    idle_s: float | None
    node: str | None
    devices: list[str]
    template: str | None


class DecisionBody(msgspec.Struct):
    """Something the platform did of its own accord, and why."""

    at_ms: int
    what: str
    reason: str


class EdgeBody(msgspec.Struct):
    """A moment from which on another floor and ceiling hold."""

    at_ms: int
    min: int
    max: int


class FloorBody(msgspec.Struct):
    """How many ready replicas there are at least and at most now."""

    min: int
    max: int
    reason: str | None
    """The window that says so, or who set it; null: the policy's own ``min`` and ``max``."""
    next: EdgeBody | None
    """Null: it stays."""


class VariantState(msgspec.Struct, kw_only=True):
    """One variant: what it runs, and how it does."""

    name: str
    weight: float
    status: EndpointStatus
    failure: str | None
    queued: int
    revision: str
    gpu: str | None
    gpu_memory: int | None
    memory: int
    vcpus: float
    handler: HandlerBody | None
    command: CommandBody | None
    code: str | None
    model: str | None
    scale: dict[str, int | float | str | Fields | list[Fields] | None]
    floor: FloorBody
    limits: dict[str, int | float]
    environment: dict[str, str]
    replicas: list[ReplicaBody]
    decisions: list[DecisionBody]


class EndpointBody(msgspec.Struct, kw_only=True):
    """One endpoint as it is now."""

    name: str
    status: EndpointStatus
    failure: str | None
    source: str
    """The door that defined it."""
    created_ms: int
    updated_ms: int
    router: int | None = None
    """The process that owns it, where the server has several."""
    variants: list[VariantState]


class Change(msgspec.Struct):
    """One field that a deploy would change."""

    field: str
    old: Plain | list[str | Fields] | Fields | None
    new: Plain | list[str | Fields] | Fields | None


class PlanBody(msgspec.Struct):
    """What a deploy would do."""

    action: str
    """``create``, ``update`` or ``unchanged``."""
    changes: list[Change]
    warnings: list[str]


class ArtifactBody(msgspec.Struct):
    """A stored archive."""

    id: str


class LogLineBody(msgspec.Struct):
    """One line that a replica printed."""

    at_ms: int
    replica: str
    stream: str
    text: str


class LogsBody(msgspec.Struct):
    """The newest lines, oldest first."""

    lines: list[LogLineBody]


class WaterfallBody(msgspec.Struct):
    """Where a request's time went, in microseconds."""

    received_us: int
    queued_us: int
    placed_us: int
    fetched_us: int
    booted_us: int
    loaded_us: int
    inferred_us: int
    returned_us: int
    unaccounted_us: int


class UsageBody(msgspec.Struct, kw_only=True):
    """One line of the ledger."""

    request: str
    endpoint: str
    variant: str
    revision: str | None
    replica: str | None
    gpu: str | None
    gpu_count: float
    is_simulated: bool
    arrived_ms: int
    duration_ms: int
    busy_ms: int
    bytes_in: int
    bytes_out: int
    status: int
    error: str | None
    is_cold: bool
    key: str | None
    busy_nanos: int
    """Nano-dollars."""
    waterfall: WaterfallBody


class UsagesBody(msgspec.Struct):
    """Ledger lines, newest first or longest first."""

    requests: list[UsageBody]
    is_complete: bool
    """False: there are more lines than were looked at, and older ones may be longer."""


class NewKeyBody(StrictBody):
    """A key to be made."""

    name: str
    scopes: list[str] = msgspec.field(default_factory=lambda: ["invoke"])
    """``invoke``, ``deploy``, ``admin``; each may end in ``:endpoint-name``."""


class KeyBody(msgspec.Struct):
    """A valid API key, without its secret."""

    id: str
    name: str
    scopes: list[str]
    created_ms: int


class KeysBody(msgspec.Struct):
    """The valid keys, oldest first."""

    keys: list[KeyBody]


class MadeKeyBody(KeyBody):
    """A new key. The secrets are shown this once."""

    token: str | None
    """For ``Authorization: Bearer``."""
    secret_access_key: str | None
    """For AWS clients; ``id`` is the access key id."""


class CheckBody(msgspec.Struct):
    """One thing that the doctor looked at."""

    name: str
    status: str
    detail: str
    cure: str | None = None


class DoctorBody(msgspec.Struct):
    """What the machine can do."""

    status: str
    checks: list[CheckBody]


class HealthBody(msgspec.Struct):
    """The server is up."""

    status: str
    version: str


class JobBody(msgspec.Struct, omit_defaults=True):
    """A job. Absent fields do not apply yet."""

    id: str
    endpoint: str
    state: JobState
    accepted_ms: int
    expires_ms: int
    timeout_ms: int
    attempts: int
    """How often it was begun."""
    label: str | None = None
    started_ms: int | None = None
    """When its last attempt began."""
    finished_ms: int | None = None
    status: int | None = None
    """What the endpoint answered."""
    content_type: str | None = None
    size_bytes: int | None = None
    """Of the answer."""
    output_url: str | None = None
    """Where the answer lies, if it is not kept here."""
    code: str | None = None
    message: str | None = None
    log_tail: list[str] | None = None
    request: str | None = None
    """Under which the last attempt stands in the ledger."""

    @classmethod
    def of(cls, job: StoredJob) -> "JobBody":
        """Return a job as the API shows it."""
        body = cls(
            id=job.id,
            endpoint=job.endpoint,
            state=job.state,
            accepted_ms=job.accepted_ms,
            expires_ms=job.expires_ms,
            timeout_ms=job.timeout_ms,
            attempts=job.attempt,
            label=job.order.label or None,
            started_ms=job.started_ms,
            finished_ms=job.finished_ms,
            output_url=job.order.output_url,
        )
        if job.result is not None:
            result = job.result
            body.status, body.content_type = result.status, result.content_type
            body.size_bytes = result.size_bytes or None
            body.code, body.message, body.request = result.code, result.message, result.request
            body.log_tail = list(result.log_tail) or None
        return body


class JobsBody(msgspec.Struct):
    """Jobs, newest first."""

    jobs: list[JobBody]
