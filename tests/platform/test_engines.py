"""Engines by node: where a replica runs, what an engine need not do, and a node that leaves."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from platform_rig import CHAT, STOPPED, Caller, Load, Rig, TimedEngine, endpoint, revision, variant

from coldspark.fleet.replica import ReplicaState
from coldspark.platform.controller import Controller
from coldspark.platform.ports import Invocation, ReplySink, StartOrder
from coldspark.spec.messages import Device, NodeJoined, Reservation, ScaleBoundsChanged
from coldspark.spec.types import (
    GIB,
    DeviceId,
    EndpointStatus,
    NodeId,
    ReplicaId,
    RequestId,
    VariantName,
)


def gpu_node(name: str) -> NodeJoined:
    """Return a node with one GPU."""
    gpu = Device(id=DeviceId(name), type="A10G", memory_bytes=22 * GIB, is_simulated=True)
    return NodeJoined(node=NodeId(name), memory_bytes=64 * GIB, vcpus=8.0, devices=(gpu,))


FAR = gpu_node("far")
"""The other node, ``n``, has no GPU."""


class PlainEngine(TimedEngine):
    """The port and no more: it parks nothing."""

    @property
    def parking(self) -> None:  # type: ignore[override]
        return None

    def park(self, replica: object) -> None:
        raise AssertionError("it cannot park")


def play(work: Callable[[Rig], Awaitable[None]], *, has_reader: bool = True) -> None:
    """Run a scenario on a server of one node."""

    async def run() -> None:
        rig = Rig(has_reader=has_reader)
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


def test_a_replica_whose_engine_cannot_park_is_stopped_instead() -> None:
    """The fleet hears why, and the next request starts another."""

    async def work(rig: Rig) -> None:
        _, far = with_far(rig, PlainEngine())
        large = revision("large", gpu="A10G", idle_timeout_s=0.01, park_timeout_s=60.0)
        await rig.platform.deploy(endpoint(variant("main", large)))
        assert await rig.ask() == "large"
        await asyncio.sleep(0.05)
        assert await rig.ask() == "large"
        assert len(far.calls) == len(far.revisions) == 2
        [view] = rig.platform.endpoint(CHAT).variants
        assert any("cannot park replicas" in decision.reason for decision in view.decisions)

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
        answer = await asyncio.wait_for(caller.answer, 5)
        assert answer.startswith("ReplicaDied: ")
        assert f"node {name} is lost" in answer
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


def test_what_waits_when_a_node_leaves_is_not_sent_there() -> None:
    """One request runs there and fails; the five behind it are answered on another node."""

    async def work(rig: Rig) -> None:
        controller, far = with_far(rig)
        far.service_s = 60.0
        large = revision("large", gpu="A10G", replicas_max=1)
        await rig.platform.deploy(endpoint(variant("main", large)))
        callers = [Caller() for _ in range(6)]
        for caller in callers:
            rig.platform.submit(rig.invocation("main"), caller)
        await rig.until(lambda: bool(far.calls))
        near = TimedEngine()
        near.controller = controller
        controller.add_node(gpu_node("near"), near)
        controller.remove_node(FAR.node)
        first, *others = [await asyncio.wait_for(caller.answer, 5) for caller in callers]
        assert "node far is lost" in first
        assert others == ["large"] * 5
        assert len(far.calls) == 1

    play(work)


def test_one_engine_of_two_nodes_loses_the_replicas_of_the_one_that_left() -> None:
    """Those of the other node serve on."""

    async def work(rig: Rig) -> None:
        controller, engine = with_far(rig)
        controller.add_node(gpu_node("near"), engine)
        large = revision("large", gpu="A10G", replicas_min=2, replicas_max=2)
        await rig.platform.deploy(endpoint(variant("main", large)))

        def there() -> list[ReplicaId]:
            [view] = rig.platform.endpoint(CHAT).variants
            return [
                one.replica for one in view.replicas if one.node == "far" and one.state == "ready"
            ]

        await rig.until(lambda: len(engine.revisions) == 2 and len(there()) == 1)
        kept = there()
        controller.remove_node(NodeId("near"))
        assert there() == kept
        assert await rig.ask() == "large"

    play(work)


def test_nodes_that_are_lost_spend_no_start_budget() -> None:
    """A revision is not to blame for its node: the endpoint stays Ready and starts elsewhere."""

    async def work(rig: Rig) -> None:
        controller, _ = with_far(rig)
        names = ("far", "b", "c")
        for name in names[1:]:
            engine = TimedEngine()
            engine.start_s, engine.controller = 60.0, controller
            controller.add_node(gpu_node(name), engine)
        last = TimedEngine()
        last.controller = controller
        controller.add_node(gpu_node("last"), last)
        large = revision("large", gpu="A10G", replicas_min=3, replicas_max=3)
        await rig.platform.deploy(endpoint(variant("main", large)))
        for name in names:
            controller.remove_node(NodeId(name))
        assert rig.platform.endpoint(CHAT).status is EndpointStatus.READY
        assert await rig.ask() == "large"
        assert len(last.calls) == 1

    play(work)


def test_what_a_lost_engine_says_late_changes_nothing() -> None:
    """It may not know yet that its node is taken for lost."""

    async def work(rig: Rig) -> None:
        controller, far = with_far(rig)
        await rig.platform.deploy(endpoint(variant("main", revision("large", gpu="A10G"))))
        assert await rig.ask() == "large"
        [replica] = far.revisions
        controller.remove_node(FAR.node)
        controller.on_ready(replica)
        controller.on_parked(replica, GIB)
        controller.on_exited(replica, STOPPED)
        controller.driver.check()

    play(work)


def test_a_node_that_joins_twice_was_started_anew() -> None:
    """What ran there before is lost."""

    async def work(rig: Rig) -> None:
        with_far(rig)
        await rig.platform.deploy(endpoint(variant("main", revision("large", gpu="A10G"))))
        assert await rig.ask() == "large"
        _, back = with_far(rig)
        assert rig.platform.endpoint(CHAT).variants[0].replicas == ()
        assert await rig.ask() == "large"
        assert len(back.calls) == 1

    play(work)


class LosingEngine(TimedEngine):
    """It parks at once, and may find its node gone when it is to start or wake a replica there."""

    is_lost = False

    def start(self, order: StartOrder) -> None:
        super().start(order)
        self._find(order.grant)

    def park(self, replica: ReplicaId) -> None:
        assert self.controller is not None
        self._later(0.0, self.controller.on_parked, replica, GIB)

    def unpark(self, replica: ReplicaId, grant: Reservation | None = None) -> None:
        assert grant is not None
        self._find(grant)

    def _find(self, grant: Reservation) -> None:
        assert self.controller is not None
        if self.is_lost:
            self.controller.remove_node(grant.node)


def two_nodes_of_two(rig: Rig) -> tuple[LosingEngine, TimedEngine]:
    """Let two nodes of two GPUs join; placement fills the first."""
    engines = LosingEngine(), TimedEngine()
    for name, engine in zip(("far", "near"), engines, strict=True):
        engine.controller = rig.platform.controller
        [gpu] = gpu_node(name).devices
        devices = gpu, replace(gpu, id=DeviceId(f"{name}-2"))
        rig.platform.controller.add_node(replace(gpu_node(name), devices=devices), engine)
    return engines


def test_a_replica_whose_node_is_lost_between_its_grant_and_its_start_runs_elsewhere() -> None:
    """Two are granted there; the start of the first finds the node gone before the second's."""

    async def work(rig: Rig) -> None:
        losing, near = two_nodes_of_two(rig)
        losing.is_lost = True
        large = revision("large", gpu="A10G", replicas_min=2, replicas_max=2)
        await rig.platform.deploy(endpoint(variant("main", large)))
        assert await rig.ask() == "large"
        assert len(losing.revisions) == 1
        assert len(near.revisions) == 2

    play(work)


def test_a_parked_replica_whose_node_is_lost_before_it_wakes_is_replaced() -> None:
    """Two are to wake there; waking the first finds the node gone before the second's turn."""

    async def work(rig: Rig) -> None:
        losing, near = two_nodes_of_two(rig)
        scale = {"replicas_max": 2, "idle_timeout_s": 0.01, "park_timeout_s": 60.0}
        large = revision("large", gpu="A10G", replicas_min=2, **scale)
        await rig.platform.deploy(endpoint(variant("main", large)))
        controller = rig.platform.controller
        hosted = controller.hosted(CHAT, VariantName("main"))
        assert hosted is not None

        def states() -> list[ReplicaState]:
            return [replica.state for replica in hosted.fleet.replicas()]

        await rig.until(lambda: states() == [ReplicaState.READY] * 2)
        controller.post(hosted, ScaleBoundsChanged(0, 2, "idle"))
        await rig.until(lambda: states() == [ReplicaState.PARKED] * 2)
        losing.is_lost = True
        controller.post(hosted, ScaleBoundsChanged(2, 2, "busy"))
        await rig.until(lambda: states() == [ReplicaState.READY] * 2)
        assert len(near.revisions) == 2
        assert await rig.ask() == "large"

    play(work)


def test_work_goes_on_while_a_node_leaves_and_joins_again_under_load() -> None:
    """No request is lost without an answer, and only what ran there fails."""

    async def work(rig: Rig) -> None:
        controller, far = with_far(rig)
        near = TimedEngine()
        near.controller = controller
        controller.add_node(gpu_node("near"), near)
        large = revision("large", gpu="A10G", replicas_min=2, replicas_max=2)
        await rig.platform.deploy(endpoint(variant("main", large)))
        async with Load(rig, callers=4) as load:
            await rig.until(lambda: len(far.calls) > 10 and len(near.calls) > 10)
            controller.remove_node(FAR.node)
            sent, answered = len(far.calls), len(load.answers)
            await rig.until(lambda: len(load.answers) > answered + 20)
            assert len(far.calls) == sent
            _, back = with_far(rig)
            await rig.until(lambda: len(back.calls) > 10)
        lost = [answer for answer in load.answers if answer != "large"]
        assert all("node far is lost" in answer for answer in lost)
        assert len(lost) <= 4
        assert len(rig.ledger.usages) == len(load.answers)

    play(work)


class BareEngine:
    """The port alone: no parking, no logs, nothing of what it started a replica from."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    @property
    def parking(self) -> None:
        return None

    def start(self, order: StartOrder) -> None:
        asyncio.get_running_loop().call_soon(self._controller.on_ready, order.replica)

    def stop(self, replica: ReplicaId, grace_s: float) -> None:
        asyncio.get_running_loop().call_soon(self._controller.on_exited, replica, STOPPED)

    def call(
        self, replica: ReplicaId, invocation: Invocation, deadline_s: float, sink: ReplySink
    ) -> "BareEngine":
        asyncio.get_running_loop().call_soon(sink.on_reply, 200, (), b"bare", None)
        return self

    def abort(self, replica: ReplicaId, request: RequestId) -> None:
        raise AssertionError("nobody hangs up here")

    def pause(self) -> None:
        """There is nothing to slow down."""

    def resume(self) -> None:
        """There is nothing to slow down."""


def test_an_engine_of_the_port_alone_serves() -> None:
    """Deployed, asked and looked at; what it cannot tell is left out."""

    async def work(rig: Rig) -> None:
        controller = rig.platform.controller
        controller.add_node(FAR, BareEngine(controller))
        large = revision("large", gpu="A10G", idle_timeout_s=0.01, park_timeout_s=60.0)
        await rig.platform.deploy(endpoint(variant("main", large)))
        assert await rig.ask() == "bare"
        [view] = rig.platform.endpoint(CHAT).variants
        assert [(replica.node, replica.template) for replica in view.replicas] == [("far", None)]
        assert rig.platform.logs(CHAT, 10) == []
        await rig.until(lambda: not rig.platform.endpoint(CHAT).variants[0].replicas)
        assert await rig.ask() == "bare"

    play(work, has_reader=False)
