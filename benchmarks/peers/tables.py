"""The results as tables: for the terminal, and as the page ``docs/reference/peers.md``."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.load import Load
from benchmarks.peers.coldspark_endpoints import CONCURRENCY
from benchmarks.peers.measuring import CONCURRENCIES, WAKES, Warm, Zero
from benchmarks.peers.results import Context, Results
from benchmarks.peers.systems import SETUPS
from benchmarks.peers.workers.functions import BATCH_MAX, BATCH_WAIT_S

_RANK = {setup.name: place for place, setup in enumerate(SETUPS)}
_SLASHED = "/".join(f"c{one}" for one in CONCURRENCIES)
_WARM_HEAD = [
    "system",
    "start to first answer, s",
    f"requests/s {_SLASHED}",
    f"p50 ms {_SLASHED}",
    f"p99 ms {_SLASHED}",
    "idle PSS, MB",
    "idle CPU, cores",
    "load average",
]
_ZERO_HEAD = ["system", "tuning", "worker", "median s", "least s", "most s", "wakes"]
_ZERO_HEAD += ["PSS at zero, MB", "load average"]
_RUN_HEAD = ["system", "version", "worker", "date (UTC)", "command"]
_TITLES = {
    "echo": "echo: 1 KB of JSON, decoded and encoded",
    "fakegpu": "fakegpu: one device, 5 ms + 0.1 ms for each request of a batch",
    "fakegpu-overlap": "fakegpu-overlap: the same sleep, but calls do not exclude each other",
    "minilm": "minilm: all-MiniLM-L6-v2 on torch's CPU build, one torch thread",
}
_PAGE = f"""\
# Coldspark beside its peers

Written by `python -m benchmarks.peers --write`; `--help` says what it needs and how long it takes.
Rows may come from several runs: the last table says of each when and by which command.
Each row names the machine's load average when its \
measurement began.
A load average well above zero means that other programs ran, and that the row is no fair figure.

## How it is measured

- The workers are the same code in every system; versions are pinned in `benchmarks/peers/versions`.
- Warm rows: all processes of a system share one core, wrk has another.
- Start: from the first process to the first good answer, with one replica; Coldspark's includes \
its deployment.
- Peers that batch do so for fakegpu and minilm: at most {BATCH_MAX} requests, waiting \
{BATCH_WAIT_S * 1000:.0f} ms where that can be set.
- Where Coldspark does not batch, {CONCURRENCY} calls of its replica run at once.
- fakegpu-overlap shows that concurrency without a device in the way; compare it with no peer's row.
- Percentiles are of the calls that ended within a load's seconds: a slow system's waited longer.
- nginx answers with a constant: it is the limit, not a peer.
- Idle memory is the PSS of all processes; it and the idle CPU are taken after the load.
- From zero: the time of one call while there is no replica, on all cores, the server being up.
- Coldspark at zero keeps a template process and forks it; its memory is in the PSS at zero.
- Ray Serve's tuning `default` has `min_replicas=0` and nothing else changed.
- `tuned` adds `upscale_delay_s=0`, a control loop every 0.05 s and handle metrics every 0.1 s.
- Ray Serve's application is deployed anew at zero before each wake ({WAKES["default"]} wakes with \
defaults, {WAKES["tuned"]} tuned): the way down is not measured.
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A title, names of columns, and rows."""

    title: str
    head: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """Return it for the page."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return f"## {self.title}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def plain(self) -> str:
        """Return it for a terminal."""
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return f"{self.title}\n" + "".join(f"  {_spaced(line, widths)}\n" for line in lines)


def _spaced(line: Sequence[str], widths: Sequence[int]) -> str:
    pairs = zip(line, widths, strict=True)
    return "  ".join(cell.ljust(width) for cell, width in pairs).rstrip()


def tables(results: Results) -> list[Table]:
    """Return every table that has rows."""
    found = [Table(title, _WARM_HEAD, _warm(results, w)) for w, title in _TITLES.items()]
    found.append(Table("From zero replicas to the answer", _ZERO_HEAD, _zero(results)))
    found.append(Table("What could not be measured", ["system", "reason"], _failed(results)))
    return [table for table in found if table.rows]


def page(results: Results) -> str:
    """Return the page."""
    machines = sorted({context.machine for context in _contexts(results)})
    named = "".join(f"- {machine}.\n" for machine in machines)
    parts = [_PAGE, f"\nMeasured on:\n\n{named}"]
    runs = Table("Runs", _RUN_HEAD, _runs(results))
    return "".join(parts) + "".join(f"\n{t.markdown()}" for t in [*tables(results), runs])


def _warm(results: Results, worker: str) -> list[list[str]]:
    chosen = [(key[0], row) for key, (_, row) in results.warm.items() if key[1] == worker]
    return [_warm_row(setup, row) for setup, row in sorted(chosen, key=lambda one: _rank(one[0]))]


def _warm_row(setup: str, row: Warm) -> list[str]:
    loads = [row.loads[str(concurrency)] for concurrency in CONCURRENCIES]
    return [
        setup,
        f"{row.start_s:.2f}",
        _each(loads, _rate),
        _each(loads, lambda load: f"{load.p50_ms:.2f}"),
        _each(loads, lambda load: f"{load.p99_ms:.1f}"),
        f"{row.idle_mb:.0f}",
        f"{row.idle_cores:.3f}",
        f"{row.load_average:.1f}",
    ]


def _each(loads: Iterable[Load], shown: Callable[[Load], str]) -> str:
    return " / ".join(map(shown, loads))


def _rate(load: Load) -> str:
    return f"{load.rps:.0f}" + (f" ({load.errors} failed)" if load.errors else "")


def _zero(results: Results) -> list[list[str]]:
    keys = sorted(results.zero, key=lambda key: (key[2], _rank(key[0]), key[1]))
    return [_zero_row(key, results.zero[key][1]) for key in keys]


def _zero_row(key: tuple[str, str, str], row: Zero) -> list[str]:
    wakes = row.wakes_s
    figures = [statistics.median(wakes), min(wakes), max(wakes)]
    shown = [f"{figure:.3f}" for figure in figures]
    return [*key, *shown, str(len(wakes)), f"{row.at_zero_mb:.0f}", f"{row.load_average:.1f}"]


def _failed(results: Results) -> list[list[str]]:
    return [[name, _cell(reason)] for name, reason in sorted(results.failed.items())]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:300]


def _runs(results: Results) -> list[list[str]]:
    warm = [(key[0], key[1], context) for key, (context, _) in results.warm.items()]
    zero = [
        (key[0], f"{key[2]} from zero, {key[1]}", context)
        for key, (context, _) in results.zero.items()
    ]
    rows = sorted([*warm, *zero], key=lambda row: (_rank(row[0]), row[1]))
    return [[s, c.version, what, c.date, f"`{c.command}`"] for s, what, c in rows]


def _contexts(results: Results) -> list[Context]:
    warm = [context for context, _ in results.warm.values()]
    return warm + [context for context, _ in results.zero.values()]


def _rank(setup: str) -> int:
    return _RANK.get(setup, len(_RANK))
