"""Settings that AWS has no field for, as environment variables of the model (documented).

They are taken out of what the replica sees. A ``COLDSPARK_`` variable that is not one of these is
refused: a misspelt setting that does nothing is worse than an error.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.spec.types import GIB, MIB

_PREFIX = "COLDSPARK_"
_KNOWN = (
    "COLDSPARK_BATCH_SIZE",
    "COLDSPARK_BATCH_WAIT",
    "COLDSPARK_BODY_LIMIT",
    "COLDSPARK_COMMAND",
    "COLDSPARK_CONCURRENCY",
    "COLDSPARK_GPU",
    "COLDSPARK_GPU_MEMORY",
    "COLDSPARK_IDLE_TIMEOUT",
    "COLDSPARK_PARK_TIMEOUT",
    "COLDSPARK_INVOKE_PATH",
    "COLDSPARK_PING_PATH",
    "COLDSPARK_REQUEST_TIMEOUT",
    "COLDSPARK_REQUIREMENTS",
)
_BYTES = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)", re.IGNORECASE)
_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 1024,
    "mib": MIB,
    "gib": GIB,
}
_SUBMIT_DIRECTORY = "SAGEMAKER_SUBMIT_DIRECTORY"

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnvSettings:
    """What the variables say; None where one is not set."""

    gpu: str | None
    gpu_memory_bytes: int | None
    idle_timeout_s: float | None
    park_timeout_s: float | None
    concurrency: int | None
    batch_size_max: int | None
    batch_wait_s: float | None
    request_timeout_s: float | None
    body_bytes_max: int | None


def read_model_env(environment: Mapping[str, str]) -> ModelEnvSettings:
    """Read the variables. Raises a ValidationException."""
    for name in environment:
        if name.startswith(_PREFIX) and name not in _KNOWN:
            invalid(f"Environment variable {name} is not known; there are {', '.join(_KNOWN)}.")
    return ModelEnvSettings(
        gpu=environment.get("COLDSPARK_GPU"),
        gpu_memory_bytes=_read(environment, "COLDSPARK_GPU_MEMORY", _bytes, "such as 15GB"),
        idle_timeout_s=_read(
            environment, "COLDSPARK_IDLE_TIMEOUT", _seconds, "a number of seconds"
        ),
        park_timeout_s=_read(
            environment, "COLDSPARK_PARK_TIMEOUT", _seconds, "a number of seconds"
        ),
        concurrency=_read(environment, "COLDSPARK_CONCURRENCY", _count, "a whole number over 0"),
        batch_size_max=_read(environment, "COLDSPARK_BATCH_SIZE", _count, "a whole number over 0"),
        batch_wait_s=_read(environment, "COLDSPARK_BATCH_WAIT", _seconds, "a number of seconds"),
        request_timeout_s=_read(
            environment, "COLDSPARK_REQUEST_TIMEOUT", _seconds, "a number of seconds"
        ),
        body_bytes_max=_read(environment, "COLDSPARK_BODY_LIMIT", _bytes, "such as 64MiB"),
    )


def replica_environment(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return what the replica sees, sorted by name."""
    kept = {name: value for name, value in environment.items() if not name.startswith(_PREFIX)}
    return tuple(sorted(kept.items()))


def code_url(environment: Mapping[str, str]) -> str | None:
    """Return where the code's archive is, if it is not in the model's.

    A path inside the container is AWS's habit and means the model archive's ``code/``.
    """
    submitted = environment.get(_SUBMIT_DIRECTORY, "")
    return submitted if submitted.startswith("s3://") else None


def _read(
    environment: Mapping[str, str], name: str, parse: Callable[[str], _Value], wanted: str
) -> _Value | None:
    text = environment.get(name)
    if text is None:
        return None
    try:
        return parse(text)
    except ValueError:
        invalid(f"Environment variable {name}='{text}' must be {wanted}.", field=name)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError
    return count


def _seconds(text: str) -> float:
    seconds = float(text)
    if not math.isfinite(seconds):
        raise ValueError
    return seconds


def _bytes(text: str) -> int:
    match = _BYTES.fullmatch(text.strip())
    if match is None:
        raise ValueError
    return int(float(match.group(1)) * _UNITS[match.group(2).lower()])
