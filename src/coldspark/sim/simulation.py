"""Simulate one policy against traffic in virtual time, and summarise the result."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from coldspark.sim.simulator import EndpointRun, ReplicaBehaviour, SimulatedEndpoint, Simulator
from coldspark.sim.traffic import Durations, Traffic
from coldspark.spec.messages import Device, NodeJoined, ScaleBoundsChanged
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

_GPU = "simulated"
_DEADLINE_S = 7 * 86_400.0
"""Whoever waits is not refused: that they waited shall be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated."""

    traffic: Traffic
    period_s: float
    """Until when; idling up to it counts."""
    scale: ScalePolicy
    start: Durations
    thaw: Durations | None = None
    """None: nothing is parked (the policy must say so)."""
    hour_nanos: int = 0
    """What a replica's hour costs."""
    seed: int = 0
    bounds_changes: tuple[tuple[float, ScaleBoundsChanged], ...] = ()
    """When the replica bounds change, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitSummary:
    """How long something took, in seconds."""

    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult:
    """The result of a scenario."""

    period_s: float
    requests: int
    unserved: int
    """No replica had taken them when the period ended; not in any quantile."""
    cold: int
    """Waited for a start or a thaw."""
    starts: int
    unused: int
    """Replicas that never served a request."""
    wait: WaitSummary
    """From arrival to a replica."""
    latency: WaitSummary
    """From arrival to the reply."""
    busy_s: float
    idle_s: float
    starting_s: float
    parked_s: float
    busy_nanos: int
    idle_nanos: int
    """Idle or parked."""
    starting_nanos: int

    @property
    def served(self) -> int:
        """Return how many requests a replica took."""
        return self.requests - self.unserved

    @property
    def cold_share(self) -> float:
        """Return the share of served requests that waited for a start or a thaw."""
        return self.cold / self.served if self.served else 0.0

    @property
    def held_s(self) -> float:
        """Return the replica-seconds that held a device."""
        return self.busy_s + self.idle_s + self.starting_s

    @property
    def utilisation(self) -> float:
        """Return the share of the held time in which a request ran."""
        return self.busy_s / self.held_s if self.held_s else 0.0

    @property
    def nanos(self) -> int:
        """Return what all of it cost, at the scenario's rate."""
        return self.busy_nanos + self.idle_nanos + self.starting_nanos


def simulate(
    scenario: Scenario, on_progress: Callable[[int, int], None] | None = None
) -> SimulationResult:
    """Return the result of a scenario; the same scenario always gives the same."""
    count = max(
        [
            scenario.scale.replicas_max,
            *(one.replicas_max or 0 for _, one in scenario.bounds_changes),
        ]
    )
    simulator = Simulator(
        [_endpoint(scenario)],
        [_node(count)],
        rate_nanos_per_hour=scenario.hour_nanos * count,
        seed=scenario.seed,
        on_progress=on_progress,
    )
    simulator.run(scenario.period_s)
    return _result(simulator.runs[0], scenario)


def _endpoint(scenario: Scenario) -> SimulatedEndpoint:
    spec = Spec(
        command=Command(argv=("simulated",)),
        resources=Resources(gpus=(GpuRequest(type=_GPU),)),
        scale=scenario.scale,
        limits=Limits(
            queue_max=max(1, len(scenario.traffic)),
            request_timeout_s=_DEADLINE_S,
            start_timeout_s=_DEADLINE_S,
        ),
    )
    behaviour = ReplicaBehaviour(start=scenario.start)
    if scenario.thaw is not None:
        behaviour = ReplicaBehaviour(start=scenario.start, thaw=scenario.thaw)
    revision = Revision(id=RevisionId("simulated"), spec=spec)
    return SimulatedEndpoint(
        name="e",
        revision=revision,
        traffic=scenario.traffic,
        behaviour=behaviour,
        bounds_changes=scenario.bounds_changes,
    )


def _node(count: int) -> NodeJoined:
    """Return a node on which only devices are short, one for each replica."""
    devices = (
        Device(id=DeviceId(str(index)), type=_GPU, memory_bytes=24 * 10**9)
        for index in range(count)
    )
    return NodeJoined(
        node=NodeId("n"), memory_bytes=count * 10**12, vcpus=1000.0 * count, devices=tuple(devices)
    )


def _result(run: EndpointRun, scenario: Scenario) -> SimulationResult:
    served = [(wait_s, i) for i, wait_s in enumerate(run.waits_s) if wait_s < inf]
    services = scenario.traffic.services_s
    return SimulationResult(
        period_s=scenario.period_s,
        requests=len(scenario.traffic),
        unserved=len(scenario.traffic) - len(served),
        cold=sum(run.cold),
        starts=run.starts,
        unused=run.unused,
        wait=summarize([wait_s for wait_s, _ in served]),
        latency=summarize([wait_s + services[i] for wait_s, i in served]),
        busy_s=run.busy_s,
        idle_s=run.idle_s,
        starting_s=run.starting_s,
        parked_s=run.parked_s,
        busy_nanos=run.busy_nanos,
        idle_nanos=run.idle_nanos,
        starting_nanos=run.starting_nanos,
    )


def summarize(values_s: Sequence[float]) -> WaitSummary:
    """Return mean and nearest-rank quantiles; all zero of nothing."""
    if not values_s:
        return WaitSummary(mean_s=0.0, p50_s=0.0, p95_s=0.0, p99_s=0.0)
    ordered = sorted(values_s)

    def rank(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1]

    mean_s = sum(ordered) / len(ordered)
    return WaitSummary(mean_s=mean_s, p50_s=rank(0.5), p95_s=rank(0.95), p99_s=rank(0.99))
