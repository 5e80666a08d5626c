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

from coldspark.core.messages import Device, NodeJoined
from coldspark.core.types import (
    Command,
    DeviceId,
    GpuAsk,
    Limits,
    NodeId,
    Resources,
    Revision,
    RevisionId,
    ScalePolicy,
    Spec,
)
from coldspark.sim.traffic import Durations, Traffic
from coldspark.sim.world import Behaviour, Endpoint, World

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


def a_world(case: Case, traffic: Traffic) -> World:
    """Return one endpoint on a node with as many GPUs as it may have replicas."""
    gpus = tuple(
        Device(id=DeviceId(str(n)), type="A10G", memory_bytes=24 * 10**9)
        for n in range(case.replicas_max)
    )
    spec = Spec(
        command=Command(argv=("serve",)),
        resources=Resources(gpus=(GpuAsk(type="A10G"),)),
        scale=ScalePolicy(
            replicas_max=case.replicas_max, park_timeout_s=None if case.parks else 0.0
        ),
        limits=Limits(queue_max=10**6, request_timeout_s=86_400),
    )
    endpoint = Endpoint(
        name="e",
        revision=Revision(id=RevisionId("r"), spec=spec),
        traffic=traffic,
        behaviour=Behaviour(start=Durations.fixed(10.0)),
    )
    node = NodeJoined(node=NodeId("n"), memory_bytes=10**12, vcpus=1000.0, devices=gpus)
    return World([endpoint], [node], rate_nanos_per_hour=10**9)


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
