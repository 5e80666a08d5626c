"""Endpoints whose variants are components: named by requests, and changed one by one."""

import asyncio

import pytest
from msgspec.structs import replace
from platform_rig import CHAT, WAIT_S, Caller, Rig, endpoint, revision, variant

from coldspark.fleet.deployment import DeploymentPhase
from coldspark.spec.deployment_policy import (
    DeploymentPolicy,
    DeploymentStrategy,
    SizeUnit,
    StepSize,
)
from coldspark.spec.types import EndpointStatus, VariantDefinition, VariantName

ROLLING = DeploymentPolicy(
    kind=DeploymentStrategy.ROLLING, step=StepSize(50, SizeUnit.PERCENT), bake_s=0.3
)
KEPT = {"replicas_min": 1, "replicas_max": 1}


def component(name: str, found: str, *, gpu: str | None = None) -> VariantDefinition:
    return variant(name, revision(found, gpu=gpu, failed_starts_max=1, **KEPT))


def is_baking(rig: Rig) -> bool:
    shift = rig.platform.endpoint(CHAT).shift
    return shift is not None and shift.phase is DeploymentPhase.BAKING


def test_a_request_names_its_component_and_the_weights_choose_none() -> None:
    """Without a name, with another name, and of an endpoint that has no components: refused."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        await rig.platform.deploy(
            endpoint(component("a", "one"), component("b", "two"), has_components=True)
        )
        assert [await rig.ask("a"), await rig.ask("b")] == ["one", "two"]
        assert await rig.ask() == (
            "ComponentNeeded: endpoint chat has components, and a request names one of them: a, b"
        )
        assert await rig.ask("c") == (
            "InvalidRequest: endpoint chat has no component 'c'; it has a, b"
        )
        await rig.platform.remove(CHAT)
        await rig.platform.deploy(endpoint(component("a", "one")))
        caller = Caller()
        rig.platform.submit(replace(rig.invocation("a"), is_component=True), caller)
        told = await asyncio.wait_for(caller.answer, WAIT_S)
        assert told.startswith("Conflict: endpoint chat has no components, so 'a' is none of them")
        await rig.close()

    asyncio.run(run())


def test_components_come_and_go_and_there_may_be_none() -> None:
    """Across a crash; one that stays is not started anew."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        await rig.platform.deploy(endpoint(has_components=True))
        await rig.crash()
        await rig.open()
        assert rig.platform.endpoint(CHAT).variants == ()
        assert (await rig.ask()).startswith("ComponentNeeded: ")
        await rig.platform.deploy(endpoint(component("a", "one"), has_components=True))
        assert await rig.ask("a") == "one"
        (kept,) = rig.engine.revisions
        await rig.platform.deploy(
            endpoint(component("a", "one"), component("b", "two"), has_components=True)
        )
        assert await rig.ask("b") == "two"
        await rig.platform.deploy(endpoint(component("a", "one"), has_components=True))
        assert await rig.ask("a") == "one"
        assert [replica for replica, _ in rig.engine.calls][-1] == kept
        await rig.close()

    asyncio.run(run())


def test_a_component_that_does_not_work_takes_no_other_ones_change_back() -> None:
    """In place, for want of devices, and without a word of it about the one that failed before."""

    async def run() -> None:
        rig = Rig("T4")
        await rig.open()
        others = component("a", "bad"), component("c", "other")
        await rig.platform.deploy(
            endpoint(*others, component("b", "one", gpu="T4"), has_components=True)
        )
        await rig.until(
            lambda: rig.platform.endpoint(CHAT).variants[0].status is EndpointStatus.FAILED
        )
        assert await rig.ask("b") == "one"
        changed = component("b", "two", gpu="T4")
        await rig.platform.deploy(endpoint(*others, changed, has_components=True, shift=ROLLING))
        shift = rig.platform.endpoint(CHAT).shift
        assert shift is not None
        assert shift.is_in_place
        assert await rig.ask("b") == "two"
        await rig.until(lambda: is_baking(rig))
        # A replica that starts lets the change look at how all of them are.
        await rig.platform.set_scale(CHAT, VariantName("c"), 2, 2, "for a while")
        await rig.until(lambda: rig.platform.endpoint(CHAT).shift is None)
        assert await rig.ask("b") == "two"
        assert rig.platform.endpoint(CHAT).taken_back == ()

        worse = component("b", "bad too", gpu="T4")
        await rig.platform.deploy(endpoint(*others, worse, has_components=True, shift=ROLLING))
        await rig.until(lambda: rig.platform.endpoint(CHAT).shift is None)
        assert await rig.ask("b") == "two"
        ((name, why),) = rig.platform.endpoint(CHAT).taken_back
        assert name == "b"
        assert "no module named numpy" in why
        await rig.close()

    asyncio.run(run())


def test_components_have_no_shadows() -> None:
    """Copies go to a shadow by weight, and no weight counts."""
    with pytest.raises(ValueError, match="which have no shadows"):
        endpoint(has_components=True, shadows=(component("a", "one"),))
