"""Windows and bounds on a platform: at a deploy, at an edge, after a restart or a clock jump."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from coldspark import clock
from coldspark.billing.usage import IdleUsage
from coldspark.database.database import Database
from coldspark.errors import InvalidRequest, NotFound
from coldspark.platform import scale_bounds
from coldspark.platform.controller import Controller
from coldspark.platform.endpoints_table import Endpoints
from coldspark.platform.platform import LocalPlatform
from coldspark.platform.ports import (
    EndpointView,
    LogLine,
    ScaleBoundsView,
    ScaleTransitionView,
    StartOrder,
)
from coldspark.platform.scheduled_scaling import (
    bounds_events,
    read_window,
    schedule_period,
    transitions,
)
from coldspark.platform.spec_json import revision_of
from coldspark.spec.messages import NodeJoined
from coldspark.spec.scaling_rules import KeepAlive
from coldspark.spec.scheduled_scaling import ScheduledWindow
from coldspark.spec.types import (
    Command,
    EndpointDefinition,
    EndpointName,
    Exit,
    NodeId,
    ReplicaId,
    Revision,
    RootCause,
    ScalePolicy,
    Spec,
    VariantDefinition,
    VariantName,
)

BERLIN = ZoneInfo("Europe/Berlin")
CHAT, MAIN = EndpointName("chat"), VariantName("main")
NODE = NodeJoined(node=NodeId("n"), memory_bytes=64 * 2**30, vcpus=64.0)
STOPPED = Exit(cause=RootCause.UNKNOWN, message="stopped", exit_status=0)
DAY = ScheduledWindow(
    cron="0 8 * * MON-FRI",
    time_zone="Europe/Berlin",
    lasts_s=36_000.0,
    replicas_min=2,
    replicas_max=8,
)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp() * 1000)


def local(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, BERLIN).isoformat(timespec="minutes")


class Wall:
    """A wall clock that runs, and that can be set."""

    def __init__(self, text: str) -> None:
        self.set(text)

    def set(self, text: str, early_ms: int = 0) -> None:
        self._at_ms = ms(text) - early_ms
        self._since_s = clock.monotonic_s()

    def __call__(self) -> int:
        return self._at_ms + round((clock.monotonic_s() - self._since_s) * 1000)


class Instant:
    """An engine whose replicas are ready at once, and gone at once; it tells how many there are."""

    def __init__(self) -> None:
        self.controller: Controller | None = None
        self.there: set[ReplicaId] = set()
        self.changed = asyncio.Condition()

    def start(self, order: StartOrder) -> None:
        assert self.controller is not None
        self.there.add(order.replica)
        asyncio.get_running_loop().call_soon(self.controller.on_ready, order.replica)

    def stop(self, replica: ReplicaId, grace_s: float) -> None:
        assert self.controller is not None
        self.there.discard(replica)
        asyncio.get_running_loop().call_soon(self.controller.on_exited, replica, STOPPED)

    def call(self, *_: object) -> None:
        raise AssertionError("nobody calls here")

    def abort(self, *_: object) -> None:
        raise AssertionError("nobody calls here")

    def logs(self, endpoint: EndpointName, lines: int) -> list[LogLine]:
        return []

    def template(self, replica: ReplicaId) -> str | None:
        return None


class Lines:
    """A ledger that keeps nothing."""

    is_writable = True

    def record(self, *_: object) -> None:
        raise AssertionError("nobody calls here")

    record_then = record

    def record_idle(self, holdings: Sequence[IdleUsage]) -> None:
        pass


class Rig:
    """A platform over a real database, and its clock."""

    def __init__(self, platform: LocalPlatform, engine: Instant) -> None:
        self.platform = platform
        self.engine = engine

    async def deploy(self, **scale: object) -> EndpointView:
        return await self.platform.deploy(definition(**scale))

    async def until(self, count: int) -> None:
        """Wait until so many replicas are there."""
        async with asyncio.timeout(10.0):
            while len(self.engine.there) != count:  # noqa: ASYNC110  nobody tells of it
                await asyncio.sleep(0.005)

    @property
    def floor(self) -> ScaleBoundsView:
        return self.platform.endpoint(CHAT).variants[0].floor

    @property
    def decisions(self) -> list[str]:
        decisions = self.platform.endpoint(CHAT).variants[0].decisions
        return [f"{each.what}: {each.reason}" for each in decisions]


def definition(**scale: object) -> EndpointDefinition:
    given = {"replicas_max": 4, "rule": KeepAlive(keep_s=0.0), "park_timeout_s": 0.0, **scale}
    spec = Spec(command=Command(argv=("serve",)), scale=ScalePolicy(**given))  # type: ignore[arg-type]
    variant = VariantDefinition(name=MAIN, revision=revision_of(spec))
    return EndpointDefinition(name=CHAT, variants=(variant,))


@asynccontextmanager
async def running(directory: Path, wall: Callable[[], int]) -> AsyncIterator[Rig]:
    engine = Instant()

    async def prepare(revision: Revision) -> None:
        pass

    database = Database.open(directory / "coldspark.db")
    platform = LocalPlatform(
        lambda on_rollback: Controller(
            engine=engine,  # type: ignore[arg-type]
            ledger=Lines(),
            node=NODE,
            rate_nanos_per_hour=0,
            boot=1,
            smallest_type=lambda size_bytes: None,
            on_rollback=on_rollback,
        ),
        Endpoints(database, clock.wall_ms),
        engine,
        prepare,
        wall_ms=wall,
    )
    engine.controller = platform.controller
    await platform.open()
    try:
        yield Rig(platform, engine)
    finally:
        await platform.close()
        database.close()


def test_a_deploy_within_a_window_has_its_floor_at_once(tmp_path: Path) -> None:
    """The view says what holds, why, and what is next; the decisions say it too."""

    async def scene() -> None:
        async with running(tmp_path, Wall("2026-11-24T09:00")) as rig:
            await rig.deploy(windows=(DAY,))
            await rig.until(2)
            reason = "window 0 8 * * MON-FRI Europe/Berlin: 2 replicas until 18:00"
            edge = ScaleTransitionView(at_ms=ms("2026-11-24T18:00"), min=0, max=4)
            assert rig.floor == ScaleBoundsView(min=2, max=8, reason=reason, next=edge)
            assert rig.decisions[0] == f"floor 2, ceiling 8: {reason}"
            assert rig.decisions[1].endswith(reason)

    asyncio.run(scene())


def test_the_edges_of_a_window_move_the_floor(tmp_path: Path) -> None:
    """It begins and ends by the clock on the wall, without any request."""
    wall = Wall("2026-11-24T07:00")

    async def scene() -> None:
        async with running(tmp_path, wall) as rig:
            wall.set("2026-11-24T08:00", early_ms=60)
            await rig.deploy(windows=(DAY,))
            assert rig.floor.next == ScaleTransitionView(at_ms=ms("2026-11-24T08:00"), min=2, max=8)
            assert not rig.engine.there
            await rig.until(2)
            wall.set("2026-11-24T18:00", early_ms=60)
            rig.platform._floors.refresh()
            assert len(rig.engine.there) == 2
            await rig.until(0)
            assert rig.floor == ScaleBoundsView(
                min=0,
                max=4,
                reason=None,
                next=ScaleTransitionView(at_ms=ms("2026-11-25T08:00"), min=2, max=8),
            )
            assert "floor 0, ceiling 4: window 0 8 * * MON-FRI Europe/Berlin ended" in rig.decisions

    asyncio.run(scene())


def test_a_window_that_begins_while_nobody_runs_holds_after_the_start(tmp_path: Path) -> None:
    """And one that ended meanwhile does not: no replica is started for the policy's own floor."""
    night = ScheduledWindow(
        cron="0 20 * * *", time_zone="Europe/Berlin", lasts_s=3600.0, replicas_min=0
    )

    async def scene() -> None:
        async with running(tmp_path, Wall("2026-11-24T07:00")) as rig:
            await rig.deploy(replicas_min=1, windows=(DAY, night))
            await rig.until(1)
        async with running(tmp_path, Wall("2026-11-24T12:00")) as rig:
            await rig.until(2)
        async with running(tmp_path, Wall("2026-11-24T20:30")) as rig:
            await asyncio.sleep(0)
            assert rig.floor.min == 0
            assert [each for each in rig.decisions if each.startswith("start")] == []

    asyncio.run(scene())


def test_a_clock_that_jumps_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A suspended machine wakes within a window: the sleep is bounded, so the floor follows."""
    monkeypatch.setattr(scale_bounds, "SLEEP_MAX_S", 0.05)
    wall = Wall("2026-11-24T01:00")

    async def scene() -> None:
        async with running(tmp_path, wall) as rig:
            await rig.deploy(windows=(DAY,))
            assert not rig.engine.there
            wall.set("2026-11-24T11:00")
            await rig.until(2)
            wall.set("2026-11-24T03:00")
            await rig.until(0)

    asyncio.run(scene())


def test_an_update_brings_its_windows_or_their_end(tmp_path: Path) -> None:
    """The floor is right with the revision, in both directions."""

    async def scene() -> None:
        async with running(tmp_path, Wall("2026-11-24T09:00")) as rig:
            await rig.deploy()
            assert rig.floor == ScaleBoundsView(min=0, max=4, reason=None, next=None)
            await rig.deploy(windows=(DAY,))
            await rig.until(2)
            await rig.deploy()
            await rig.until(0)
            assert rig.floor.min == 0

    asyncio.run(scene())


def test_a_bound_wins_over_windows_until_it_is_lifted(tmp_path: Path) -> None:
    """It outlives updates, and is gone after a restart: who set it applies it anew."""
    wall = Wall("2026-11-24T09:00")

    async def scene() -> None:
        async with running(tmp_path, wall) as rig:
            await rig.deploy(windows=(DAY,))
            await rig.until(2)
            view = await rig.platform.set_scale(CHAT, MAIN, 3, 3, "scalable target of chat")
            assert view.variants[0].floor == ScaleBoundsView(
                min=3, max=3, reason="scalable target of chat", next=None
            )
            await rig.until(3)
            await rig.deploy(windows=(DAY,), replicas_max=2)
            await rig.until(3)
            assert rig.floor.min == 3
            await rig.platform.set_scale(CHAT, MAIN, None, 1, "less")
            await rig.until(1)
            await rig.platform.set_scale(CHAT, MAIN, None, None, "")
            await rig.until(2)
            assert rig.floor.reason is not None
            assert rig.floor.reason.startswith("window 0 8")
            await rig.platform.set_scale(CHAT, MAIN, 4, None, "more")
            await rig.until(4)
        async with running(tmp_path, wall) as rig:
            await rig.until(2)

    asyncio.run(scene())


def test_a_bound_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """Each with its field; nothing changes."""

    async def scene() -> None:
        async with running(tmp_path, Wall("2026-11-24T09:00")) as rig:
            await rig.deploy()
            with pytest.raises(InvalidRequest, match=r"ceiling=1 must lie in 2\.\.10000"):
                await rig.platform.set_scale(CHAT, MAIN, 2, 1, "")
            with pytest.raises(NotFound, match="no variant 'other'"):
                await rig.platform.set_scale(CHAT, VariantName("other"), 1, 1, "")
            with pytest.raises(NotFound, match="no endpoint named"):
                await rig.platform.set_scale(EndpointName("none"), MAIN, 1, 1, "")
            assert rig.floor.min == 0

    asyncio.run(scene())


def told(scale: ScalePolicy, since: str, until: str) -> list[str]:
    return [
        f"{local(at_ms)} {one.reason}" for at_ms, one in bounds_events(scale, ms(since), ms(until))
    ]


def test_of_windows_that_overlap_the_highest_floor_holds() -> None:
    """Each edge is told once, where something changes."""
    peak = ScheduledWindow(
        cron="0 12 * * *", time_zone="Europe/Berlin", lasts_s=7200.0, replicas_min=3
    )
    low = ScheduledWindow(
        cron="0 9 * * *", time_zone="Europe/Berlin", lasts_s=7200.0, replicas_min=1
    )
    scale = ScalePolicy(replicas_max=4, windows=(DAY, peak, low))
    assert told(scale, "2026-11-24T07:00", "2026-11-25T00:00") == [
        "2026-11-24T07:00+01:00 no window is open",
        "2026-11-24T08:00+01:00 window 0 8 * * MON-FRI Europe/Berlin: 2 replicas until 18:00",
        "2026-11-24T12:00+01:00 window 0 12 * * * Europe/Berlin: 3 replicas until 14:00",
        "2026-11-24T14:00+01:00 window 0 8 * * MON-FRI Europe/Berlin: 2 replicas until 18:00",
        "2026-11-24T18:00+01:00 window 0 8 * * MON-FRI Europe/Berlin ended",
    ]


def test_a_window_lasts_as_long_where_the_clocks_change_within_it() -> None:
    """It ends an hour later by the clock in spring, an hour earlier in autumn."""
    night = ScheduledWindow(
        cron="0 22 * * *", time_zone="Europe/Berlin", lasts_s=36_000.0, replicas_min=1
    )
    scale = ScalePolicy(windows=(night,))
    spring = told(scale, "2026-03-28T20:00", "2026-03-29T20:00")
    assert spring[1].endswith("1 replica until 09:00")
    assert spring[2].startswith("2026-03-29T09:00+02:00")
    autumn = told(scale, "2026-10-24T20:00", "2026-10-25T20:00")
    assert autumn[1].endswith("1 replica until 07:00")
    assert autumn[2].startswith("2026-10-25T07:00+01:00")


def test_a_window_that_begins_in_a_skipped_hour_begins_after_it() -> None:
    """In a doubled hour it begins once, the first time."""
    early = ScheduledWindow(
        cron="30 2 * * *", time_zone="Europe/Berlin", lasts_s=1800.0, replicas_min=1
    )
    scale = ScalePolicy(windows=(early,))
    spring = told(scale, "2026-03-29T00:00", "2026-03-29T20:00")
    assert [line[:22] for line in spring[1:]] == [
        "2026-03-29T03:00+02:00",
        "2026-03-29T03:30+02:00",
    ]
    autumn = told(scale, "2026-10-25T00:00", "2026-10-25T20:00")
    assert [line[:22] for line in autumn[1:]] == [
        "2026-10-25T02:30+02:00",
        "2026-10-25T02:00+01:00",
    ]


def test_windows_that_follow_each_other_without_a_gap_have_no_edge() -> None:
    """Every five minutes for ten: it never ends, and nothing is told; looking has a bound."""
    always = ScheduledWindow(cron="*/5 * * * *", lasts_s=600.0, replicas_min=1)
    scale = ScalePolicy(windows=(always,))
    assert list(transitions(scale, ms("2026-11-24T09:00"), ms("2026-11-25T12:00"))) == []
    ahead = schedule_period(scale, ms("2026-11-24T09:00"))
    assert ahead.next_transition is None
    assert ahead.until_ms is not None
    assert ahead.covers(ms("2026-11-24T16:00"))
    assert not ahead.covers(ms("2026-11-26T09:00"))
    assert not ahead.covers(ms("2026-11-24T08:00"))


def test_the_short_form_of_a_window() -> None:
    """What ``coldspark plan --window`` takes."""
    assert read_window("0 8 * * MON-FRI@Europe/Berlin 10h min=2 max=8") == DAY
    plain = ScheduledWindow(cron="0 8 * * *", lasts_s=1800.0, replicas_min=1)
    assert read_window("0 8 * * * 30m min=1") == plain
    for wrong in ("0 8 * * * 10h", "0 8 * * min=1", "0 8 * * * 10h min=x", "0 8 * * * x min=1"):
        with pytest.raises(ValueError, match="must be such as '0 8"):
            read_window(wrong)
    with pytest.raises(ValueError, match="the hour cannot be read"):
        read_window("0 88 * * * 10h min=1")
