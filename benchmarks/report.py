"""What a benchmark says: rows of named figures, printed as they come and kept as JSON."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: the median of its values, with the least and the 99th percentile."""

    what: str
    unit: str
    median: float
    least: float
    p99: float
    count: int


@dataclass(slots=True)
class Report:
    """Rows in the order in which they were measured."""

    rows: list[Row] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Name the machine."""
        cores = len(os.sched_getaffinity(0))
        self.remark(
            f"machine: {_processor()}, {cores} cores, {platform.system()} {platform.release()},"
            f" Python {platform.python_version()}"
        )

    def add(self, what: str, unit: str, values: Sequence[float]) -> Row:
        """Add a figure, and print it."""
        ordered = sorted(values)
        p99 = ordered[min(len(ordered) - 1, round(len(ordered) * 0.99))]
        row = Row(what, unit, statistics.median(ordered), ordered[0], p99, len(ordered))
        self.rows.append(row)
        print(
            f"  {what:<58} {row.median:>12,.2f} {unit:<10}"
            f" (min {row.least:,.2f}, p99 {row.p99:,.2f}, n={row.count})",
            flush=True,
        )
        return row

    def remark(self, text: str) -> None:
        """Add a sentence, and print it."""
        self.remarks.append(text)
        print(text, flush=True)

    def save(self, file: Path) -> None:
        """Write everything as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        body = {"rows": [asdict(row) for row in self.rows], "remarks": self.remarks}
        file.write_text(json.dumps(body, indent=1) + "\n")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
