"""How fast the simulator plays: requests of virtual traffic in a second of processor.

    python -m benchmarks.simulation

One endpoint, Poisson arrivals, fixed service times, all of it in one process. ``steady`` is served
by a few replicas that are ready; in ``queued`` they are too few, so that most requests wait;
``sparse`` parks between most requests.
"""

import gc
import platform
import random
import statistics
import time
from array import array
from dataclasses import dataclass

from benchmarks.simulated import one_endpoint
from coldspark.sim.simulator import Simulator
from coldspark.sim.traffic import Traffic
from coldspark.spec.types import Limits, ScalePolicy

RUNS = 5


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of traffic."""

    name: str
    requests: int
    rate_per_s: float
    service_s: float
    replicas_max: int
    parks: bool = False


CASES = (
    Case("steady: 20/s, 0.1 s each, up to 8 replicas", 200_000, 20.0, 0.1, 8),
    Case("the same, and idle ones are parked", 100_000, 20.0, 0.1, 8, parks=True),
    Case("queued: 20/s, 0.1 s each, 2 replicas", 100_000, 20.0, 0.1, 2),
    Case("sparse: one in 10 minutes, 5 s each", 20_000, 1 / 600, 5.0, 4, parks=True),
)


def poisson(case: Case) -> Traffic:
    """Return the traffic of a case."""
    chance, now, arrivals = random.Random(1), 0.0, array("d")
    for _ in range(case.requests):
        now += chance.expovariate(case.rate_per_s)
        arrivals.append(now)
    return Traffic(arrivals, array("d", [case.service_s]) * case.requests)


def a_world(case: Case, traffic: Traffic) -> Simulator:
    """Return one endpoint on a node with as many GPUs as it may have replicas."""
    scale = ScalePolicy(replicas_max=case.replicas_max, park_timeout_s=None if case.parks else 0.0)
    limits = Limits(queue_max=10**6, request_timeout_s=86_400)
    return one_endpoint(traffic, scale, limits, start_s=10.0)


def main() -> None:
    """Print requests per second of processor, the median and the best of the runs."""
    print(f"Python {platform.python_version()}, {platform.machine()}, {RUNS} runs")
    for case in CASES:
        traffic, rates = poisson(case), []
        for _ in range(RUNS):
            world = a_world(case, traffic)
            gc.collect()
            begun = time.process_time()
            world.run()
            rates.append(case.requests / (time.process_time() - begun))
        print(
            f"{case.name:44} median {statistics.median(rates):9,.0f}/s  best {max(rates):9,.0f}/s"
        )


if __name__ == "__main__":
    main()
