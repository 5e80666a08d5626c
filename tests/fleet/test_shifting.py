"""How a change reaches its callers: steps, waits, and every way back."""

import pytest
from example_counts import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coldspark.fleet.deployment import (
    FINAL_PHASES,
    ROLLBACK_PATIENCE_S,
    BeginRollback,
    BlueReady,
    DeploymentAlarmRaised,
    DeploymentBegun,
    DeploymentEffect,
    DeploymentEvent,
    DeploymentPhase,
    DeploymentSuperseded,
    FinishDeployment,
    FinishRollback,
    GreenFailed,
    GreenReady,
    ReplacedInPlace,
    ReplaceInPlace,
    ReplacementFailed,
    ReservationMissing,
    RestoreInPlace,
    ScaleFleets,
    ShiftTraffic,
    TrafficDeployment,
)
from coldspark.spec.deployment_policy import (
    DeploymentPolicy,
    DeploymentStrategy,
    SizeUnit,
    StepSize,
)
from coldspark.spec.messages import Ticked, WakeAt

THIRD = StepSize(30, SizeUnit.PERCENT)
LINEAR = DeploymentPolicy(kind=DeploymentStrategy.LINEAR, step=THIRD, wait_s=10.0, bake_s=60.0)
ROLLING = DeploymentPolicy(
    kind=DeploymentStrategy.ROLLING, step=StepSize(2, SizeUnit.REPLICAS), wait_s=10.0, bake_s=10.0
)
ALARM = DeploymentAlarmRaised("errors", "3 are over 1")


def begun(
    policy: DeploymentPolicy, replicas: int = 4, in_place: str | None = None
) -> TrafficDeployment:
    """Return a change that was begun at 0 s."""
    change = TrafficDeployment(policy, replicas, policy.time_limit_s(replicas))
    change.step(DeploymentBegun(in_place), 0.0)
    change.check()
    return change


def told(change: TrafficDeployment, event: DeploymentEvent, now: float) -> list[DeploymentEffect]:
    """Take an event; return what shall be done but for the clock."""
    effects: list[DeploymentEffect] = [
        one for one in change.step(event, now) if not isinstance(one, WakeAt)
    ]
    change.check()
    return effects


@pytest.mark.parametrize(
    ("kind", "size", "replicas", "shares"),
    [
        (DeploymentStrategy.ALL_AT_ONCE, None, 4, (1.0,)),
        (DeploymentStrategy.CANARY, StepSize(1, SizeUnit.REPLICAS), 4, (0.25, 1.0)),
        (DeploymentStrategy.CANARY, StepSize(5, SizeUnit.REPLICAS), 4, (1.0,)),
        (DeploymentStrategy.LINEAR, StepSize(50, SizeUnit.PERCENT), 4, (0.5, 1.0)),
        (DeploymentStrategy.LINEAR, THIRD, 4, (0.3, 0.6, 0.9, 1.0)),
        (DeploymentStrategy.ROLLING, StepSize(1, SizeUnit.REPLICAS), 3, (1 / 3, 2 / 3, 1.0)),
        (DeploymentStrategy.ROLLING, StepSize(1, SizeUnit.REPLICAS), 0, (1.0,)),
    ],
)
def test_shares_grow_by_the_step_up_to_all(
    kind: DeploymentStrategy, size: StepSize | None, replicas: int, shares: tuple[float, ...]
) -> None:
    """The last step is what is left."""
    found = DeploymentPolicy(kind=kind, step=size).shares(replicas)
    assert found == pytest.approx(shares)


@pytest.mark.parametrize(
    "bad",
    [
        {"kind": DeploymentStrategy.CANARY},
        {"step": THIRD},
        {"wait_s": -1.0},
        {"timeout_s": 0.0},
        {"rollback_step": THIRD},
    ],
)
def test_a_policy_is_valid_once_it_exists(bad: dict[str, object]) -> None:
    """What would mean nothing is refused."""
    with pytest.raises(ValueError, match=r"step|wait_s|timeout_s"):
        DeploymentPolicy(**bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"1\.\.100"):
        StepSize(101, SizeUnit.PERCENT)


def test_blue_serves_until_all_of_green_is_ready() -> None:
    """Nothing is sent to green before that, and blue keeps what it has."""
    change = TrafficDeployment(LINEAR, 4, 100.0)
    assert change.step(DeploymentBegun(), 0.0) == [ScaleFleets(1.0, 1.0), WakeAt(100.0)]
    assert told(change, Ticked(), 5.0) == []
    assert change.green_share == 0.0
    assert told(change, GreenReady(), 6.0) == [ShiftTraffic(0.3)]


def test_a_linear_change_steps_bakes_and_is_done() -> None:
    """Each step waits; at the end blue stays for the bake time."""
    change = begun(LINEAR)
    told(change, GreenReady(), 1.0)
    assert told(change, Ticked(), 10.0) == []
    assert told(change, Ticked(), 11.0) == [ShiftTraffic(0.6)]
    told(change, Ticked(), 21.0)
    assert change.green_share == pytest.approx(0.9)
    assert change.steps == (3, 4)
    assert told(change, Ticked(), 31.0) == [ShiftTraffic(1.0)]
    assert change.phase is DeploymentPhase.BAKING
    assert told(change, Ticked(), 90.0) == []
    assert told(change, Ticked(), 91.0) == [FinishDeployment()]
    assert told(change, ALARM, 92.0) == []


def test_all_at_once_without_a_bake_time_is_done_when_green_is_ready() -> None:
    """One step, and blue may go."""
    change = begun(DeploymentPolicy())
    assert told(change, GreenReady(), 1.0) == [ShiftTraffic(1.0), FinishDeployment()]


@pytest.mark.parametrize("at_s", [0.5, 5.0, 12.0, 40.0])
def test_an_alarm_takes_the_change_back_up_to_its_end(at_s: float) -> None:
    """Also while it bakes."""
    change = begun(LINEAR)
    for now in (1.0, 11.0, 21.0, 31.0):
        if now <= at_s:
            told(change, GreenReady() if now == 1.0 else Ticked(), now)
    effects = told(change, ALARM, at_s)
    assert effects == [
        BeginRollback(),
        ShiftTraffic(0.0),
        FinishRollback("alarm errors: 3 are over 1"),
    ]


def test_a_green_that_cannot_start_is_taken_back() -> None:
    """Blue never stopped serving."""
    change = begun(LINEAR)
    assert told(change, GreenFailed("import error"), 3.0)[-1] == FinishRollback("import error")


def test_a_change_that_takes_too_long_is_taken_back() -> None:
    """By its own deadline, or by its waits and an hour."""
    change = begun(DeploymentPolicy(kind=DeploymentStrategy.CANARY, step=THIRD, timeout_s=600.0))
    assert told(change, Ticked(), 599.0) == []
    assert told(change, Ticked(), 600.0)[-1] == FinishRollback("it was not done within 600 s")


def test_a_rolling_change_moves_capacity_with_the_requests() -> None:
    """Blue gives up a batch once its requests have moved; green is ready before they do."""
    change = TrafficDeployment(ROLLING, 4, 1_000.0)
    assert change.step(DeploymentBegun(), 0.0)[0] == ScaleFleets(1.0, 0.5)
    assert told(change, GreenReady(), 1.0) == [ShiftTraffic(0.5)]
    assert told(change, Ticked(), 11.0) == [ScaleFleets(0.5, 1.0)]
    assert told(change, Ticked(), 500.0) == []
    assert told(change, GreenReady(), 501.0) == [ShiftTraffic(1.0)]
    assert told(change, Ticked(), 511.0) == [FinishDeployment()]


def test_a_rolling_change_gives_capacity_back_before_requests() -> None:
    """In batches of their own size; a blue that does not come back is waited for so long only."""
    policy = DeploymentPolicy(
        kind=DeploymentStrategy.ROLLING,
        step=StepSize(50, SizeUnit.PERCENT),
        rollback_step=StepSize(1, SizeUnit.REPLICAS),
        wait_s=10.0,
    )
    change = begun(policy)
    told(change, GreenReady(), 1.0)
    assert told(change, ALARM, 2.0) == [BeginRollback(), ScaleFleets(0.75, 0.5)]
    assert told(change, BlueReady(), 3.0) == [ShiftTraffic(0.25), ScaleFleets(1.0, 0.25)]
    assert told(change, Ticked(), 3.0 + ROLLBACK_PATIENCE_S) == [
        ShiftTraffic(0.0),
        FinishRollback("alarm errors: 3 are over 1"),
    ]


def test_without_room_for_both_green_replaces_blue_in_place() -> None:
    """There are no steps then; the bake time and alarms hold."""
    change = begun(LINEAR)
    assert told(change, ReservationMissing("1 x T4"), 3.0) == [ReplaceInPlace()]
    assert told(change, ReplacedInPlace(), 5.0) == []
    assert change.phase is DeploymentPhase.BAKING
    assert told(change, ALARM, 6.0) == [BeginRollback(), RestoreInPlace()]
    assert told(change, ReplacedInPlace(), 8.0) == [FinishRollback("alarm errors: 3 are over 1")]


def test_in_place_the_fleets_take_a_failing_revision_back_themselves() -> None:
    """Nothing is left to restore."""
    change = begun(LINEAR, in_place="1 x T4")
    effects = told(change, ReplacementFailed("import error"), 2.0)
    assert effects == [BeginRollback(), FinishRollback("import error")]


def test_another_change_ends_this_one() -> None:
    """What has all requests stays; otherwise blue does."""
    change = begun(LINEAR)
    told(change, GreenReady(), 1.0)
    assert isinstance(told(change, DeploymentSuperseded(), 2.0)[-1], FinishRollback)

    baking = begun(DeploymentPolicy(bake_s=60.0))
    told(baking, GreenReady(), 1.0)
    assert told(baking, DeploymentSuperseded(), 2.0) == [FinishDeployment()]


SIZES = st.builds(StepSize, st.integers(1, 100), st.sampled_from(list(SizeUnit)))
WAITS = st.sampled_from([0.0, 1.0, 30.0])
POLICIES = st.builds(
    lambda kind, step, wait_s, bake_s, back: DeploymentPolicy(
        kind=kind,
        step=None if kind is DeploymentStrategy.ALL_AT_ONCE else step,
        wait_s=wait_s,
        bake_s=bake_s,
        rollback_step=back if kind is DeploymentStrategy.ROLLING else None,
    ),
    st.sampled_from(list(DeploymentStrategy)),
    SIZES,
    WAITS,
    WAITS,
    st.none() | SIZES,
)
EVENTS = st.sampled_from(
    [
        GreenReady(),
        GreenFailed("import error"),
        ReservationMissing("1 x T4"),
        BlueReady(),
        ReplacedInPlace(),
        ReplacementFailed("import error"),
        ALARM,
        DeploymentSuperseded(),
        Ticked(),
        DeploymentBegun(),
    ]
)
HELPFUL = (GreenReady(), BlueReady(), ReplacedInPlace())


class ShiftHistory(RuleBasedStateMachine):
    """Play any history of one change."""

    @initialize(policy=POLICIES, replicas=st.integers(0, 12), beside=st.booleans())
    def begin(self, policy: DeploymentPolicy, replicas: int, beside: bool) -> None:
        self.now = 0.0
        self.change = TrafficDeployment(policy, replicas, policy.time_limit_s(replicas))
        self.wake_s: float | None = None
        self.ends: list[DeploymentEffect] = []
        self.share = 0.0
        self.is_taken_back = False
        self.tell(DeploymentBegun(None if beside else "1 x T4"))

    def tell(self, event: DeploymentEvent) -> None:
        was_over = self.change.is_over
        effects = self.change.step(event, self.now)
        assert not (was_over and effects)
        for effect in effects:
            if isinstance(effect, WakeAt):
                self.wake_s = effect.at_s
            elif isinstance(effect, BeginRollback):
                assert not self.is_taken_back
                self.is_taken_back = True
            elif isinstance(effect, ShiftTraffic):
                grows = effect.green >= self.share
                assert grows is not self.is_taken_back or effect.green == self.share
                self.share = effect.green
            elif isinstance(effect, FinishDeployment | FinishRollback):
                self.ends.append(effect)
                assert isinstance(effect, FinishRollback) is self.is_taken_back

    @rule(event=EVENTS)
    def hear(self, event: DeploymentEvent) -> None:
        self.tell(event)

    @rule(seconds=st.sampled_from([0.5, 10.0, 5_000.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.tell(Ticked())

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "change"):
            self.change.check()
            assert self.share == self.change.green_share or self.change.is_in_place
            assert self.change.is_over is (len(self.ends) == 1)
            assert self.change.is_over or self.wake_s is not None

    def teardown(self) -> None:
        """Time alone ends every change; with ready replicas it is soon."""
        if not hasattr(self, "change"):
            return
        for _ in range(1_000):
            if self.change.phase in FINAL_PHASES:
                break
            assert self.wake_s is not None
            self.now = max(self.now, self.wake_s)
            self.tell(Ticked())
            self.change.check()
        assert self.change.phase in FINAL_PHASES, "a change without end"


TestShiftHistory = ShiftHistory.TestCase
TestShiftHistory.settings = settings(
    max_examples=examples(200), stateful_step_count=25, deadline=None
)


@pytest.mark.parametrize("kind", list(DeploymentStrategy))
def test_a_change_whose_replicas_become_ready_is_done(kind: DeploymentStrategy) -> None:
    """No kind needs anything but readiness and time."""
    step = None if kind is DeploymentStrategy.ALL_AT_ONCE else StepSize(1, SizeUnit.REPLICAS)
    change, now = begun(DeploymentPolicy(kind=kind, step=step, wait_s=1.0, bake_s=1.0)), 0.0
    while not change.is_over:
        now += 1.0
        for event in (*HELPFUL, Ticked()):
            told(change, event, now)
        assert now < 100.0
    assert change.phase is DeploymentPhase.DONE
