"""Endpoints, nodes and traffic for the simulator's tests."""

import random
from array import array
from collections.abc import Callable, Sequence

from coldspark.sim.simulator import ReplicaBehaviour, SimulatedEndpoint, Simulator
from coldspark.sim.traffic import Durations, Traffic
from coldspark.spec.messages import Device, NodeJoined
from coldspark.spec.types import (
    Command,
    DeviceId,
    GpuRequest,
    Limits,
    NodeId,
    Resources,
    Revision,
    RevisionId,
    ScalePolicy,
    Spec,
)

RATE = 3_600_000_000
"""A nano-dollar for every microsecond, for all nodes together."""


def traffic(*requests: tuple[float, float]) -> Traffic:
    """Return requests by arrival and service time."""
    return Traffic(array("d", (r[0] for r in requests)), array("d", (r[1] for r in requests)))


def poisson(requests: int, mean_gap_s: float, mean_service_s: float, seed: int = 0) -> Traffic:
    """Return Poisson arrivals with exponential service times."""
    chance, now, found = random.Random(seed), 0.0, []
    for _ in range(requests):
        now += chance.expovariate(1 / mean_gap_s)
        found.append((now, 0.01 + chance.expovariate(1 / mean_service_s)))
    return traffic(*found)


def endpoint(
    played: Traffic,
    name: str = "e",
    *,
    start: Durations | None = None,
    failed_starts: float = 0.0,
    limits: Limits | None = None,
    **scale: object,
) -> SimulatedEndpoint:
    """Return an endpoint that takes one whole GPU for each replica, and 10 s to start it."""
    spec = Spec(
        command=Command(argv=("serve",)),
        resources=Resources(gpus=(GpuRequest(type="A10G"),)),
        scale=ScalePolicy(**scale),  # type: ignore[arg-type]
        limits=limits or Limits(queue_max=10_000, request_timeout_s=3600.0),
    )
    behaviour = ReplicaBehaviour(start=start or Durations.fixed(10.0), failed_starts=failed_starts)
    revision = Revision(id=RevisionId("r"), spec=spec)
    return SimulatedEndpoint(name=name, revision=revision, traffic=played, behaviour=behaviour)


def world(
    endpoints: Sequence[SimulatedEndpoint],
    gpus: int = 4,
    *,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Simulator:
    """Return a world with one node."""
    devices = tuple(
        Device(id=DeviceId(str(n)), type="A10G", memory_bytes=24 * 10**9) for n in range(gpus)
    )
    node = NodeJoined(node=NodeId("n"), memory_bytes=10**12, vcpus=100.0, devices=devices)
    return Simulator(
        endpoints, [node], rate_nanos_per_hour=RATE, seed=seed, on_progress=on_progress
    )
