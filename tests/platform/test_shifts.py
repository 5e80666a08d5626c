"""Changes of an endpoint under load: nobody fails, and each revision serves in its turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from platform_rig import CHAT, MAIN, Load, Rig, endpoint, revision, variant

from coldspark.errors import InvalidRequest
from coldspark.fleet.deployment import DeploymentPhase
from coldspark.platform.ports import EndpointView
from coldspark.spec.deployment_policy import (
    DeploymentPolicy,
    DeploymentStrategy,
    SizeUnit,
    StepSize,
)
from coldspark.spec.types import AlarmState, EndpointStatus, RevisionId

pytestmark = pytest.mark.seconds

HALF = StepSize(50, SizeUnit.PERCENT)
LINEAR = DeploymentPolicy(kind=DeploymentStrategy.LINEAR, step=HALF, wait_s=0.1, bake_s=0.1)
OLD = revision("old", replicas_min=1, replicas_max=4)
NEW = revision("new", replicas_min=1, replicas_max=4)
BAD = revision("bad", replicas_min=1, replicas_max=4, failed_starts_max=1)


@asynccontextmanager
async def serving(rig: Rig, *, gpu: str | None = None) -> AsyncIterator[Load]:
    """A rig whose endpoint serves ``old`` under load."""
    await rig.open()
    old = revision("old", gpu=gpu, replicas_min=1, replicas_max=4)
    await rig.platform.deploy(endpoint(variant("main", old)))
    await rig.ask()
    async with Load(rig) as load:
        await rig.until(lambda: len(load.answers) > 2)
        yield load
    await rig.close()


def is_settled(rig: Rig) -> bool:
    """Return whether no change is under way."""
    return rig.platform.endpoint(CHAT).shift is None


def states(rig: Rig) -> set[str]:
    """Return which revisions have replicas."""
    return {
        replica.revision
        for view in (rig.platform.endpoint(CHAT),)
        for one in view.variants
        for replica in one.replicas
    }


def ready(rig: Rig) -> int:
    """Return how many replicas take requests."""
    replicas = rig.platform.endpoint(CHAT).variants[0].replicas
    return sum(replica.state in ("ready", "busy") for replica in replicas)


def test_a_linear_change_shifts_and_nobody_fails() -> None:
    """First old, then both, then new alone; at the end the old replicas are gone."""

    async def run() -> None:
        rig = Rig()
        async with serving(rig) as load:
            await rig.platform.deploy(endpoint(variant("main", NEW), shift=LINEAR))
            view = rig.platform.endpoint(CHAT)
            assert view.status is EndpointStatus.UPDATING
            assert view.shift is not None
            assert view.shift.phase is DeploymentPhase.STARTING
            assert view.variants[0].revision.id == "old"
            # As routers tell each other.
            assert msgspec.json.decode(msgspec.json.encode(view), type=EndpointView) == view
            await rig.until(lambda: is_settled(rig))
            assert rig.platform.endpoint(CHAT).variants[0].revision == NEW
            await rig.until(lambda: states(rig) == {"new"})
        assert set(load.answers) == {"old", "new"}
        first = load.answers.index("new")
        assert "old" in load.answers[first:], "the shift had no step in between"
        assert load.answers[-1] == "new"
        saved = rig.definitions.stored[CHAT].definition
        assert (saved.previous, saved.variants[0].revision) == (None, NEW)
        assert {usage.variant for usage in rig.ledger.usages} == {MAIN}
        assert {usage.revision for usage in rig.ledger.usages} == {"old", "new"}

    asyncio.run(run())


def test_traffic_is_shared_among_variants_by_their_weights() -> None:
    """Evenly spread, whatever is asked for by name; other weights hold at once."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        await rig.platform.deploy(endpoint(variant("a", OLD, 3.0), variant("b", NEW, 1.0)))
        assert [await rig.ask() for _ in range(8)].count("new") == 2
        assert await rig.ask("b") == "new"
        await rig.platform.deploy(endpoint(variant("a", OLD, 0.0), variant("b", NEW, 1.0)))
        assert {await rig.ask() for _ in range(8)} == {"new"}
        assert await rig.ask("a") == "old"
        await rig.close()

    asyncio.run(run())


def test_a_canary_gets_its_share() -> None:
    """A quarter of the requests, until the wait is over."""

    async def run() -> None:
        rig = Rig()
        async with serving(rig) as load:
            step = StepSize(25, SizeUnit.PERCENT)
            policy = DeploymentPolicy(kind=DeploymentStrategy.CANARY, step=step, wait_s=5.0)
            await rig.platform.deploy(endpoint(variant("main", NEW), shift=policy))
            await rig.until(lambda: "new" in load.answers)
            start = len(load.answers)
            await rig.until(lambda: len(load.answers) >= start + 80)
            seen = load.answers[start : start + 80]
            assert 18 <= seen.count("new") <= 22
            # Another change ends this one: old serves again, then the newest.
            await rig.platform.deploy(endpoint(variant("main", revision("newest"))))
            await rig.until(lambda: load.answers[-1] == "newest")
        assert set(load.answers) == {"old", "new", "newest"}

    asyncio.run(run())


def test_a_revision_that_cannot_start_is_taken_back() -> None:
    """Callers never meet it, and the former definition is on disk again."""

    async def run() -> None:
        rig = Rig()
        async with serving(rig) as load:
            await rig.platform.deploy(endpoint(variant("main", BAD), shift=LINEAR))
            await rig.until(lambda: is_settled(rig))
            view = rig.platform.endpoint(CHAT)
            assert view.status is EndpointStatus.READY
            assert view.failure is not None
            assert "no module named numpy" in view.failure
        assert set(load.answers) == {"old"}
        assert rig.definitions.stored[CHAT].definition.variants[0].revision.id == "old"

    asyncio.run(run())


def test_an_alarm_takes_a_change_back() -> None:
    """Old, some new, then old alone."""

    async def run() -> None:
        rig = Rig()
        rig.alarms.states["errors"] = AlarmState.OK
        async with serving(rig) as load:
            policy = DeploymentPolicy(
                kind=DeploymentStrategy.CANARY, step=HALF, wait_s=60.0, alarms=("errors", "others")
            )
            await rig.platform.deploy(endpoint(variant("main", NEW), shift=policy))
            await rig.until(lambda: load.answers.count("new") > 3)
            rig.alarms.become("unrelated", AlarmState.ALARM)
            assert not is_settled(rig)
            rig.alarms.become("errors", AlarmState.ALARM)
            assert is_settled(rig)
            start = len(load.answers) + 4
            await rig.until(lambda: len(load.answers) > start + 20)
            assert set(load.answers[start:]) == {"old"}
        failure = rig.platform.endpoint(CHAT).failure
        assert failure == "the change was taken back: alarm errors: 5 is over 1"
        assert set(load.answers) == {"old", "new"}
        assert rig.alarms.watchers == []

    asyncio.run(run())


def test_alarms_that_nobody_watches_are_refused() -> None:
    """A change that no alarm could take back would be taken for a safe one."""

    async def run() -> None:
        rig = Rig()
        await rig.open(has_alarms=False)
        await rig.platform.deploy(endpoint(variant("main", OLD)))
        with pytest.raises(InvalidRequest, match="alarms are not watched by the process"):
            await rig.platform.deploy(
                endpoint(variant("main", NEW), shift=DeploymentPolicy(alarms=("errors",)))
            )
        assert await rig.ask() == "old"
        await rig.close()

    asyncio.run(run())


def test_a_rolling_change_moves_replicas_batch_by_batch() -> None:
    """Four of one become four of the other, two at a time."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        four = {"replicas_min": 4, "replicas_max": 4}
        await rig.platform.deploy(endpoint(variant("main", revision("old", **four))))
        await rig.until(lambda: len(rig.platform.endpoint(CHAT).variants[0].replicas) == 4)
        await rig.ask()
        policy = DeploymentPolicy(
            kind=DeploymentStrategy.ROLLING,
            step=StepSize(2, SizeUnit.REPLICAS),
            wait_s=0.1,
            bake_s=0.1,
        )
        async with Load(rig, callers=4) as load:
            await rig.platform.deploy(
                endpoint(variant("main", revision("new", **four)), shift=policy)
            )
            most = 0
            while not is_settled(rig):
                view = rig.platform.endpoint(CHAT)
                green = view.shift.variants if view.shift else ()
                alive = [r for one in (*view.variants, *green) for r in one.replicas]
                most = max(most, sum(r.state in ("ready", "busy", "starting") for r in alive))
                await asyncio.sleep(0.005)
        assert most <= 6, "a rolling change needs room for one batch more"
        assert set(load.answers) == {"old", "new"}
        await rig.until(lambda: states(rig) == {"new"})
        await rig.close()

    asyncio.run(run())


def test_another_gpu_type_runs_beside_the_old_one() -> None:
    """From T4 to A10G: placement holds both."""

    async def run() -> None:
        rig = Rig("T4", "A10G")
        async with serving(rig, gpu="T4") as load:
            new = revision("new", gpu="A10G", replicas_min=1, replicas_max=1)
            await rig.platform.deploy(endpoint(variant("main", new), shift=LINEAR))
            await rig.until(lambda: is_settled(rig))
        assert set(load.answers) == {"old", "new"}
        assert {usage.gpu for usage in rig.ledger.usages} == {"T4", "A10G"}

    asyncio.run(run())


def test_without_devices_for_both_the_change_is_made_in_place_and_nobody_fails() -> None:
    """The one T4 goes from one revision to the other while callers queue."""

    async def run() -> None:
        rig = Rig("T4")
        async with serving(rig, gpu="T4") as load:
            new = revision("new", gpu="T4", replicas_min=1, replicas_max=1)
            await rig.platform.deploy(endpoint(variant("main", new), shift=LINEAR))
            shift = rig.platform.endpoint(CHAT).shift
            assert shift is not None
            assert shift.is_in_place
            assert "do not hold" in shift.reason
            await rig.until(lambda: is_settled(rig))
            assert rig.platform.endpoint(CHAT).variants[0].revision == new
        assert load.runs() == ["old", "new"]

    asyncio.run(run())


def test_in_place_a_revision_that_cannot_start_gives_the_device_back() -> None:
    """Callers wait for it and are served by the old revision."""

    async def run() -> None:
        rig = Rig("T4")
        async with serving(rig, gpu="T4") as load:
            bad = revision("bad", gpu="T4", replicas_min=1, replicas_max=1, failed_starts_max=1)
            await rig.platform.deploy(endpoint(variant("main", bad), shift=LINEAR))
            await rig.until(lambda: is_settled(rig))
            start = len(load.answers)
            await rig.until(lambda: len(load.answers) > start + 5)
        assert set(load.answers) == {"old"}
        assert rig.definitions.stored[CHAT].definition.variants[0].revision.id == "old"

    asyncio.run(run())


def test_a_change_without_a_policy_is_taken_back_whole() -> None:
    """Replica by replica in one fleet: its weights and labels go with its revision."""

    async def run() -> None:
        rig = Rig()
        async with serving(rig) as load:
            bad = endpoint(variant("main", BAD, weight=7.0), labels=(("config", "bad"),))
            await rig.platform.deploy(bad)
            await rig.until(lambda: rig.platform.endpoint(CHAT).failure is not None)
            await rig.until(lambda: rig.definitions.stored[CHAT].definition.labels == ())
            (found,) = rig.definitions.stored[CHAT].definition.variants
            assert (found.revision.id, found.weight) == ("old", 1.0)
        assert set(load.answers) == {"old"}

    asyncio.run(run())


def test_variants_come_and_go_without_a_failure() -> None:
    """What waits in a variant that goes is served by it; the one that stays is not started anew."""

    async def run() -> None:
        rig = Rig()
        async with serving(rig) as load:
            rig.engine.service_s = 0.03
            two = (variant("main", OLD), variant("next", NEW))
            await rig.platform.deploy(endpoint(*two, shift=LINEAR))
            await rig.until(lambda: is_settled(rig))
            await rig.until(lambda: "new" in load.answers)
            starts = len(rig.engine.revisions)
            await rig.platform.deploy(endpoint(two[1]))
            await rig.until(lambda: rig.platform.endpoint(CHAT).variants[0].name == "next")
            start = len(load.answers) + 4
            await rig.until(lambda: len(load.answers) > start + 4)
            assert set(load.answers[start:]) == {"new"}
            assert len(rig.engine.revisions) <= starts + 1
        assert set(load.answers) == {"old", "new"}

    asyncio.run(run())


def test_a_variant_that_goes_serves_those_who_wait_in_it() -> None:
    """They came before it went."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        one = revision("old", replicas_max=1)
        await rig.platform.deploy(endpoint(variant("main", one), variant("next", NEW)))
        waiting = [asyncio.ensure_future(rig.ask("main")) for _ in range(5)]
        await asyncio.sleep(0)
        await rig.platform.deploy(endpoint(variant("next", NEW)))
        assert await asyncio.gather(*waiting) == ["old"] * 5
        assert (await rig.ask("main")).startswith("InvalidRequest")
        await rig.close()

    asyncio.run(run())


def test_other_bounds_of_a_revision_start_nothing_anew() -> None:
    """More replicas are started beside those that run; fewer let the surplus go."""

    async def run() -> None:
        rig = Rig()
        async with serving(rig) as load:
            bounds = revision("old", replicas_min=3, replicas_max=4)
            await rig.platform.deploy(endpoint(variant("main", bounds)))
            await rig.until(lambda: ready(rig) == 3)
            fewer = revision("old", replicas_min=1, replicas_max=1)
            await rig.platform.deploy(endpoint(variant("main", fewer)))
            await rig.until(lambda: ready(rig) == 1)
            assert len(rig.engine.revisions) == 3
        assert set(load.answers) == {"old"}

    asyncio.run(run())


def test_a_bound_that_is_set_in_a_change_holds_when_it_is_over() -> None:
    """Whoever scales the variant from outside need not know of the change."""

    async def run() -> None:
        rig = Rig()
        async with serving(rig):
            await rig.platform.set_scale(CHAT, MAIN, 1, 2, "target tracking")
            await rig.platform.deploy(endpoint(variant("main", NEW), shift=LINEAR))
            await rig.platform.set_scale(CHAT, MAIN, 3, 3, "target tracking")
            await rig.until(lambda: is_settled(rig))
            floor = rig.platform.endpoint(CHAT).variants[0].floor
            assert (floor.min, floor.max, floor.reason) == (3, 3, "target tracking")
            await rig.until(lambda: ready(rig) == 3)

    asyncio.run(run())


def test_a_server_killed_in_a_change_begins_it_anew() -> None:
    """It starts over with the old revision, and comes to its end."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        await rig.platform.deploy(endpoint(variant("main", OLD)))
        policy = DeploymentPolicy(kind=DeploymentStrategy.CANARY, step=HALF, wait_s=0.3)
        await rig.platform.deploy(endpoint(variant("main", NEW), shift=policy))
        await rig.until(lambda: _phase(rig) is DeploymentPhase.SHIFTING)
        await rig.crash()
        await rig.open()
        assert _phase(rig) is DeploymentPhase.STARTING
        assert await rig.ask() == "old"
        await rig.until(lambda: is_settled(rig))
        assert await rig.ask() == "new"
        await rig.close()

    asyncio.run(run())


def test_a_server_killed_on_the_way_back_stays_taken_back() -> None:
    """That the change is taken back is written down before anything else of it is done."""

    async def run() -> None:
        rig = Rig()
        rig.alarms.states["errors"] = AlarmState.OK
        await rig.open()
        await rig.platform.deploy(endpoint(variant("main", OLD)))
        policy = DeploymentPolicy(
            kind=DeploymentStrategy.ROLLING, step=HALF, wait_s=60.0, alarms=("errors",)
        )
        await rig.platform.deploy(endpoint(variant("main", NEW), shift=policy))
        await rig.until(lambda: _phase(rig) is DeploymentPhase.SHIFTING)
        rig.alarms.become("errors", AlarmState.ALARM)
        await rig.until(lambda: rig.definitions.stored[CHAT].definition.previous is None)
        await rig.crash()
        await rig.open()
        assert is_settled(rig)
        assert await rig.ask() == "old"
        await rig.close()

    asyncio.run(run())


def test_a_change_whose_time_passed_while_the_server_was_down_is_taken_back() -> None:
    """Its deadline counts from when it was asked for."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        await rig.platform.deploy(endpoint(variant("main", OLD)))
        policy = DeploymentPolicy(
            kind=DeploymentStrategy.CANARY, step=HALF, wait_s=60.0, timeout_s=0.2
        )
        await rig.platform.deploy(endpoint(variant("main", NEW), shift=policy))
        await rig.crash()
        await asyncio.sleep(0.25)
        await rig.open()
        await rig.until(lambda: is_settled(rig))
        assert await rig.ask() == "old"
        await rig.close()

    asyncio.run(run())


def test_an_endpoint_deleted_in_a_change_leaves_nothing() -> None:
    """Neither old nor new replicas, and no alarm is watched any more."""

    async def run() -> None:
        rig = Rig()
        await rig.open()
        await rig.platform.deploy(endpoint(variant("main", OLD)))
        await rig.platform.deploy(endpoint(variant("main", NEW), shift=LINEAR))
        await rig.platform.remove(CHAT)
        await rig.until(lambda: not list(rig.platform.controller.hosted_fleets()))
        assert rig.alarms.watchers == []
        assert RevisionId("new") in rig.engine.revisions.values()
        await rig.close()

    asyncio.run(run())


def _phase(rig: Rig) -> DeploymentPhase | None:
    shift = rig.platform.endpoint(CHAT).shift
    return None if shift is None else shift.phase
