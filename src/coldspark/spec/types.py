"""The vocabulary as types: ids, specs, failures. Everything is valid once it exists."""

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from coldspark.spec.deployment_policy import DeploymentPolicy
from coldspark.spec.multi_model import MultiModel
from coldspark.spec.scale_policy import BATCH_SIZE_MAX as BATCH_SIZE_MAX
from coldspark.spec.scale_policy import DEFAULT_WAIT_VALUE as DEFAULT_WAIT_VALUE
from coldspark.spec.scale_policy import FIRST_IDLE_S as FIRST_IDLE_S
from coldspark.spec.scale_policy import ScalePolicy as ScalePolicy
from coldspark.spec.scale_policy import slots_of as slots_of
from coldspark.spec.warmth import Warmth as Warmth

USABLE_PERCENT = 90
"""The rest is for the driver's context, the allocator's slack and activations."""


def usable_bytes(device_memory_bytes: int) -> int:
    """Return the bytes of a device that model and workspace may fill.

    Worked number: a T4 (15,360 MiB) gives 14.5e9 bytes, so a model of 15 GB does not fit it, and
    the next type up, an A10G (23,028 MiB, 21.7e9 bytes), is the smallest that holds it.
    """
    if device_memory_bytes < 0:
        raise ValueError(f"device memory {device_memory_bytes} must not be negative")
    return device_memory_bytes * USABLE_PERCENT // 100


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
class GpuRequest:
    """A request for devices: ``count`` whole ones, or a ``fraction`` of one (by memory)."""

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

    gpus: tuple[GpuRequest, ...] = ()
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one variant. A request over one is refused in its door's own format."""

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
class HandlerProgram:
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

    handler: HandlerProgram | None = None
    command: Command | None = None
    code: str | None = None
    """The archive with the code, an artifact's id or ``s3://…``; a SageMaker model archive holds
    it beside the model instead."""
    model: str | None = None
    """Where the model data is: ``file:///…``, ``s3://…`` or ``artifact:<sha256>``."""
    multi_model: MultiModel | None = None
    """Many models instead of that one."""
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
        if self.multi_model is not None:
            self.multi_model.check(self.model, self.scale.batch_size_max)
        if self.command is not None and self.scale.batch_size_max > 1:
            raise ValueError(
                f"batch_size={self.scale.batch_size_max} is for handlers: a command is an HTTP"
                " server, which gets each request by itself and may batch on its own"
            )

    @property
    def sources(self) -> frozenset[str]:
        """Return the addresses from which files come to this machine for a start."""
        found = {self.model}
        if self.code is not None and "://" in self.code:
            found.add(self.code)
        if self.multi_model is not None and self.code is None and self.command is None:
            # One program for all models, beside them.
            found.add(self.multi_model.code_url)
        return frozenset(url for url in found if url is not None)

    @property
    def runtime(self) -> HandlerProgram | Command:
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
    """The status of an endpoint. READY includes zero replicas: it will wake."""

    READY = "Ready"
    UPDATING = "Updating"
    FAILED = "Failed"
    RETIRING = "Retiring"


class FailureKind(StrEnum):
    """Why a request failed; each value is the ``code`` of its class in ``errors.py``."""

    QUEUE_FULL = "QueueFull"
    TIMED_OUT = "TimedOut"
    CANCELLED = "Cancelled"
    START_FAILED = "StartFailed"
    ENDPOINT_FAILED = "EndpointFailed"
    ENDPOINT_RETIRED = "EndpointRetired"
    INVALID_REQUEST = "InvalidRequest"
    """It asks for what this endpoint does not have, such as a model or a variant."""
    NOT_FOUND = "NotFound"
    """There never was such an endpoint."""
    REPLICA_DIED = "ReplicaDied"
    NO_ROOM = "NoRoom"
    HANDLER_FAILED = "HandlerFailed"
    UNSUPPORTED_MEDIA = "UnsupportedMedia"
    BODY_TOO_LARGE = "BodyTooLarge"
    UNAUTHENTICATED = "Unauthenticated"
    """The body that came is not the one that was signed."""
    STORAGE_FULL = "StorageFull"
    ARTIFACT_UNAVAILABLE = "ArtifactUnavailable"
    """An object that the request needs could not be read, or not be written."""
    CONFLICT = "Conflict"
    """The endpoint does not take requests of this kind."""
    COMPONENT_NEEDED = "ComponentNeeded"
    """The endpoint has components, and the request names none of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a request failed, with a message that a person can act on."""

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
    NODE_LOST = "node lost"
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
class CaptureRule:
    """What is captured of an endpoint."""

    percent: int
    """Of its requests."""
    destination: str
    """Where the lines go: ``s3://bucket/prefix``."""
    has_input: bool
    has_output: bool
    csv_types: tuple[str, ...] = ()
    """Content types that are written as text, under the name CSV."""
    json_types: tuple[str, ...] = ()
    """As text, under the name JSON. All others are written in base 64."""

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise ValueError(f"percent={self.percent} must lie in 0..100")
        if not self.destination.startswith("s3://"):
            raise ValueError(f"destination={self.destination!r} must begin with s3://")
        if not self.has_input and not self.has_output:
            raise ValueError("a capture of neither input nor output captures nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointDefinition:
    """The desired state of an endpoint: the input of a deploy."""

    name: EndpointName
    variants: tuple[VariantDefinition, ...]
    source: str = "native"
    """The door that defined it."""
    labels: tuple[tuple[str, str], ...] = ()
    """The door's own annotations (such as the endpoint config's name), sorted by key."""
    shadows: tuple[VariantDefinition, ...] = ()
    """They get copies of requests, by their weight to that of the variants; replies are dropped."""
    capture: CaptureRule | None = None
    """Which requests and replies are captured."""
    shift: DeploymentPolicy | None = None
    """The policy of deployments. None: replica by replica, in place."""
    previous: "EndpointDefinition | None" = None
    """While a deployment is under way: what it replaces."""
    changed_ms: int | None = None
    """When that deployment was requested."""
    jobs_only: bool = False
    """It takes jobs, and refuses requests that a caller holds open."""
    has_components: bool = False
    """Its variants are components: each request names one, so weights choose none.

    They are added and removed one by one, and there may be none.
    """

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"endpoint name {self.name!r} must be 1-63 letters, digits and single hyphens"
                " that do not begin or end it"
            )
        names = [variant.name for variant in (*self.variants, *self.shadows)]
        if len(set(names)) != len(names):
            raise ValueError(f"endpoint {self.name!r} has two variants of one name: {names}")
        if self.has_components:
            if self.shadows:
                raise ValueError(f"endpoint {self.name!r} has components, which have no shadows")
            return
        if not self.variants:
            raise ValueError(f"endpoint {self.name!r} needs at least one variant")
        if not any(variant.weight > 0 for variant in self.variants):
            raise ValueError(f"endpoint {self.name!r}: at least one variant needs a weight over 0")


_NAME = re.compile(r"(?=.{1,63}$)[A-Za-z0-9](-*[A-Za-z0-9])*")


class AlarmState(StrEnum):
    """The state of an alarm."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
