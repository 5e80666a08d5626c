"""What is measured by looking: concurrency of variants, and what replicas use."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
from keepers import NOON_MS, keeping

from coldspark.doors.aws.protocol.names import to_namespace
from coldspark.node.replica_usage import ReplicaUsage, UsageProbe, measure
from coldspark.platform.metric_ports import REPLICA_NAMESPACE, Metric
from coldspark.platform.ports import EndpointView, ReplicaView, ScaleBoundsView, VariantView
from coldspark.spec.messages import Device, Reservation
from coldspark.spec.types import (
    Command,
    DeviceId,
    EndpointDefinition,
    EndpointName,
    EndpointStatus,
    FleetId,
    NodeId,
    ReplicaId,
    Revision,
    RevisionId,
    ScalePolicy,
    Spec,
    VariantDefinition,
    VariantName,
)
from coldspark.telemetry.endpoint_metrics import VariantContext, dimensions_of
from coldspark.telemetry.sampler import MetricSampler, variant_contexts

DIMENSIONS = dimensions_of("echo", "main")
SCALE = ScalePolicy(replicas_min=1, replicas_max=4, concurrency=2)


def seen(*running: int, queued: int = 0) -> EndpointView:
    """Return an endpoint with a replica for each number of running requests."""
    revision = Revision(
        id=RevisionId("r"), spec=Spec(command=Command(argv=("python",)), scale=SCALE)
    )
    name, variant = EndpointName("echo"), VariantName("main")
    replicas = tuple(
        ReplicaView(
            replica=ReplicaId(f"p{number}"),
            revision=revision.id,
            state="busy" if busy else "ready",
            running=busy,
            age_s=1.0,
            idle_s=None,
            node=None,
            devices=(),
        )
        for number, busy in enumerate(running)
    )
    view = VariantView(
        name=variant,
        weight=1.0,
        revision=revision,
        status=EndpointStatus.READY,
        failure=None,
        queued=queued,
        replicas=replicas,
        decisions=(),
        floor=ScaleBoundsView(
            min=SCALE.replicas_min, max=SCALE.replicas_max, reason=None, next=None
        ),
    )
    return EndpointView(
        name=name,
        definition=EndpointDefinition(
            name=name, variants=(VariantDefinition(name=variant, revision=revision),)
        ),
        status=EndpointStatus.READY,
        failure=None,
        created_ms=0,
        updated_ms=0,
        variants=(view,),
    )


def looked(path: Path, view: EndpointView, uses: list[ReplicaUsage]) -> dict[str, float]:
    """Look once, and return the averages of all that was measured by metric."""

    async def run() -> dict[str, float]:
        async def see() -> list[EndpointView]:
            return [view]

        async def use() -> list[ReplicaUsage]:
            return uses

        async with keeping(path) as kept:
            sampler = MetricSampler(kept.metrics, see, use, lambda: kept.now_ms)
            await sampler.sample_concurrency()
            await sampler.sample_machine()
            return {
                key.name: (
                    await kept.metrics.periods(
                        Metric(namespace=key.namespace, name=key.name, dimensions=key.dimensions),
                        NOON_MS,
                        NOON_MS + 60_000,
                        60,
                    )
                )[0].mean
                for key in await kept.metrics.series()
            }

    return asyncio.run(run())


def test_concurrency_is_what_runs_and_what_waits(tmp_path: Path) -> None:
    """Utilisation is of all slots there may be, and of those that are provisioned.

    Concurrency is told as each of three replicas would: its average is per replica.
    """
    found = looked(tmp_path, seen(2, 1, 0, queued=3), [])

    assert found == {
        "ConcurrentRequestsPerModel": 2,
        "ServerlessConcurrentExecutionsUtilization": 3 / 8,
        "ServerlessProvisionedConcurrencyExecutions": 2,
        "ServerlessProvisionedConcurrencyUtilization": 1,
    }


def test_what_sleeps_measures_nothing(tmp_path: Path) -> None:
    """Absent, not zero."""
    assert looked(tmp_path, seen(), []) == {}


def test_what_cannot_be_measured_is_absent(tmp_path: Path) -> None:
    """A replica without a GPU has no GPU metrics; one seen first is measured over its life."""
    use = ReplicaUsage(
        replica=ReplicaId("p0"),
        fleet=FleetId("echo/main"),
        age_s=10.0,
        cpu_us=5_000_000,
        memory_percent=40.0,
    )

    assert looked(tmp_path, seen(), [use]) == {
        "CPUUtilization": pytest.approx(50),
        "MemoryUtilization": 40,
    }


def test_standings_tell_who_serves_and_what_is_provisioned() -> None:
    """For what the ledger's lines do not say."""
    assert variant_contexts([seen(1, 0)]) == {("echo", "main"): VariantContext(2, True)}


def test_a_process_is_measured_by_the_kernels_count(tmp_path: Path) -> None:
    """This one: it has used processor time, is of some age, and has no cgroup of ours."""
    hold = UsageProbe(
        replica=ReplicaId("p0"),
        fleet=FleetId("echo/main"),
        pid=os.getpid(),
        cgroup=None,
        memory_bytes_max=1,
        grant=Reservation(replica=ReplicaId("p0"), node=NodeId("local")),
    )
    simulated = Device(id=DeviceId("sim"), type="T4", memory_bytes=1, is_simulated=True)
    rehearsed = replace(hold, grant=replace(hold.grant, devices=(simulated,)))

    (use,) = measure([hold])
    assert use.cpu_us > 0
    assert use.age_s > 0
    assert use.memory_percent is None
    assert measure([rehearsed])[0].gpu_percent is None
    (gone,) = measure([replace(hold, pid=2**22 + 1)])
    assert (gone.cpu_us, gone.age_s) == (0, 0.0)


def test_the_machines_metrics_are_named_as_sagemaker_names_them() -> None:
    """Their namespace is a path."""
    assert to_namespace(REPLICA_NAMESPACE) == "/aws/sagemaker/Endpoints"
    assert DIMENSIONS == (("EndpointName", "echo"), ("VariantName", "main"))
