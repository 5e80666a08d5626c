"""The world that simulations share: one endpoint, and a GPU for every replica it may have."""

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


def one_endpoint(traffic: Traffic, scale: ScalePolicy, limits: Limits, start_s: float) -> Simulator:
    """Return a world whose one endpoint is never short of room."""
    gpus = tuple(
        Device(id=DeviceId(str(n)), type="A10G", memory_bytes=24 * 10**9)
        for n in range(scale.replicas_max)
    )
    spec = Spec(
        command=Command(argv=("serve",)),
        resources=Resources(gpus=(GpuRequest(type="A10G"),)),
        scale=scale,
        limits=limits,
    )
    endpoint = SimulatedEndpoint(
        name="e",
        revision=Revision(id=RevisionId("r"), spec=spec),
        traffic=traffic,
        behaviour=ReplicaBehaviour(start=Durations.fixed(start_s)),
    )
    node = NodeJoined(node=NodeId("n"), memory_bytes=10**13, vcpus=1e4, devices=gpus)
    return Simulator([endpoint], [node], rate_nanos_per_hour=10**9)
