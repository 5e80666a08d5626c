"""What was measured, kept as JSON: a partial run replaces its own rows and leaves the others."""

import json
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.load import Load
from benchmarks.peers.measuring import Warm, Zero

_KINDS = ("warm", "zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """When, where, of what and by which command a row was measured."""

    version: str
    date: str
    machine: str
    command: str


class Results:
    """All rows, by setup, worker and tuning."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.warm: dict[tuple[str, str], tuple[Context, Warm]] = {}
        self.zero: dict[tuple[str, str, str], tuple[Context, Zero]] = {}
        self.failed: dict[str, str] = {}
        if file.exists():
            self._read(json.loads(file.read_text()))

    def _read(self, kept: dict[str, Any]) -> None:
        for row in kept["warm"]:
            setup, worker = row["key"]
            loads = {c: Load(**one) for c, one in row["row"].pop("loads").items()}
            found = Warm(loads=loads, **row["row"])
            self.warm[setup, worker] = Context(**row["context"]), found
        for row in kept["zero"]:
            setup, tuning, worker = row["key"]
            self.zero[setup, tuning, worker] = Context(**row["context"]), Zero(**row["row"])
        self.failed = kept["failed"]

    def save(self) -> None:
        """Write everything; a reader never sees half of it."""
        body: dict[str, Any] = {"failed": self.failed}
        for kind in _KINDS:
            rows = getattr(self, kind).items()
            body[kind] = [
                {"key": list(key), "context": asdict(context), "row": asdict(row)}
                for key, (context, row) in rows
            ]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps(body, indent=1) + "\n")
        beside.replace(self._file)


def context(version: str, command: str, cores: int) -> Context:
    """Return the context of a row that is measured now."""
    kernel = ".".join(platform.release().split(".")[:2])
    machine = f"{_processor()}, {cores} cores, {platform.system()} {kernel}"
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    python = platform.python_version()
    return Context(
        version=version, date=date, machine=f"{machine}, Python {python}", command=command
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
