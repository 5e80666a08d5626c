"""The world that simulations share: endpoints, and a GPU for every replica they may have."""

from collections.abc import Sequence

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


def roomy(played: Sequence[tuple[Traffic, ScalePolicy]], limits: Limits, start_s: float) -> World:
    """Return a world of several endpoints, none of them ever short of room."""
    gpus = tuple(
        Device(id=DeviceId(str(n)), type="A10G", memory_bytes=24 * 10**9)
        for n in range(sum(scale.replicas_max for _, scale in played))
    )
    endpoints = [
        _endpoint(f"e{number}", traffic, scale, limits, start_s)
        for number, (traffic, scale) in enumerate(played)
    ]
    node = NodeJoined(node=NodeId("n"), memory_bytes=10**13, vcpus=1e4, devices=gpus)
    return World(endpoints, [node], rate_nanos_per_hour=10**9)


def one_endpoint(traffic: Traffic, scale: ScalePolicy, limits: Limits, start_s: float) -> World:
    """Return a world whose one endpoint is never short of room."""
    return roomy([(traffic, scale)], limits, start_s)


def _endpoint(
    name: str, traffic: Traffic, scale: ScalePolicy, limits: Limits, start_s: float
) -> Endpoint:
    spec = Spec(
        command=Command(argv=("serve",)),
        resources=Resources(gpus=(GpuAsk(type="A10G"),)),
        scale=scale,
        limits=limits,
    )
    return Endpoint(
        name=name,
        revision=Revision(id=RevisionId("r"), spec=spec),
        traffic=traffic,
        behaviour=Behaviour(start=Durations.fixed(start_s)),
    )
