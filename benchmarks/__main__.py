"""Measure the running platform: ``python -m benchmarks [PART …]``; all but ``gpu`` need no GPU.

Run alone on the machine (``make bench`` runs all). Prints medians and keeps them as JSON.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import at_zero, bodies, chat, gpu, wake_rate, wakes, warm_path
from benchmarks.report import Report

PARTS: dict[str, Callable[[Report], None]] = {
    "warm_path": warm_path.measure,
    "wakes": wakes.measure,
    "chat": chat.measure,
    "wake_rate": wake_rate.measure,
    "at_zero": at_zero.measure,
    "bodies": bodies.measure,
    "gpu": gpu.measure,
}


def main(names: list[str]) -> None:
    """Run the named parts, or all."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise SystemExit(f"no benchmark {unknown[0]!r}: there is {', '.join(PARTS)}")
    report = Report()
    report.begin()
    for name in names or PARTS:
        PARTS[name](report)
    report.save(Path(".bench") / "results.json")


if __name__ == "__main__":
    main(sys.argv[1:])
