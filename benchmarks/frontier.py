"""What waiting costs: every scaling rule on recorded traffic, swept over its settings.

    python -m benchmarks.frontier --traces DIR [--quick] [--seeds N] [--write FILE]

Cost is replica-seconds held (starting, idle or busy) until ten minutes after the last request; a
wait lasts from arrival to a replica. No rule is limited by size: there are four times the replicas
that the busiest minute fills, and the queue has no end.

For each setting of a competitor that no other competitor's setting beats in both cost and wait, the
regret is the least cost of ours with at most its wait, divided by its cost: 1.0 or less means that
ours is on or below its frontier. Both the 95th percentile and the mean of the waits are compared.
With ``--seeds`` the same is done on block-bootstrapped copies of each trace (blocks of an hour).
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from math import ceil, inf
from pathlib import Path

from benchmarks.simulated import one_endpoint
from benchmarks.traces import traces
from coldspark.core.rules.settings import (
    Histogram,
    KeepAlive,
    Knative,
    Learned,
    QueueDelay,
    RayServe,
    RequestCount,
    Rule,
    TargetTracking,
)
from coldspark.core.types import (
    Limits,
    ScalePolicy,
)
from coldspark.sim.traffic import Traffic, resampled
from coldspark.sim.world import World

STARTS_S = (2.0, 30.0)
WAIT_TOLERANCE_S = 0.01
AFTER_S = 600.0
BLOCK_S = 3600.0
_REPLICAS = (8, 400)


@dataclass(frozen=True, slots=True)
class Setting:
    """One rule with its knobs."""

    name: str
    rule: Rule = field(default_factory=Learned)
    wait_value: float = 10.0
    waste_budget: float = 0.0


@dataclass(frozen=True, slots=True)
class Point:
    """What a setting cost on one trace."""

    setting: str
    held_s: float
    p95_s: float
    mean_s: float


@dataclass(frozen=True, slots=True)
class Regret:
    """How much more ours costs than the competitors' frontier: factors, 1.0 is the same."""

    worst: float
    median: float
    against: str
    """The competitor's setting at which it is worst."""


_WAIT_VALUES = (
    *(0, 0.3, 0.6, 1, 1.5, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500, 800, 1200),
    *(2000, 3000, 6000, 12_000, 25_000, 100_000),
)
OURS: tuple[Setting, ...] = (
    *(Setting(f"learned wait_value={value:g}", wait_value=value) for value in _WAIT_VALUES),
    *(
        Setting(f"learned wait_value={value}, waste_budget={waste}", Learned(), value, waste)
        for waste in (0.5, 1.0)
        for value in (0, 10)
    ),
)
OTHERS: tuple[Setting, ...] = (
    *(
        Setting(f"keep-alive {keep:g}", KeepAlive(keep_s=keep))
        for keep in (1, 5, 15, 60, 180, 600, 1800, 7200)
    ),
    *(Setting(f"knative {target}", Knative(target=target)) for target in (0.5, 0.7, 1.0)),
    *(
        Setting(f"ray {target:g} {up}/{down}", RayServe(target=target, up_s=up, down_s=down))
        for target in (1.0, 2.0)
        for up, down in ((30, 600), (0, 60), (10, 300))
    ),
    *(Setting(f"queue-delay {idle}", QueueDelay(idle_s=idle)) for idle in (5, 60, 300, 600)),
    *(
        Setting(f"request-count {n}, {idle}", RequestCount(requests=n, idle_s=idle))
        for n in (1, 2, 4)
        for idle in (5, 60, 600)
    ),
    Setting("histogram", Histogram()),
    Setting("target-tracking", TargetTracking()),
)


def replicas_for(traffic: Traffic) -> int:
    """Return four times what the busiest minute keeps at work."""
    work: dict[int, float] = {}
    for arrival_s, service_s in zip(traffic.arrivals_s, traffic.services_s, strict=True):
        minute = int(arrival_s // 60)
        work[minute] = work.get(minute, 0.0) + service_s
    least, most = _REPLICAS
    return min(most, max(least, 4 * ceil(max(work.values(), default=0.0) / 60)))


def a_world(traffic: Traffic, start_s: float, setting: Setting) -> World:
    """Return one endpoint that scales by a setting."""
    replicas = replicas_for(traffic)
    scale = ScalePolicy(
        replicas_max=replicas,
        park_timeout_s=0.0,
        rule=setting.rule,
        wait_value=setting.wait_value,
        waste_budget=setting.waste_budget,
    )
    limits = Limits(queue_max=10**9, request_timeout_s=1e7, start_timeout_s=3600)
    return one_endpoint(traffic, scale, limits, start_s)


def point(traffic: Traffic, start_s: float, setting: Setting) -> Point:
    """Play one trace under one setting."""
    world = a_world(traffic, start_s, setting)
    until_s = traffic.span_s + AFTER_S
    world.run(until_s)
    lane = world.lanes[0]
    # One that nobody has taken by then has waited until then.
    waits = sorted(
        until_s - arrived_s if wait_s == inf else wait_s
        for arrived_s, wait_s in zip(traffic.arrivals_s, lane.waits_s, strict=True)
    )
    p95_s = waits[min(len(waits) - 1, int(0.95 * len(waits)))]
    return Point(setting.name, lane.held_s, p95_s, sum(waits) / len(waits))


def frontier(points: Sequence[Point], wait: str) -> list[Point]:
    """Return the points that no other beats in both cost and wait, cheapest first."""
    best, found = inf, []
    for each in sorted(points, key=lambda p: (p.held_s, getattr(p, wait))):
        if getattr(each, wait) < best:
            best = getattr(each, wait)
            found.append(each)
    return found


def regret(ours: Sequence[Point], others: Sequence[Point], wait: str) -> Regret:
    """Compare the frontiers."""
    factors: list[tuple[float, str]] = []
    for each in frontier(others, wait):
        limit_s = getattr(each, wait) + WAIT_TOLERANCE_S
        costs = [p.held_s for p in ours if getattr(p, wait) <= limit_s]
        factors.append((min(costs, default=inf) / each.held_s, each.setting))
    worst, against = max(factors)
    return Regret(worst, statistics.median(factor for factor, _ in factors), against)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trace with one start time."""

    trace: str
    start_s: float
    requests: int
    p95: Regret
    mean: Regret
    points: tuple[Point, ...]


def outcome(trace: str, traffic: Traffic, start_s: float) -> Outcome:
    """Play all settings on one trace."""
    ours = [point(traffic, start_s, setting) for setting in OURS]
    others = [point(traffic, start_s, setting) for setting in OTHERS]
    return Outcome(
        trace,
        start_s,
        len(traffic),
        regret(ours, others, "p95_s"),
        regret(ours, others, "mean_s"),
        (*ours, *others),
    )


def _row(found: Outcome) -> str:
    cells = (
        f"{found.trace} | {found.start_s:g} | {found.requests:,}"
        f" | {found.p95.worst:.2f} | {found.p95.median:.2f} | {found.p95.against}"
        f" | {found.mean.worst:.2f} | {found.mean.median:.2f} | {found.mean.against}"
    )
    return f"| {cells} |"


HEAD = (
    "| trace | start, s | requests | p95: worst | median | against"
    " | mean: worst | median | against |\n|---|---|---|---|---|---|---|---|---|"
)


def cases(args: argparse.Namespace) -> Iterator[tuple[str, Traffic, float]]:
    """Yield what is to be played."""
    for name, traffic in traces(args.traces, args.requests, is_quick=args.quick):
        if args.only not in name:
            continue
        copies = [(name, traffic)]
        for seed in range(args.seeds):
            copies.append((f"{name} ~{seed}", resampled(traffic, BLOCK_S, seed)))
        for copy, played in copies:
            for start_s in STARTS_S:
                if len(played) > 1:
                    yield copy, played, start_s


def main() -> None:
    """Print a row for each trace and start time, as they come."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--traces", type=Path, required=True)
    parser.add_argument("--only", default="", help="part of the traces' names")
    parser.add_argument("--quick", action="store_true", help="the largest few of each file")
    parser.add_argument("--requests", type=int, default=12_000, help="of a trace, at most")
    parser.add_argument("--seeds", type=int, default=0, help="resampled copies of each trace")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--points", action="store_true", help="print every point")
    parser.add_argument("--write", type=Path, help="write the table to this file")
    args = parser.parse_args()
    lines = [HEAD]
    print(HEAD, flush=True)
    played = list(cases(args))
    found: list[Outcome] = []
    with ProcessPoolExecutor(args.processes) as pool:
        for each in pool.map(partial(_played), played):
            found.append(each)
            lines.append(_row(each))
            print(lines[-1], flush=True)
            if args.points:
                for p in each.points:
                    print(f"  {p.setting:40} {p.held_s:12,.0f} {p.p95_s:9.2f} {p.mean_s:9.3f}")
    lines.append(_summary(found))
    print(lines[-1])
    if args.write:
        args.write.write_text("\n".join(lines) + "\n")


def _played(case: tuple[str, Traffic, float]) -> Outcome:
    return outcome(*case)


def _summary(found: Sequence[Outcome]) -> str:
    def said(of: str) -> str:
        worst = [getattr(each, of).worst for each in found]
        below = sum(value <= 1.0 for value in worst) / len(worst)
        return f"median worst {statistics.median(worst):.2f}, {below:.0%} nowhere above"

    return f"\nOver {len(found)} rows: p95: {said('p95')}; mean: {said('mean')}."


if __name__ == "__main__":
    main()
