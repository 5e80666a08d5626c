"""How a server is configured: defaults, then ``coldspark.toml``, environment, flags; last wins.

The file's table is ``[server]`` (``[server.s3]`` for object storage), so one ``coldspark.toml`` may
hold a deployment beside it. Variables are ``COLDSPARK_`` and the key: ``COLDSPARK_PORT=8000``.
"""

import os
import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from coldspark.errors import InvalidRequest
from coldspark.spec.money import NANOS_PER_DOLLAR
from coldspark.spec.strict_keys import refuse_unknown_keys
from coldspark.spec.types import MIB
from coldspark.spec.units import parse_duration, parse_size

FILE_NAME = "coldspark.toml"
DEFAULT_PORT = 7117
ASSUMED_COST_PER_HOUR = "0.76"
ROUTERS_MAX = 64
_PREFIX = "COLDSPARK_"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3:
    """Where ``s3://`` models come from. What is None is left to AWS's own variables and files."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    allow_http: bool = False

    def __repr__(self) -> str:
        """Leave the secret out: a configuration is printed and logged."""
        return f"S3(endpoint_url={self.endpoint_url!r}, region={self.region!r})"

    def options(self) -> dict[str, str]:
        """Return the options that an object store takes, without those that are not set."""
        named = {
            "endpoint": self.endpoint_url,
            "region": self.region,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "allow_http": "true" if self.allow_http else None,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsLimits:
    """The most that a model of the SageMaker door may ask for; None is no bound of the door's."""

    serverless_body_bytes_max: int | None = None
    realtime_body_bytes_max: int | None = None
    request_timeout_s: float | None = None
    memory_mb_max: int | None = None
    """Of a serverless variant."""
    concurrency_max: int | None = None
    """Of a serverless variant."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and value <= 0:
                raise ValueError(f"{name}={value} must be positive")

    def or_else(self, other: "AwsLimits") -> "AwsLimits":
        """Return these, and of the other those that are not set here."""
        mine = {name: value for name, value in asdict(self).items() if value is not None}
        return replace(other, **mine)


NO_LIMITS = AwsLimits()
AWS_LIMITS = AwsLimits(
    serverless_body_bytes_max=4 * MIB,
    realtime_body_bytes_max=6 * MIB,
    request_timeout_s=60.0,
    memory_mb_max=6_144,
    concurrency_max=200,
)
"""AWS's own: what ``strict_aws`` sets where nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """Who may be told how jobs ended."""

    allow_private: bool = False
    """Call addresses that are not public: this machine's, and those of its network."""
    topics: dict[str, str] = field(default_factory=dict)
    """From the names of SNS topics to the URLs that they stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What runs here for a container image: a handler file, or a command that serves HTTP."""

    handler: str | None = None
    """The file with ``model_fn`` and the rest; None leaves it to ``SAGEMAKER_PROGRAM``."""
    command: str | None = None
    """A command line, split as a shell does; ``python`` is the environment's interpreter."""
    ping_path: str = "/ping"
    invoke_path: str = "/invocations"
    requirements: tuple[str, ...] = ()
    """What the image brings: installed together with the code's own ``requirements.txt``."""

    def __post_init__(self) -> None:
        if self.handler is not None and self.command is not None:
            raise ValueError(f"image: handler={self.handler!r} and command are two; name one")
        if self.command is not None and not _words(self.command):
            raise ValueError(f"image: command={self.command!r} must name a program")
        paths = (self.ping_path, self.invoke_path)
        if self.command is None and paths != ("/ping", "/invocations"):
            raise ValueError("image: ping_path and invoke_path need a command")
        for path in paths:
            if not path.startswith("/"):
                raise ValueError(f"image: path {path!r} must start with /")

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the command's words."""
        return _words(self.command or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCost:
    """What the machine costs, and the words for it where nobody said."""

    nanos_per_hour: int
    assumption: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """All that ``coldspark up`` can be told."""

    data: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0 lets the system choose."""
    simulate: str = ""
    """Devices to declare, such as ``T4:1,A10G:2``."""
    machine_cost_per_hour: str | None = None
    """Dollars, as text so that it stays exact."""
    memory: int | None = None
    """Bytes that replicas may hold in all; None takes what the machine has."""
    vcpus: float | None = None
    template_memory: int | None = None
    """Bytes that templates may hold in all; None is a quarter of the machine's memory."""
    standby: bool = True
    """Whether a process is forked ahead from each template, which holds a few MB."""
    weights_bytes_max: int | None = None
    """Bytes of downloaded model data kept on the disk; None is no bound."""
    routers: int = 1
    """Processes that take requests; each endpoint belongs to one of them."""
    body_bytes_max: int = 64 * MIB
    """For a request whose endpoint is not known before its body is read."""
    drain_timeout_s: float = 30.0
    """How long a stopping server lets running requests finish."""
    metrics_retention: float = 1.0
    """How long metrics are kept, in multiples of what CloudWatch keeps (up to 455 days)."""
    log_level: str = "info"
    allow_open: bool = False
    """Bind an address other than loopback although no API key exists."""
    strict_aws: bool = False
    """Whether the SageMaker door limits what AWS limits."""
    retry_grace_s: float = 10.0
    """How long the next attempt of an SDK that hung up is waited for; 0: not at all."""
    s3: S3 = field(default_factory=S3)
    aws: AwsLimits = field(default_factory=AwsLimits)
    jobs_max: int = 100_000
    """Of one endpoint's, that wait."""
    webhooks: Webhooks = field(default_factory=Webhooks)
    images: Mapping[str, Image] = field(default_factory=dict)
    """Patterns of container images (``*`` is any text) to what runs for them; the first counts."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"port={self.port} must lie in 0..65535")
        if not 1 <= self.routers <= ROUTERS_MAX:
            raise ValueError(f"routers={self.routers} must lie in 1..{ROUTERS_MAX}")
        if self.routers > 1 and self.weights_bytes_max is not None:
            raise ValueError(
                f"weights_limit={self.weights_bytes_max} needs routers=1, not {self.routers}: no"
                " router knows yet what the others' replicas run on"
            )
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise ValueError(f"log_level={self.log_level!r} must be debug, info, warning or error")
        if self.machine_cost_per_hour is not None:
            _dollars(self.machine_cost_per_hour)
        for name in ("memory", "vcpus", "template_memory", "weights_bytes_max", "body_bytes_max"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name}={value} must be positive")
        if not 0.01 <= self.metrics_retention <= 100:
            raise ValueError(
                f"metrics_retention={self.metrics_retention} must lie in 0.01..100 (times what"
                " CloudWatch keeps)"
            )
        if self.jobs_max < 1:
            raise ValueError(f"jobs_max={self.jobs_max} must be at least 1")
        if self.drain_timeout_s < 0:
            raise ValueError(f"drain_timeout={self.drain_timeout_s} must not be negative")
        if not 0 <= self.retry_grace_s <= 600:
            raise ValueError(f"retry_grace={self.retry_grace_s:g} s must lie in 0..600 s")

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine can call."""
        return self.host in _LOOPBACK

    @property
    def aws_limits(self) -> AwsLimits:
        """Return what the SageMaker door limits."""
        return self.aws.or_else(AWS_LIMITS) if self.strict_aws else self.aws

    @property
    def machine_cost(self) -> MachineCost:
        """Return the machine's cost, or the marked assumption where none is configured."""
        cost = self.machine_cost_per_hour
        if cost is not None:
            return MachineCost(nanos_per_hour=_dollars(cost), assumption=None)
        return MachineCost(
            nanos_per_hour=_dollars(ASSUMED_COST_PER_HOUR),
            assumption=(
                f"assumed: this machine costs ${ASSUMED_COST_PER_HOUR} an hour (the guide's"
                " dedicated A10G); say yours with --machine-cost"
            ),
        )


def load_server(
    flags: Mapping[str, object],
    *,
    file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> ServerConfig:
    """Merge file, environment and flags (a flag that is None was not given).

    ``file`` must exist when named; else ``coldspark.toml`` of the working directory is read if
    there is one. Raises InvalidRequest with the key, the value and the cure.
    """
    try:
        merged: dict[str, Any] = {"data": default_data(environ)}
        merged |= _from_file(file)
        s3 = merged.pop("s3", {}) | _from_environ(environ, f"{_PREFIX}S3_", S3)
        aws = merged.pop("aws", {}) | _from_environ(environ, f"{_PREFIX}AWS_", AwsLimits)
        hooks = merged.pop("webhooks", {})
        hooks |= _from_environ(environ, f"{_PREFIX}WEBHOOKS_", Webhooks)
        merged |= _from_environ(environ, _PREFIX, ServerConfig)
        merged |= {name: value for name, value in flags.items() if value is not None}
        tables = {"s3": s3, "aws": _read(aws), "webhooks": hooks}
        return msgspec.convert(_read(merged) | tables, ServerConfig, strict=False)
    except (ValueError, msgspec.ValidationError) as error:
        raise InvalidRequest(f"server configuration: {error}") from error


def default_data(environ: Mapping[str, str] = os.environ) -> str:
    """Return where state is kept unless something else is said."""
    share = environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return str(Path(share) / "coldspark")


def shown(config: ServerConfig) -> dict[str, object]:
    """Return the configuration for printing, without secrets."""
    values = asdict(config) | {"data": str(config.data)}
    values["s3"] = {k: v for k, v in values["s3"].items() if k != "secret_access_key"}
    return values


def _from_file(file: Path | None) -> dict[str, Any]:
    path = file or Path(FILE_NAME)
    if file is None and not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("server", {})
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    refuse_unknown_keys(table, (*_file_keys(ServerConfig),), f"{path} [server]")
    refuse_unknown_keys(table.get("s3", {}), _file_keys(S3), f"{path} [server.s3]")
    refuse_unknown_keys(table.get("aws", {}), _file_keys(AwsLimits), f"{path} [server.aws]")
    hooks = table.get("webhooks", {})
    refuse_unknown_keys(hooks, _file_keys(Webhooks), f"{path} [server.webhooks]")
    for pattern, image in table.get("images", {}).items():
        where = f"{path} [server.images] {pattern!r}"
        if not isinstance(image, dict):
            raise ValueError(f'{where} must be a table, such as {{ handler = "inference.py" }}')
        refuse_unknown_keys(image, _file_keys(Image), where)
    return dict(table)


def _from_environ(environ: Mapping[str, str], prefix: str, kind: type) -> dict[str, Any]:
    names = [name for name in _file_keys(kind) if name not in _TABLES]
    return {name: environ[key] for name in names if (key := prefix + name.upper()) in environ}


def _file_keys(kind: type) -> list[str]:
    """Return keys as people write them: units are in the value (``drain_timeout = "30s"``)."""
    return [_ALIASES.get(each.name, each.name) for each in fields(kind)]


_TABLES = ("s3", "aws", "webhooks", "topics", "images")
"""What only a file can say, or what has variables of its own."""
_ALIASES = {
    "body_bytes_max": "body_limit",
    "drain_timeout_s": "drain_timeout",
    "weights_bytes_max": "weights_limit",
    "retry_grace_s": "retry_grace",
    "serverless_body_bytes_max": "serverless_body_limit",
    "realtime_body_bytes_max": "realtime_body_limit",
    "request_timeout_s": "request_timeout",
    "memory_mb_max": "memory_limit",
    "concurrency_max": "concurrency_limit",
}
_READERS: Mapping[str, tuple[str, Callable[[Any], object]]] = {
    "body_limit": ("body_bytes_max", parse_size),
    "weights_limit": ("weights_bytes_max", parse_size),
    "drain_timeout": ("drain_timeout_s", parse_duration),
    "retry_grace": ("retry_grace_s", parse_duration),
    "serverless_body_limit": ("serverless_body_bytes_max", parse_size),
    "realtime_body_limit": ("realtime_body_bytes_max", parse_size),
    "request_timeout": ("request_timeout_s", parse_duration),
    "memory_limit": ("memory_mb_max", lambda value: parse_size(value) // MIB),
    "concurrency_limit": ("concurrency_max", int),
    "memory": ("memory", parse_size),
    "template_memory": ("template_memory", parse_size),
    "machine_cost_per_hour": ("machine_cost_per_hour", str),
    "data": ("data", lambda value: Path(value).expanduser().absolute()),
}


def _read(written: Mapping[str, Any]) -> dict[str, object]:
    """Turn sizes, durations and money as written into what the configuration holds."""
    read: dict[str, object] = {}
    for key, value in written.items():
        name, reader = _READERS.get(key, (key, None))
        read[name] = value if reader is None else reader(value)
    return read


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise ValueError(f"image: command={command!r} cannot be split: {error}") from None


def _dollars(text: str) -> int:
    try:
        scaled = Decimal(text) * NANOS_PER_DOLLAR
    except InvalidOperation:
        raise ValueError(f"machine_cost_per_hour={text!r} must be dollars such as 0.76") from None
    if not scaled.is_finite() or scaled < 0:
        raise ValueError(f"machine_cost_per_hour={text!r} must not be negative")
    return round(scaled)
