"""The words of the house as types: ids, specs, failures. Everything is valid once it exists."""

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from coldspark.core.rules.settings import Histogram, Learned, Rule
from coldspark.core.warmth import Warmth as Warmth

EndpointName = NewType("EndpointName", str)
VariantName = NewType("VariantName", str)
FleetId = NewType("FleetId", str)
"""``endpoint/variant``: one fleet runs one variant of one endpoint."""
RevisionId = NewType("RevisionId", str)
"""The first 16 hex digits of the SHA-256 of the spec: the same spec has the same id."""
ReplicaId = NewType("ReplicaId", str)
RequestId = NewType("RequestId", str)
NodeId = NewType("NodeId", str)
DeviceId = NewType("DeviceId", str)
ArtifactId = NewType("ArtifactId", str)
"""The SHA-256 (hex) of an archive's bytes."""

GIB = 1024**3
MIB = 1024**2


def fleet_id(endpoint: EndpointName, variant: VariantName) -> FleetId:
    """Name the fleet that runs ``variant`` of ``endpoint``."""
    return FleetId(f"{endpoint}/{variant}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuAsk:
    """A wish for devices: ``count`` whole ones, or a ``fraction`` of one (by memory)."""

    type: str
    count: int = 1
    fraction: float = 1.0

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"gpu count={self.count} must be at least 1")
        if not 0.0 < self.fraction <= 1.0:
            raise ValueError(f"gpu fraction={self.fraction} must lie in (0, 1]")
        if self.count > 1 and self.fraction != 1.0:
            raise ValueError(f"gpu {self.type}: a fraction of {self.count} devices is not offered")

    def __str__(self) -> str:
        if self.count > 1:
            return f"{self.type}:{self.count}"
        return self.type if self.fraction == 1.0 else f"{self.type}/{self.fraction:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one replica holds. ``gpus`` are alternatives, the first that fits wins; none is CPU."""

    gpus: tuple[GpuAsk, ...] = ()
    gpu_memory_bytes: int | None = None
    """Device memory that the model needs in all; None is unknown, and then not checked."""
    memory_bytes: int = GIB
    """Host memory: what placement accounts for, and the limit where cgroups enforce it."""
    vcpus: float = 1.0

    def __post_init__(self) -> None:
        if self.memory_bytes < 16 * MIB:
            raise ValueError(f"memory_bytes={self.memory_bytes} must be at least 16 MiB")
        if not 0.0 < self.vcpus <= 1024:
            raise ValueError(f"vcpus={self.vcpus} must lie in (0, 1024]")
        if self.gpu_memory_bytes is not None and self.gpu_memory_bytes <= 0:
            raise ValueError(f"gpu_memory_bytes={self.gpu_memory_bytes} must be positive")


DEFAULT_WAIT_VALUE = 10.0
FIRST_IDLE_S = 60.0
"""For how long an idle replica is kept before there is a measured start to reckon with."""
_PARKED_PER_IDLE = 5.0
"""A parked replica holds memory alone, so it may stay for longer than an idle one did."""


BATCH_SIZE_MAX = 500
_BATCH_WAIT_S = 0.005


def slots_of(concurrency: int | None, batch_size_max: int) -> int:
    """Return the slots of a replica, where None leaves them open.

    With batching it is two batches: one is computed while the next comes together.
    """
    if concurrency is not None:
        return concurrency
    return 1 if batch_size_max == 1 else 2 * batch_size_max


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePolicy:
    """How many replicas there are, and for how long an idle one is kept."""

    replicas_min: int = 0
    """Provisioned: kept warm, billed while idle."""
    replicas_max: int = 1
    concurrency: int = 1
    """Requests that one replica serves at a time (its slots); with batching, those it holds."""
    batch_size_max: int = 1
    """Requests that the handler is called for at once; 1: each alone."""
    batch_wait_s: float | None = None
    """How long a free replica may hold a request back for others to join it.

    None: 5 ms. 0: never.
    """
    idle_timeout_s: float | None = None
    """How long an idle replica is kept ready. None: learned from the gaps between requests."""
    park_timeout_s: float | None = None
    """How long an idle replica stays parked (frozen, its devices given back) before it ends.

    None: learned, or five times a given ``idle_timeout_s``. 0: it is never parked.
    """
    warmth: Warmth | None = None
    """None: as long on each rung as pays. Else the lowest rung that idleness leads to."""
    wait_value: float = DEFAULT_WAIT_VALUE
    """What a second of a caller's waiting is worth, in seconds of a ready replica.

    Higher keeps idle replicas for longer; it counts where a time above is learned.
    """
    rule: Rule = field(default_factory=Learned)
    """What says how many there shall be. Only ``learned`` learns idle times and wakes ahead."""
    waste_budget: float = 0.0
    """0 starts a replica for every slot's worth of waiting work; 1 only one that pays its start."""
    failed_starts_max: int = 3
    """Failed starts in a row after which the endpoint says FAILED."""

    def __post_init__(self) -> None:
        if not 0 <= self.replicas_min <= self.replicas_max:
            raise ValueError(f"replicas_min={self.replicas_min} must lie in 0..{self.replicas_max}")
        if not 1 <= self.replicas_max <= 10_000:
            raise ValueError(f"replicas_max={self.replicas_max} must lie in 1..10000")
        self._check_batching()
        if not 1 <= self.concurrency <= 1_000:
            raise ValueError(f"concurrency={self.concurrency} must lie in 1..1000")
        for name in ("idle_timeout_s", "park_timeout_s"):
            if (value := getattr(self, name)) is not None and not 0.0 <= value <= 7 * 86_400:
                raise ValueError(f"{name}={value} must lie in 0..604800")
        if not 0.0 <= self.wait_value <= 1e6:
            raise ValueError(f"wait_value={self.wait_value} must lie in 0..1000000")
        self._check_warmth()
        self._check_rule()
        if not 0.0 <= self.waste_budget <= 1.0:
            raise ValueError(f"waste_budget={self.waste_budget} must lie in 0..1")
        if not 1 <= self.failed_starts_max <= 100:
            raise ValueError(f"failed_starts_max={self.failed_starts_max} must lie in 1..100")

    def _check_batching(self) -> None:
        size, wait_s = self.batch_size_max, self.batch_wait_s
        if not 1 <= size <= BATCH_SIZE_MAX:
            raise ValueError(f"batch_size={size} must lie in 1..{BATCH_SIZE_MAX}")
        if wait_s is not None and not 0.0 <= wait_s <= 10.0:
            raise ValueError(f"batch_wait={wait_s:g} s must lie in 0..10 s")
        if wait_s is not None and size == 1:
            raise ValueError(f"batch_wait={wait_s:g} s does nothing without batch_size: set both")
        if self.concurrency < size:
            raise ValueError(
                f"concurrency={self.concurrency} lets no batch of batch_size={size} come together:"
                f" set it to {size} or more, or leave it out for {2 * size}"
            )

    @property
    def batch_waits_s(self) -> float:
        """Return ``batch_wait_s``, or what stands for None."""
        return _BATCH_WAIT_S if self.batch_wait_s is None else self.batch_wait_s

    def _check_warmth(self) -> None:
        """Refuse times that the pinned rung makes meaningless."""
        if self.warmth is Warmth.READY and self.idle_timeout_s is not None:
            raise ValueError(
                f"idle_timeout_s={self.idle_timeout_s:g} does nothing with warmth=ready:"
                " leave one of them out"
            )
        if self.warmth is not None and self.park_timeout_s is not None:
            raise ValueError(
                f"park_timeout_s={self.park_timeout_s:g} does nothing with"
                f" warmth={self.warmth.value}: leave one of them out"
            )

    def _check_rule(self) -> None:
        """Refuse settings that the rule does not look at."""
        rule = self.rule
        if isinstance(rule, Learned):
            return
        name = rule.__struct_config__.tag
        if self.idle_timeout_s is not None:
            raise ValueError(
                f"idle_timeout_s={self.idle_timeout_s:g} does nothing with rule={name}:"
                " the rule says how long idle replicas are kept"
            )
        if self.warmth is Warmth.READY:
            raise ValueError(f"warmth=ready does nothing with rule={name}: set replicas_min")
        if self.wait_value != DEFAULT_WAIT_VALUE:
            raise ValueError(f"wait_value={self.wait_value:g} does nothing with rule={name}")
        if self.waste_budget:
            raise ValueError(f"waste_budget={self.waste_budget:g} does nothing with rule={name}")
        if isinstance(rule, Histogram) and self.warmth is not None:
            raise ValueError(f"warmth={self.warmth.value} does nothing with rule={name}")

    @property
    def may_park(self) -> bool:
        """Return whether idle replicas are ever parked."""
        if self.warmth is None and self.park_timeout_s is None:
            # Five times nothing.
            return self.idle_timeout_s != 0.0
        return self.park_timeout_s != 0.0 and self.warmth in (None, Warmth.PARKED)

    @property
    def first_idle_s(self) -> float:
        """Return how long an idle replica is kept ready before anything was learned."""
        if self.warmth is Warmth.READY:
            return float("inf")
        return FIRST_IDLE_S if self.idle_timeout_s is None else self.idle_timeout_s

    @property
    def first_parked_s(self) -> float:
        """Return how long one is kept parked before anything was learned."""
        if not self.may_park:
            return 0.0
        if self.warmth is Warmth.PARKED:
            return float("inf")
        if self.park_timeout_s is None:
            return _PARKED_PER_IDLE * self.first_idle_s
        return self.park_timeout_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one variant. A request over one is refused in its door's own words."""

    queue_max: int = 1_000
    queue_bytes_max: int = 256 * MIB
    body_bytes_max: int = 64 * MIB
    request_timeout_s: float = 600.0
    """The one deadline, from arrival to the last byte, cold start included."""
    start_timeout_s: float = 600.0
    stop_grace_s: float = 10.0
    """From SIGTERM to SIGKILL."""
    log_bytes_max: int = 16 * MIB
    """Kept on disk per replica, both streams together."""
    processes_max: int = 256

    def __post_init__(self) -> None:
        for name in ("queue_max", "queue_bytes_max", "body_bytes_max"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must not be negative")
        for name in ("request_timeout_s", "start_timeout_s", "log_bytes_max", "processes_max"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        if self.stop_grace_s < 0:
            raise ValueError(f"stop_grace_s={self.stop_grace_s} must not be negative")


OWN_REQUIREMENTS = "-r requirements.txt"
"""Among requirements: the lines of the code's own file, or none where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A Python file with SageMaker's handler functions (``model_fn``, ``predict_fn``, …)."""

    kind: str = "handler"
    program: str = "inference.py"
    """Path of the file inside the code directory."""
    requirements: tuple[str, ...] = ()
    """Lines of requirements.txt; empty runs under the platform's own interpreter."""
    overrides: tuple[str, ...] = ()
    """uv override lines (``pkg ; python_version < '3'`` drops an unwanted dependency)."""

    def __post_init__(self) -> None:
        if not self.program.endswith(".py") or self.program.startswith("/"):
            raise ValueError(f"program={self.program!r} must be a relative path that ends in .py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Any HTTP server. It binds the port in ``$SAGEMAKER_BIND_TO_PORT`` (also ``$PORT``)."""

    kind: str = "command"
    argv: tuple[str, ...]
    """``python`` as first word means the environment's interpreter."""
    ping_path: str = "/ping"
    invoke_path: str = "/invocations"
    park_path: str | None = None
    """POSTed to before it is frozen, such as ``/sleep?level=1``; it must answer 200 to 299."""
    unpark_path: str | None = None
    """POSTed to after it is thawed, such as ``/wake_up``."""
    requirements: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.argv:
            raise ValueError("argv must name a program")
        for path in (self.ping_path, self.invoke_path, self.park_path, self.unpark_path):
            if path is not None and not path.startswith("/"):
                raise ValueError(f"path {path!r} must start with /")
            if path is not None and any(not "!" <= letter <= "~" for letter in path):
                raise ValueError(f"path {path!r} must be printable ASCII without spaces")
        if (self.park_path is None) != (self.unpark_path is None):
            raise ValueError("park_path and unpark_path belong together: name both, or neither")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """All that makes a replica what it is. Immutable: a change makes a new revision."""

    handler: Handler | None = None
    command: Command | None = None
    code: str | None = None
    """The archive with the code, an artifact's id or ``s3://…``; a SageMaker model archive holds
    it beside the model instead."""
    model: str | None = None
    """Where the model data is: ``file:///…``, ``s3://…`` or ``artifact:<sha256>``."""
    environment: tuple[tuple[str, str], ...] = ()
    """Environment variables, sorted by name."""
    resources: Resources = field(default_factory=Resources)
    scale: ScalePolicy = field(default_factory=ScalePolicy)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if (self.handler is None) == (self.command is None):
            raise ValueError("a spec has either a handler or a command")
        if list(self.environment) != sorted(self.environment):
            raise ValueError("environment must be sorted by name")
        if self.command is not None and self.scale.batch_size_max > 1:
            raise ValueError(
                f"batch_size={self.scale.batch_size_max} is for handlers: a command is an HTTP"
                " server, which gets each request by itself and may batch on its own"
            )

    @property
    def sources(self) -> frozenset[str]:
        """Return the addresses from which files come to this machine."""
        code = None if self.code is None or "://" not in self.code else self.code
        return frozenset(url for url in (self.model, code) if url is not None)

    @property
    def runtime(self) -> Handler | Command:
        """Return what runs: the handler or the command."""
        runtime = self.handler or self.command
        assert runtime is not None
        return runtime


def revision_id(spec_json: bytes) -> RevisionId:
    """Derive the id from the spec's canonical JSON."""
    return RevisionId(hashlib.sha256(spec_json).hexdigest()[:16])


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A spec under its id."""

    id: RevisionId
    spec: Spec


class EndpointStatus(StrEnum):
    """What an endpoint can be. READY includes zero replicas: it will wake."""

    READY = "Ready"
    UPDATING = "Updating"
    FAILED = "Failed"
    RETIRING = "Retiring"


class FailureKind(StrEnum):
    """Why a request got no answer; each value is the ``code`` of its class in ``errors.py``."""

    QUEUE_FULL = "QueueFull"
    TIMED_OUT = "TimedOut"
    CANCELLED = "Cancelled"
    START_FAILED = "StartFailed"
    ENDPOINT_FAILED = "EndpointFailed"
    ENDPOINT_RETIRED = "EndpointRetired"
    NOT_FOUND = "NotFound"
    """There never was such an endpoint, or such a variant of it."""
    REPLICA_DIED = "ReplicaDied"
    NO_ROOM = "NoRoom"
    HANDLER_FAILED = "HandlerFailed"
    UNSUPPORTED_MEDIA = "UnsupportedMedia"
    BODY_TOO_LARGE = "BodyTooLarge"
    UNAUTHENTICATED = "Unauthenticated"
    """The body that came is not the one that was signed."""
    STORAGE_FULL = "StorageFull"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a request got no answer, in words that a person can act on."""

    kind: FailureKind
    message: str
    log_tail: tuple[str, ...] = ()
    """The replica's last lines, oldest first (at most 50)."""
    retry_after_s: float | None = None


class RootCause(StrEnum):
    """What the end of a replica's log was recognised as."""

    MODEL_FILE_MISSING = "model file missing"
    OUT_OF_MEMORY = "out of memory"
    IMPORT_ERROR = "import error"
    PORT_NEVER_OPENED = "port never opened"
    START_TIMED_OUT = "start timed out"
    HANDLER_INVALID = "handler invalid"
    ARTIFACT_UNAVAILABLE = "artifact unavailable"
    ENVIRONMENT_FAILED = "environment failed"
    KILLED = "killed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a replica ended."""

    cause: RootCause
    message: str
    """One sentence with the exit status or signal."""
    exit_status: int | None = None
    """The exit code, or minus the signal's number; None when there never was a process."""
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantDefinition:
    """A weighted share of an endpoint's traffic, and the revision that serves it."""

    name: VariantName
    revision: Revision
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight={self.weight} must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDefinition:
    """What an endpoint shall be: the input of a deploy."""

    name: EndpointName
    variants: tuple[VariantDefinition, ...]
    source: str = "native"
    """The door that defined it."""
    labels: tuple[tuple[str, str], ...] = ()
    """The door's own notes (such as the endpoint config's name), sorted by key."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"endpoint name {self.name!r} must be 1-63 letters, digits and single hyphens"
                " that do not begin or end it"
            )
        names = [variant.name for variant in self.variants]
        if not names:
            raise ValueError(f"endpoint {self.name!r} needs at least one variant")
        if len(set(names)) != len(names):
            raise ValueError(f"endpoint {self.name!r} has two variants of one name: {names}")
        if not any(variant.weight > 0 for variant in self.variants):
            raise ValueError(f"endpoint {self.name!r}: at least one variant needs a weight over 0")


_NAME = re.compile(r"(?=.{1,63}$)[A-Za-z0-9](-*[A-Za-z0-9])*")
