"""Read a project, a directory or one .py file: its ``coldspark.toml`` becomes a definition.

The table is in ``coldspark.toml``, in ``[tool.coldspark]`` of ``pyproject.toml``, or in a single
file's inline metadata (``# /// script``). With none of them, ``inference.py`` is served on CPU
under the directory's name.

    name = "chat"                       # default: the directory's name
    handler = "inference.py"            # or: command = ["python", "serve.py"]
    ping_path = "/health"               # of a command; default /ping
    invoke_path = "/v1/chat/completions"  # of a command; default /invocations
    park_path = "/sleep?level=1"        # of a command, POSTed to before it is frozen
    unpark_path = "/wake_up"            # of a command, POSTed to after it is thawed
    requirements = "requirements.txt"   # or a list; default: that file if it is there
    overrides = "overrides.txt"         # likewise: uv's override lines
    model = "s3://bucket/key"           # or file:///..., model data besides the code
    gpu = "A10G"                        # "A100:4", "A10G/0.5", "L4,A10G"; default none
    gpu_memory = "15GB"
    memory = "2GB"
    vcpus = 2

    [scale]                             # min, max, batch_size, idle_timeout, warmth, ...
    max = 4
    idle_timeout = "60s"                # or "auto", the default: learned from the traffic
    rule = "knative"                    # or {name = "keep-alive", keep = "10m"}; default: learned

    [[scale.windows]]                   # any number: times with other replica bounds
    cron = "0 8 * * MON-FRI"
    time_zone = "Europe/Berlin"         # default: UTC
    lasts = "10h"
    min = 2
    max = 8                             # default: the policy's own

    [limits]                            # request_timeout, start_timeout, body, queue, ...
    request_timeout = "10m"

    [environment]
    HF_HUB_OFFLINE = "1"
"""

import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldspark.errors import InvalidRequest
from coldspark.spec.strict_keys import refuse_unknown_keys
from coldspark.spec.units import parse_duration, parse_size
from coldspark.spec.warmth import Warmth

FILE_NAME = "coldspark.toml"
_HANDLERS = ("inference.py", "code/inference.py", "handler.py")
_INLINE = re.compile(r"(?ms)^# /// script\s*$\n(?P<lines>(?:^#(?: .*)?$\n)+?)^# ///\s*$")
_PATHS = ("ping_path", "invoke_path", "park_path", "unpark_path")
"""Of a command."""
_KEYS = (
    "name",
    "handler",
    "command",
    *_PATHS,
    "requirements",
    "overrides",
    "model",
    "gpu",
    "gpu_memory",
    "memory",
    "vcpus",
    "scale",
    "limits",
    "environment",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A directory or file, and the definition that it asks for (without the code's artifact)."""

    source: Path
    name: str
    definition: dict[str, Any]


def read_project(source: Path, changes: Mapping[str, Any] | None = None) -> Project:
    """Read a project; ``changes`` (a definition table as in the file) win over the file.

    Raises InvalidRequest with the file, the key and the cure.
    """
    where, table = _table(source)
    try:
        refuse_unknown_keys(table, (*_KEYS, "server"), "the table")
        refuse_unknown_keys(changes or {}, _KEYS, "changes")
        table.pop("server", None)
        for key, value in (changes or {}).items():
            is_table = isinstance(value, Mapping) and isinstance(table.get(key), Mapping)
            table[key] = {**table[key], **value} if is_table else value
        return _project(source, table, where)
    except (ValueError, TypeError, OSError) as error:
        raise InvalidRequest(f"{where}: {error}") from error


def _table(source: Path) -> tuple[str, dict[str, Any]]:
    """Return the table's file and its content."""
    if source.is_file():
        return str(source), _inline_table(source)
    if not source.is_dir():
        raise InvalidRequest(f"{source} does not exist: name a directory or a .py file")
    own, shared = source / FILE_NAME, source / "pyproject.toml"
    if own.is_file():
        return str(own), _toml(own)
    if shared.is_file():
        return f"{shared} [tool.coldspark]", _toml(shared).get("tool", {}).get("coldspark", {})
    return str(source), {}


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidRequest(f"{file} cannot be read: {error}") from error


def _inline_table(file: Path) -> dict[str, Any]:
    """Read inline script metadata (PEP 723): dependencies become requirements."""
    if file.suffix != ".py":
        raise InvalidRequest(f"{file} is not a .py file: name a directory or a .py file")
    match = _INLINE.search(file.read_text(encoding="utf-8"))
    if match is None:
        return {}
    text = "".join(line[2:] for line in match["lines"].splitlines(keepends=True))
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRequest(f"{file}: inline metadata cannot be read: {error}") from error
    table = dict(data.get("tool", {}).get("coldspark", {}))
    if "dependencies" in data:
        table.setdefault("requirements", data["dependencies"])
    return table


def _project(source: Path, table: Mapping[str, Any], where: str) -> Project:
    folder = source if source.is_dir() else source.parent
    definition: dict[str, Any] = dict([_runtime(source, folder, table, where)])
    for key, read in _READERS.items():
        if key in table:
            definition[key] = read(table[key])
    if "model" in definition:
        definition["model"] = _address(definition["model"], folder)
    name = table.get("name") or _default_name(source)
    return Project(source=source, name=str(name), definition=definition)


def _runtime(
    source: Path, folder: Path, table: Mapping[str, Any], where: str
) -> tuple[str, dict[str, Any]]:
    if "handler" in table and "command" in table:
        raise ValueError("a deployment has either a handler or a command, not both")
    packages = {
        "requirements": _lines(table.get("requirements"), folder, "requirements.txt"),
        "overrides": _lines(table.get("overrides"), folder, "overrides.txt"),
    }
    if "command" in table:
        paths = {key: table[key] for key in _PATHS if key in table}
        return "command", {"argv": _argv(table["command"]), **paths, **packages}
    for key in _PATHS:
        if key in table:
            raise ValueError(f"{key} belongs to a command; {where} has none")
    return "handler", {"program": _program(source, folder, table), **packages}


def _program(source: Path, folder: Path, table: Mapping[str, Any]) -> str:
    if source.is_file():
        return source.name
    program = table.get("handler")
    if program is None:
        program = next((name for name in _HANDLERS if (folder / name).is_file()), None)
    if program is None:
        raise ValueError(
            f"nothing says what to run: write handler = ... or command = ... into {FILE_NAME},"
            f" or add one of {', '.join(_HANDLERS)}"
        )
    if not (folder / program).is_file():
        raise ValueError(f"handler {program!r} does not exist in {folder}")
    return str(program)


def _argv(command: object) -> list[str]:
    argv = shlex.split(command) if isinstance(command, str) else command
    if not isinstance(argv, list) or not argv or not all(isinstance(w, str) for w in argv):
        raise ValueError(f"command={command!r} must be words such as ['python', 'serve.py']")
    return argv


def _lines(value: object, folder: Path, default: str) -> list[str]:
    """Return requirement lines: given as a list, as a file's name, or in the default file."""
    if isinstance(value, list):
        return [str(line) for line in value]
    file = folder / (default if value is None else str(value))
    if value is None and not file.is_file():
        return []
    if not file.is_file():
        raise ValueError(f"{file.name} does not exist in {folder}")
    lines = (line.split(" #")[0].strip() for line in file.read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _default_name(source: Path) -> str:
    stem = source.resolve().stem if source.is_file() else source.resolve().name
    name = re.sub(r"[^A-Za-z0-9]+", "-", stem).strip("-")[:63].strip("-")
    if not name:
        raise ValueError(f"no name can be made of {stem!r}: write name = ... or pass --name")
    return name


def _address(model: str, folder: Path) -> str:
    """Return a model's address; a bare path is meant relative to the project."""
    if "://" in model or model.startswith("artifact:"):
        return model
    path = (folder / model).resolve()
    if not path.exists():
        raise ValueError(f"model {model!r} is neither an address nor a path that exists: {path}")
    return path.as_uri()


def _scale(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scale policy under its keys in the API; durations in seconds."""
    known: dict[str, tuple[str, Callable[[Any], object]]] = {
        "min": ("min", int),
        "max": ("max", int),
        "concurrency": ("concurrency", int),
        "batch_size": ("batch_size_max", int),
        "batch_wait": ("batch_wait_s", parse_duration),
        "idle_timeout": ("idle_timeout_s", _duration_or_auto),
        "park_timeout": ("park_timeout_s", _duration_or_auto),
        "warmth": ("warmth", _warmth),
        "wait_value": ("wait_value", float),
        "patience": ("patience_s", _duration_or_auto),
        "rule": ("rule", _rule),
        "waste_budget": ("waste_budget", float),
        "failed_starts": ("failed_starts_max", int),
        "windows": ("windows", _windows),
    }
    return _translated(table, known, "[scale]")


def _windows(tables: object) -> list[dict[str, Any]]:
    """Return the windows under their keys in the API."""
    if not isinstance(tables, list):
        raise ValueError("windows must be tables: write each as [[scale.windows]]")
    known: dict[str, tuple[str, Callable[[Any], object]]] = {
        "cron": ("cron", str),
        "time_zone": ("time_zone", str),
        "lasts": ("lasts_s", parse_duration),
        "min": ("min", int),
        "max": ("max", int),
    }
    for table in tables:
        for key in ("cron", "lasts", "min"):
            if isinstance(table, Mapping) and key not in table:
                raise ValueError(f"[[scale.windows]] needs {key}: a window is cron, lasts and min")
    return [_translated(table, known, "[[scale.windows]]") for table in tables]


def _duration_or_auto(value: str | int | float) -> float | None:
    """Return seconds, or None for ``auto``: learned from the traffic."""
    return None if value == "auto" else parse_duration(value)


def _warmth(value: str) -> str | None:
    """Return the warmth level to keep, or None for ``auto``."""
    levels = [warmth.value for warmth in Warmth]
    if value != "auto" and value not in levels:
        raise ValueError(f"warmth={value!r} must be auto or one of {', '.join(levels)}")
    return None if value == "auto" else value


def _rule(value: str | Mapping[str, object]) -> str | dict[str, object]:
    # Loads msgspec, which a script that only invokes does not need.
    from coldspark.spec.scaling_rules import read_rule_in_file

    return read_rule_in_file(value)


def _limits(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits under their keys in the API; durations in seconds, sizes in bytes."""
    known: dict[str, tuple[str, Callable[[Any], object]]] = {
        "request_timeout": ("request_timeout_s", parse_duration),
        "start_timeout": ("start_timeout_s", parse_duration),
        "stop_grace": ("stop_grace_s", parse_duration),
        "body": ("body_bytes_max", parse_size),
        "queue": ("queue_max", int),
        "queue_bytes": ("queue_bytes_max", parse_size),
        "log_bytes": ("log_bytes_max", parse_size),
        "processes": ("processes_max", int),
    }
    return _translated(table, known, "[limits]")


def _translated(
    table: Mapping[str, Any], known: Mapping[str, tuple[str, Callable[[Any], object]]], where: str
) -> dict[str, Any]:
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} must be a table, not {table!r}")
    refuse_unknown_keys(table, known, where)
    return {known[key][0]: known[key][1](value) for key, value in table.items()}


def _environment(table: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(table, Mapping):
        raise ValueError(f"[environment] must be a table, not {table!r}")
    return {str(key): _variable(value) for key, value in sorted(table.items())}


def _variable(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_READERS: Mapping[str, Callable[[Any], object]] = {
    "model": str,
    "gpu": lambda value: ",".join(value) if isinstance(value, list) else str(value),
    "gpu_memory": parse_size,
    "memory": parse_size,
    "vcpus": float,
    "scale": _scale,
    "limits": _limits,
    "environment": _environment,
}
