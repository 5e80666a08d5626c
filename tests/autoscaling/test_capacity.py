"""Several policies, cooldowns, bounds and suspensions: where a target moves to."""

from dataclasses import dataclass, field

from example_counts import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coldspark.autoscaling.capacity import (
    CapacityBounds,
    CapacityChange,
    CooldownState,
    PolicyProposal,
    PolicyResult,
    ScaleInBlocked,
    StepScalingResult,
    SuspendedScaling,
    TargetTrackingResult,
    decide_capacity,
)
from coldspark.fleet.step_scaling import AdjustmentType, StepAdjustment, StepAdjustments


@dataclass
class Target:
    """A target that moves where it is decided."""

    capacity: int = 2
    bounds: CapacityBounds = field(default_factory=lambda: CapacityBounds(1, 10))
    suspended: SuspendedScaling = field(default_factory=SuspendedScaling)
    quiet: CooldownState = field(default_factory=CooldownState)

    def at(
        self, now_ms: int, *wishes: PolicyResult, out_ms: int = 60_000, in_ms: int = 60_000
    ) -> CapacityChange | None:
        """Decide, and move."""
        asks = [
            PolicyProposal(
                policy=f"p{place}", result=wish, out_cooldown_ms=out_ms, in_cooldown_ms=in_ms
            )
            for place, wish in enumerate(wishes)
        ]
        move = decide_capacity(self.capacity, self.bounds, self.suspended, asks, self.quiet, now_ms)
        if move is not None:
            self.capacity, self.quiet = move.capacity, move.cooldown
        return move


def over(metric: float, target: float = 0.5) -> TargetTrackingResult:
    return TargetTrackingResult(metric, target, is_out=True)


def under(metric: float, target: float = 0.5) -> TargetTrackingResult:
    return TargetTrackingResult(metric, target, is_out=False)


def by(change: int) -> StepScalingResult:
    steps = (StepAdjustment(lower=0, adjustment=change),)
    return StepScalingResult(StepAdjustments(kind=AdjustmentType.CHANGE, steps=steps), 1.0)


def test_the_largest_capacity_wins_out_and_in() -> None:
    """AWS's example: of +3 and 200 percent at 10, it is 30."""
    target = Target(10, CapacityBounds(1, 100))
    percent = StepAdjustments(
        kind=AdjustmentType.PERCENT, steps=(StepAdjustment(lower=0, adjustment=200),)
    )
    move = target.at(0, by(3), StepScalingResult(percent, 1.0))
    assert move is not None
    assert (target.capacity, move.proposal.policy) == (30, "p1")

    target = Target(10)
    target.at(0, by(-5), by(-2))
    assert target.capacity == 8


def test_who_goes_out_comes_before_who_goes_in() -> None:
    """Also while his own cooldown holds him back."""
    target = Target(4)
    target.at(0, by(1), by(-3))
    target.at(1_000, by(1), by(-3))
    assert target.capacity == 5


def test_target_tracking_goes_in_only_when_all_of_it_is_ready() -> None:
    """A step policy asks nobody."""
    target = Target(6)
    target.at(0, under(0.1), ScaleInBlocked())
    assert target.capacity == 6
    target.at(0, under(0.1), under(0.2))
    assert target.capacity == 3
    target = Target(6)
    target.at(0, by(-1), ScaleInBlocked())
    assert target.capacity == 5


def test_in_a_cooldown_only_a_larger_move_out_is_made() -> None:
    """What the first move added counts as part of the next."""
    target = Target(2)
    target.at(0, by(3))
    assert target.capacity == 5
    assert target.at(30_000, by(3)) is None
    assert target.at(30_000, by(2)) is None
    target.at(31_000, by(4))
    assert target.capacity == 6
    target.at(91_000, by(3))
    assert target.capacity == 9


def test_nothing_goes_in_before_a_cooldown_ends_and_out_does_at_once() -> None:
    """In is careful, out is not."""
    target = Target(8)
    target.at(0, by(-1))
    target.at(59_999, by(-1))
    assert target.capacity == 7
    target.at(59_999, by(2))
    assert target.capacity == 9
    target.at(60_000, by(-1))
    assert target.capacity == 9
    target.at(119_999, by(-1))
    assert target.capacity == 8


def test_a_suspended_direction_is_not_taken() -> None:
    """And the other one is."""
    target = Target(5, suspended=SuspendedScaling(going_out=True))
    target.at(0, by(1))
    target.at(0, by(-1))
    assert target.capacity == 4
    target = Target(5, suspended=SuspendedScaling(going_in=True))
    target.at(0, by(-1))
    target.at(0, over(1.0))
    assert target.capacity == 10


def test_nothing_leaves_the_bounds() -> None:
    """Neither way."""
    target = Target(2, CapacityBounds(1, 4))
    target.at(0, by(50))
    target.at(100_000, by(-50))
    assert target.capacity == 1
    assert target.at(200_000, by(-1)) is None


def test_from_nothing_target_tracking_goes_to_one() -> None:
    """Where the minimum is 0."""
    target = Target(0, CapacityBounds(0, 4))
    target.at(0, over(1.0))
    assert target.capacity == 1
    target.at(60_000, under(0.0))
    assert target.capacity == 0


class AnyHistory(RuleBasedStateMachine):
    """Whatever is asked: bounds, suspensions and cooldowns are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.target = Target()
        self.now_ms = 0
        self.moved_ms = -1
        self.cooldown_ms = 0

    @rule(
        passed_ms=st.integers(0, 100_000),
        wishes=st.lists(
            st.one_of(
                st.builds(by, st.integers(-12, 12)),
                st.builds(over, st.floats(0, 5)),
                st.builds(under, st.floats(0, 5)),
                st.builds(ScaleInBlocked),
            ),
            max_size=4,
        ),
        cooldown_ms=st.sampled_from([0, 1_000, 60_000]),
    )
    def ask(self, passed_ms: int, wishes: list[PolicyResult], cooldown_ms: int) -> None:
        self.now_ms += passed_ms
        before, quiet = self.target.capacity, self.target.quiet
        move = self.target.at(self.now_ms, *wishes, out_ms=cooldown_ms, in_ms=cooldown_ms)
        if move is None:
            return
        assert move.capacity != before
        if move.capacity < before:
            assert not self.target.suspended.going_in
            assert self.now_ms >= self.moved_ms + self.cooldown_ms
            assert not any(isinstance(wish, ScaleInBlocked) for wish in wishes) or not isinstance(
                move.proposal.result, TargetTrackingResult
            )
        else:
            assert not self.target.suspended.going_out
            if self.now_ms < quiet.out_until_ms and isinstance(
                move.proposal.result, StepScalingResult
            ):
                asked = move.proposal.result.steps.steps[0].adjustment
                assert move.capacity <= quiet.base + asked
        self.moved_ms, self.cooldown_ms = self.now_ms, cooldown_ms

    @rule(going_in=st.booleans(), going_out=st.booleans())
    def suspend(self, going_in: bool, going_out: bool) -> None:
        self.target.suspended = SuspendedScaling(going_in=going_in, going_out=going_out)

    @invariant()
    def check(self) -> None:
        assert self.target.bounds.within(self.target.capacity) == self.target.capacity
        assert self.target.quiet.base <= self.target.bounds.most


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=examples(60), stateful_step_count=30)
