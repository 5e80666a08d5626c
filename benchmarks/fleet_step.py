"""What a fleet's decisions cost: one warm request through ``Fleet.step``, and its records.

    python -m benchmarks.fleet_step

A request is ``RequestArrived`` -> ``Forward`` and ``RequestFinished``, the events' making
included. Warm: half of the replicas are busy meanwhile. Queued: all are, and one request waits
already. Each request finishes after those before it, and requests go to the fleets in turn.
Prints microseconds of CPU: the median and the best of the runs.
"""

import gc
import platform
import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from coldspark.billing.usage import Usage
from coldspark.fleet.fleet import Fleet
from coldspark.spec.messages import (
    Forward,
    ReplicaReady,
    RequestArrived,
    RequestFinished,
    ReservationGranted,
    Ticked,
)
from coldspark.spec.types import (
    Command,
    EndpointName,
    FleetId,
    ReplicaId,
    RequestId,
    Revision,
    RevisionId,
    ScalePolicy,
    Spec,
    VariantName,
)
from coldspark.spec.waterfall import RequestTimeline, Waterfall, to_waterfall

RUNS = 9
REQUESTS = 20_000
CASES = ((1, 1), (100, 1), (1_000, 1), (1, 10_000))
"""Replicas of a fleet, and fleets."""
TIMEOUT_S = 600.0
GAP_S = 0.0005
"""Virtual time between two requests."""


@dataclass
class WarmFleet:
    """One fleet and its requests in flight, oldest first."""

    fleet: Fleet
    running: deque[RequestId]


def warm_fleet(name: str, replicas: int, held: int) -> WarmFleet:
    """Return a fleet whose replicas are all ready, with ``held`` requests in flight."""
    scale = ScalePolicy(replicas_min=replicas, replicas_max=replicas, idle_timeout_s=3600.0)
    spec = Spec(command=Command(argv=("serve",)), scale=scale)
    fleet = Fleet(FleetId(f"{name}/main"), Revision(id=RevisionId("r"), spec=spec))
    fleet.step(Ticked(), 0.0)
    for replica in [replica.id for replica in fleet.replicas()]:
        fleet.step(ReservationGranted(replica), 0.0)
        fleet.step(ReplicaReady(replica), 0.0)
    warm = WarmFleet(fleet, deque())
    for number in range(held):
        request = RequestId(f"{name}-held-{number}")
        fleet.step(RequestArrived(request, TIMEOUT_S), 0.0)
        warm.running.append(request)
    return warm


def play(fleets: list[WarmFleet], names: list[RequestId], now: float) -> float:
    """Play the requests; return microseconds for each."""
    begun = time.process_time()
    count = len(fleets)
    for number, name in enumerate(names):
        warm = fleets[number % count]
        warm.running.append(name)
        warm.fleet.step(RequestArrived(name, now + TIMEOUT_S, 1_000), now)
        now += GAP_S
        warm.fleet.step(RequestFinished(warm.running.popleft()), now)
    return (time.process_time() - begun) * 1e6 / len(names)


def timed_case(replicas: int, fleets: int, held: int) -> list[float]:
    """Time the runs of one case."""
    warm = [warm_fleet(f"e{number}", replicas, held) for number in range(fleets)]
    runs: list[float] = []
    for run in range(RUNS + 1):
        names = [RequestId(f"{run}-{number}") for number in range(REQUESTS)]
        runs.append(play(warm, names, 1.0 + run * REQUESTS * GAP_S))
    assert warm[0].fleet.queued == max(0, held - replicas), "something else was measured"
    return runs[1:]


def repeated(work: Callable[[], object]) -> list[float]:
    """Time one call, in microseconds."""
    runs: list[float] = []
    for _ in range(RUNS):
        begun = time.process_time()
        for _ in range(REQUESTS):
            work()
        runs.append((time.process_time() - begun) * 1e6 / REQUESTS)
    return runs


def a_usage() -> Usage:
    """Return one line of the ledger."""
    return Usage(
        request=RequestId("r"),
        endpoint=EndpointName("e"),
        variant=VariantName("main"),
        revision=RevisionId("0123456789abcdef"),
        replica=ReplicaId("e.1"),
        gpu=None,
        gpu_count=0.0,
        is_simulated=False,
        arrived_ms=0,
        duration_ms=1,
        busy_ms=1,
        bytes_in=1_000,
        bytes_out=1_000,
        status=200,
        error=None,
        is_cold=False,
        key=None,
        busy_nanos=1_234,
        waterfall=FALL,
    )


FALL = Waterfall()
RECORDS: dict[str, Callable[[], object]] = {
    "nothing (the loop itself)": lambda: None,
    "RequestArrived": lambda: RequestArrived(RequestId("r"), 1.0, 1_000),
    "RequestFinished": lambda: RequestFinished(RequestId("r")),
    "Forward": lambda: Forward(RequestId("r"), ReplicaId("e.1")),
    "Waterfall": lambda: Waterfall(queued_us=1, inferred_us=2, returned_us=3),
    "Usage": a_usage,
    "attribute": lambda: to_waterfall(
        RequestTimeline(
            started_s=0.0, arrived_s=0.1, forwarded_s=0.2, answered_s=0.3, returned_s=0.4
        ),
        None,
    ),
}


def show(what: str, runs: list[float]) -> None:
    """Print median and minimum."""
    print(f"{what:36} median {statistics.median(runs):6.2f} us  min {min(runs):6.2f} us")


def main() -> None:
    """Print every figure."""
    print(f"Python {platform.python_version()}, {platform.machine()}, {RUNS} runs of {REQUESTS}")
    for replicas, fleets in CASES:
        where = f"{replicas:,} x {fleets:,} replicas"
        show(f"warm request, {where}", timed_case(replicas, fleets, replicas // 2))
        show(f"queued request, {where}", timed_case(replicas, fleets, replicas + 1))
        gc.collect()
    for name, work in RECORDS.items():
        show(name, repeated(work))


if __name__ == "__main__":
    main()
