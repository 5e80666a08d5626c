"""The rows of ``frontier`` as Markdown: one for each trace and start, and what all say together."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from benchmarks.regrets import WAITS, Point, Regret, by_family, interval

_EVEN = 1.05
_HEAD = (
    "| trace | start, s | requests | p95: worst | mixed | 90 % | median | against"
    " | mean: worst | mixed | 90 % | median | against |\n|" + 13 * "---|"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trace with one start time."""

    trace: str
    endpoints: int
    requests: int
    start_s: float
    ours: list[Point]
    others: list[Point]
    refined: tuple[int, int]
    """How many settings of ours, and of the others, were added to the sweeps."""
    regrets: dict[str, list[Regret]]
    """By wait: of the recorded trace, then of each copy."""

    @property
    def family(self) -> str:
        """Return which of the files it is from."""
        return self.trace.split(" ")[0]


def table(rows: Sequence[Row]) -> str:
    """Return all of it."""
    alone = [row for row in rows if row.endpoints == 1]
    together = [row for row in rows if row.endpoints > 1]
    parts = ["\n".join([_HEAD, *map(_row, rows)])]
    if alone:
        parts.append(_summary(alone, "single endpoints"))
    if together:
        parts.append(_summary(together, "keys together"))
    return "\n\n".join(parts) + "\n"


def _row(row: Row) -> str:
    cells = [row.trace, f"{row.start_s:g}", f"{row.requests:,}"]
    for wait in WAITS:
        first, *copies = row.regrets[wait]
        low, high = interval(first.mixed, [each.mixed for each in copies])
        behind = f" (waits {first.behind_s:.2g} s longer)" if first.worst == inf else ""
        cells += [f"{first.worst:.2f}{behind}", f"{first.mixed:.2f}"]
        cells += [f"{low:.2f}-{high:.2f}" if copies else "", f"{first.median:.2f}", first.against]
    return f"| {' | '.join(cells)} |"


def _summary(rows: Sequence[Row], what: str) -> str:
    """Return what rows say together."""

    def line(name: str, format_cell: Callable[[list[Regret]], str]) -> str:
        cells = [format_cell([row.regrets[wait][0] for row in rows]) for wait in WAITS]
        return f"| {name} | {' | '.join(cells)} |"

    def mean(of: str) -> Callable[[list[Regret]], str]:
        def format_cell(found: list[Regret]) -> str:
            families: dict[str, list[float]] = defaultdict(list)
            for row, each in zip(rows, found, strict=True):
                families[row.family].append(getattr(each, of))
            middle, low, high = by_family(families)
            return f"{middle:.2f} ({low:.2f}-{high:.2f})"

        return format_cell

    def medians(found: list[Regret]) -> str:
        worst = statistics.median(each.worst for each in found)
        return f"{worst:.2f}, {statistics.median(each.mixed for each in found):.2f}"

    def even(of: str) -> Callable[[list[Regret]], str]:
        return lambda found: str(sum(getattr(each, of) <= _EVEN for each in found))

    over = f"Over the {len(rows)} rows of {what}, geometric means, an infinite regret counted as 3,"
    added = [sum(row.refined[side] for row in rows) for side in (0, 1)]
    return "\n".join(
        [
            f"{over} with 90 % intervals from drawing whole families of traces anew:\n",
            "| | p95 | mean |\n|---|---|---|",
            line("worst setting", mean("worst")),
            line("worst setting, mixed", mean("mixed")),
            line("median setting", mean("median")),
            line("median of the rows' worst, and of their mixed", medians),
            line(f"rows with `worst` at {_EVEN} or less, of {len(rows)}", even("worst")),
            line(f"rows with `mixed` at {_EVEN} or less, of {len(rows)}", even("mixed")),
            f"\n{added[0]} settings of ours and {added[1]} of the others were added to the sweeps.",
        ]
    )
