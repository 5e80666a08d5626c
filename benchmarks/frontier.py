"""What waiting costs: every scaling rule on recorded traffic, swept over its settings.

    python -m benchmarks.frontier --traces DIR [--copies N] [--write FILE] [--cache DIR]

Cost is replica-seconds held (starting, idle or busy) until ten minutes after the last request; a
wait lasts from arrival to a replica. No rule is limited by size: there are four times the replicas
that the busiest minute fills, and the queue has no end. Both the 95th percentile and the mean of
the waits are compared; ``regrets`` says how.

Where a file has keys (models, clients, apps), the largest few are played each alone, and together:
as many endpoints under one setting. ``--copies`` plays the same on block-bootstrapped copies of
each trace, in blocks of an hour or a twelfth of the trace, whichever is shorter, and prints the
90 % interval of the regret. ``--cache`` keeps what was played in a folder, and takes it from there
if nothing in ``core``, ``sim`` or the benchmark has changed: an interrupted run goes on.
``--between N`` plays settings of ours between neighbours whose costs lie far apart, N times over:
what is dear between two of our settings may be their step.
"""

import argparse
import hashlib
import pickle
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import ceil, inf, sqrt
from pathlib import Path

from benchmarks.regrets import Point, Regret, by_family, interval, regret
from benchmarks.simulated import one_endpoint
from benchmarks.swept import OTHERS, OURS, Setting, ours
from benchmarks.traces import traces
from coldspark.core.types import Limits, ScalePolicy
from coldspark.sim.traffic import Traffic, resampled
from coldspark.sim.world import World

STARTS_S = (2.0, 30.0)
AFTER_S = 600.0
BLOCK_S, BLOCKS_MIN = 3600.0, 12
APART = 1.05
"""Costs of two neighbours of ours between which ``--between`` plays another, as a factor."""
_REPLICAS = (8, 400)
_SOURCES = ("src/coldspark/core", "src/coldspark/sim", "benchmarks")


@dataclass(frozen=True, slots=True)
class Case:
    """What is played: endpoints under one setting, with one start time."""

    trace: str
    copy: int
    """0: as it was recorded."""
    traffics: tuple[Traffic, ...]
    start_s: float

    @property
    def family(self) -> str:
        """Return which of the files it is from."""
        return self.trace.split(" ")[0]


def replicas_for(traffic: Traffic) -> int:
    """Return four times what the busiest minute keeps at work."""
    work: dict[int, float] = {}
    for arrival_s, service_s in zip(traffic.arrivals_s, traffic.services_s, strict=True):
        minute = int(arrival_s // 60)
        work[minute] = work.get(minute, 0.0) + service_s
    least, most = _REPLICAS
    return min(most, max(least, 4 * ceil(max(work.values(), default=0.0) / 60)))


def a_policy(traffic: Traffic, setting: Setting) -> ScalePolicy:
    """Return a setting for one endpoint."""
    return ScalePolicy(
        replicas_max=replicas_for(traffic),
        park_timeout_s=0.0,
        rule=setting.rule,
        wait_value=setting.wait_value,
        waste_budget=setting.waste_budget,
        patience_s=setting.patience_s,
    )


def a_world(traffic: Traffic, start_s: float, setting: Setting) -> World:
    """Return one endpoint that scales by a setting."""
    limits = Limits(queue_max=10**9, request_timeout_s=1e7, start_timeout_s=3600)
    return one_endpoint(traffic, a_policy(traffic, setting), limits, start_s)


def point(traffics: Sequence[Traffic], start_s: float, setting: Setting) -> Point:
    """Play the endpoints of a case under one setting; costs add up, waits are pooled.

    None of them is ever short of room, so that each may have a world of its own.
    """
    until_s = max(each.span_s for each in traffics) + AFTER_S
    held_s, waits = 0.0, list[float]()
    for traffic in traffics:
        world = a_world(traffic, start_s, setting)
        world.run(until_s)
        lane = world.lanes[0]
        held_s += lane.held_s
        # One that nobody has taken by then has waited until then.
        waits += (
            until_s - arrived_s if wait_s == inf else wait_s
            for arrived_s, wait_s in zip(traffic.arrivals_s, lane.waits_s, strict=True)
        )
    waits.sort()
    p95_s = waits[min(len(waits) - 1, int(0.95 * len(waits)))]
    return Point(setting.name, held_s, p95_s, sum(waits) / len(waits))


def play(settings: Sequence[Setting], cache: Path | None, case: Case) -> tuple[Point, ...]:
    """Play settings on one case, or take them from the cache."""
    file = None if cache is None else cache / f"{_fingerprint(case, settings)}.pickle"
    if file is not None and file.exists():
        kept: tuple[Point, ...] = pickle.loads(file.read_bytes())
        return kept
    points = tuple(point(case.traffics, case.start_s, setting) for setting in settings)
    if file is not None:
        file.write_bytes(pickle.dumps(points))
    return points


def _fingerprint(case: Case, settings: Sequence[Setting]) -> str:
    found = hashlib.sha256(repr((case.trace, case.copy, case.start_s, settings)).encode())
    for traffic in case.traffics:
        found.update(repr((list(traffic.arrivals_s), list(traffic.services_s))).encode())
    for folder in _SOURCES:
        for path in sorted(Path(folder).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:32]


def cases(args: argparse.Namespace) -> Iterator[Case]:
    """Yield what is to be played: each trace with its copies, keys also together."""
    groups: dict[str, list[Traffic]] = defaultdict(list)
    for name, traffic in traces(args.traces, args.requests, is_quick=not args.all_keys):
        if " " in name:
            groups[name.split(" ")[0]].append(traffic)
        yield from _copies(args, name, [traffic])
    for name, traffics in groups.items():
        yield from _copies(args, f"{name} {len(traffics)} keys", traffics)


def _copies(args: argparse.Namespace, name: str, traffics: Sequence[Traffic]) -> Iterator[Case]:
    if args.only not in name:
        return
    for start_s in STARTS_S:
        for copy in range(args.copies + 1):
            played = tuple(_copied(each, copy) for each in traffics)
            if min(map(len, played)) > 1:
                yield Case(name, copy, played, start_s)


def _copied(traffic: Traffic, copy: int) -> Traffic:
    block_s = min(BLOCK_S, traffic.span_s / BLOCKS_MIN)
    return resampled(traffic, block_s, copy) if copy else traffic


HEAD = (
    "| trace | start, s | requests | p95: worst | 90 % | mixed | median | against"
    " | mean: worst | 90 % | mixed | median | against |\n|" + 13 * "---|"
)
WAITS = ("p95_s", "mean_s")


@dataclass(frozen=True, slots=True)
class Row:
    """One trace with one start time."""

    case: Case
    regrets: dict[str, list[Regret]]
    """By wait: of the recorded trace, then of each copy."""

    def text(self) -> str:
        """Return the row of the table."""
        cells = [
            self.case.trace,
            f"{self.case.start_s:g}",
            f"{sum(map(len, self.case.traffics)):,}",
        ]
        for wait in WAITS:
            first, *copies = self.regrets[wait]
            low, high = interval(first.worst, [each.worst for each in copies])
            behind = f" (waits {first.behind_s:.2g} s longer)" if first.worst == inf else ""
            cells += [f"{first.worst:.2f}{behind}", f"{low:.2f}-{high:.2f}" if copies else ""]
            cells += [f"{first.mixed:.2f}", f"{first.median:.2f}", first.against]
        return f"| {' | '.join(cells)} |"


def rows(args: argparse.Namespace, played: Sequence[Case]) -> Iterator[Row]:
    """Play everything; yield each row once its copies are done, and say how far it is."""
    begun_s = time.monotonic()
    waiting: list[tuple[Case, tuple[Point, ...], tuple[Point, ...]]] = []
    with ProcessPoolExecutor(args.processes) as pool:
        results = pool.map(partial(_both, args.cache, args.between), played)
        for done, (case, (mine, theirs)) in enumerate(zip(played, results, strict=True), 1):
            passed_s = time.monotonic() - begun_s
            print(f"{done}/{len(played)} {passed_s:.0f} s", file=sys.stderr, flush=True)
            waiting.append((case, mine, theirs))
            following = played[done] if done < len(played) else None
            if following is None or following.copy == 0:
                yield _row(waiting)
                waiting = []
            if args.points and case.copy == 0:
                for p in (*mine, *theirs):
                    print(f"  {p.setting:44} {p.held_s:12,.0f} {p.p95_s:9.2f} {p.mean_s:9.3f}")


def _both(
    cache: Path | None, rounds: int, case: Case
) -> tuple[tuple[Point, ...], tuple[Point, ...]]:
    """Return ours and the others' points."""
    swept, others = play(OURS, cache, case), play(OTHERS, cache, case)
    known = dict(zip(OURS, swept, strict=True))
    between = [_between(patience_s, known, cache, rounds, case) for patience_s in (None, 0.0)]
    return (*swept, *between[0], *between[1]), others


def _between(
    patience_s: float | None,
    known: dict[Setting, Point],
    cache: Path | None,
    rounds: int,
    case: Case,
) -> tuple[Point, ...]:
    """Play between settings of ours whose costs lie far apart: else the step is measured."""
    held_s = {
        setting.wait_value: point.held_s
        for setting, point in known.items()
        if setting.patience_s == patience_s and not setting.waste_budget
    }
    found: tuple[Point, ...] = ()
    for _ in range(rounds):
        pairs = pairwise(sorted(value for value in held_s if value))
        values = [sqrt(a * b) for a, b in pairs if held_s[b] > APART * held_s[a]]
        played = play([ours(value, patience_s) for value in values], cache, case)
        held_s |= {value: p.held_s for value, p in zip(values, played, strict=True)}
        found += played
    return found


def _row(found: Sequence[tuple[Case, tuple[Point, ...], tuple[Point, ...]]]) -> Row:
    regrets = {wait: [regret(mine, theirs, wait) for _, mine, theirs in found] for wait in WAITS}
    return Row(found[0][0], regrets)


def summary(found: Sequence[Row]) -> str:
    """Return what all rows say together."""
    said = []
    for wait in WAITS:
        first = [row.regrets[wait][0] for row in found]
        below = sum(each.worst <= 1.0 for each in first)
        even = sum(each.median <= 1.0 for each in first)
        said.append(
            f"{wait.removesuffix('_s')}: worst {_mean(found, wait, 'worst')},"
            f" mixed {_mean(found, wait, 'mixed')},"
            f" median row {statistics.median(each.worst for each in first):.2f},"
            f" nowhere above in {below} of {len(first)} rows;"
            f" median setting {_mean(found, wait, 'median')}, at 1.00 or less in {even}."
        )
    return "\n".join(["", f"Over {len(found)} rows, geometric means with 90 % intervals:", *said])


def _mean(found: Sequence[Row], wait: str, of: str) -> str:
    families: dict[str, list[float]] = defaultdict(list)
    for row in found:
        families[row.case.family].append(getattr(row.regrets[wait][0], of))
    middle, low, high = by_family(families)
    return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def main() -> None:
    """Print a row for each trace and start time, as they come."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--only", default="", help="part of the traces' names")
    parser.add_argument("--all-keys", action="store_true", help="not only the largest few of each")
    parser.add_argument("--requests", type=int, default=4000, help="of a trace, at most")
    parser.add_argument("--copies", type=int, default=0, help="resampled copies of each trace")
    parser.add_argument("--between", type=int, default=0, help="rounds of finer settings of ours")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--points", action="store_true", help="print every point")
    parser.add_argument("--write", type=Path, help="write the table to this file")
    parser.add_argument("--cache", type=Path, help="keep what was played in this folder")
    args = parser.parse_args()
    if args.cache:
        args.cache.mkdir(parents=True, exist_ok=True)
    lines, found = [HEAD], []
    print(HEAD, flush=True)
    for row in rows(args, list(cases(args))):
        found.append(row)
        lines.append(row.text())
        print(lines[-1], flush=True)
    lines.append(summary(found))
    print(lines[-1])
    if args.write:
        args.write.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
