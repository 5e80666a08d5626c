"""Engines by node: where a replica runs, what an engine need not do, and a node that leaves."""

import asyncio
from collections.abc import Awaitable, Callable

from platform_rig import CHAT, Caller, Rig, TimedEngine, endpoint, revision, variant

from coldspark.platform.controller import Controller
from coldspark.spec.messages import Device, NodeJoined
from coldspark.spec.types import GIB, DeviceId, NodeId

GPU = Device(id=DeviceId("g"), type="A10G", memory_bytes=22 * GIB, is_simulated=True)
FAR = NodeJoined(node=NodeId("far"), memory_bytes=64 * GIB, vcpus=8.0, devices=(GPU,))
"""The other node, ``n``, has no GPU."""


class PlainEngine(TimedEngine):
    """The port and no more: it parks nothing."""

    @property
    def parking(self) -> None:  # type: ignore[override]
        return None

    def park(self, replica: object) -> None:
        raise AssertionError("it cannot park")


def play(work: Callable[[Rig], Awaitable[None]]) -> None:
    """Run a scenario on a server of one node."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        try:
            await work(rig)
            rig.platform.controller.driver.check()
        finally:
            await rig.close()

    asyncio.run(run())


def with_far(rig: Rig, engine: TimedEngine | None = None) -> tuple[Controller, TimedEngine]:
    """Let a second node join."""
    controller, far = rig.platform.controller, engine or TimedEngine()
    far.controller = controller
    controller.add_node(FAR, far)
    return controller, far


def test_a_start_goes_to_the_engine_of_the_node_that_has_room() -> None:
    """And so do its requests."""

    async def work(rig: Rig) -> None:
        _, far = with_far(rig)
        large = revision("large", gpu="A10G")
        await rig.platform.deploy(endpoint(variant("main", large)))
        assert await rig.ask() == "large"
        assert list(far.revisions.values()) == ["large"]
        assert rig.engine.revisions == {}
        [view] = rig.platform.endpoint(CHAT).variants
        assert [replica.node for replica in view.replicas] == ["far"]

    play(work)


def test_an_engine_that_cannot_park_keeps_its_replicas_ready() -> None:
    """The fleet hears why, and the replica goes on taking requests."""

    async def work(rig: Rig) -> None:
        _, far = with_far(rig, PlainEngine())
        large = revision("large", gpu="A10G", idle_timeout_s=0.01, park_timeout_s=60.0)
        await rig.platform.deploy(endpoint(variant("main", large)))
        assert await rig.ask() == "large"
        await asyncio.sleep(0.05)
        assert await rig.ask() == "large"
        assert len(far.calls) == 2

    play(work)


def test_what_ran_on_a_node_that_leaves_fails_at_once_and_runs_elsewhere() -> None:
    """Its requests hear which node is lost; the next one wakes a replica on another node."""

    async def work(rig: Rig) -> None:
        controller, far = with_far(rig)
        await rig.platform.deploy(endpoint(variant("main", revision("new"))))
        far.service_s = rig.engine.service_s = 60.0
        caller = Caller()
        rig.platform.submit(rig.invocation("main"), caller)
        await rig.until(lambda: bool(far.calls or rig.engine.calls))
        host, other = (far, rig.engine) if far.calls else (rig.engine, far)
        name = NodeId("far") if host is far else NodeId("n")
        controller.remove_node(name)
        assert await asyncio.wait_for(caller.answer, 5) == f"ReplicaDied: node {name} is lost"
        controller.driver.check()
        other.service_s = 0.002
        assert await rig.ask() == "new"
        assert len(other.calls) == len(host.calls) == 1

    play(work)


def test_a_node_may_leave_and_join_again() -> None:
    """With another engine, as after its restart."""

    async def work(rig: Rig) -> None:
        controller, _ = with_far(rig)
        large = revision("large", gpu="A10G")
        await rig.platform.deploy(endpoint(variant("main", large)))
        assert await rig.ask() == "large"
        controller.remove_node(NodeId("far"))
        _, back = with_far(rig)
        assert await rig.ask() == "large"
        assert len(back.calls) == 1

    play(work)
