"""Which capacity a scalable target moves to, given what its policies ask for.

- Of several that ask, the largest capacity wins, and going out comes before going in.
- Target tracking goes in only when every policy of its kind (with scale-in) is ready to.
- After a move out, capacity it added counts as part of the next move out until its cooldown ends:
  only a larger one moves. After any move, going in waits for the cooldown; going out never does.
- Nothing leaves the bounds, and a direction that is suspended is not taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coldspark.fleet.step_scaling import StepAdjustments, step_capacity, target_tracking_capacity


@dataclass(frozen=True, slots=True)
class CapacityBounds:
    """The least and the most capacity."""

    least: int
    most: int

    def __post_init__(self) -> None:
        if not 0 <= self.least <= self.most:
            raise ValueError(f"the minimum {self.least} must lie in 0..{self.most}, the maximum")

    def within(self, capacity: int) -> int:
        """Return the nearest capacity within."""
        return min(max(capacity, self.least), self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspendedScaling:
    """What is not done for now."""

    going_in: bool = False
    going_out: bool = False
    scheduled: bool = False


@dataclass(frozen=True, slots=True)
class TargetTrackingResult:
    """Target tracking: the metric is over its target (out), or well under it (in)."""

    metric: float
    target: float
    is_out: bool


@dataclass(frozen=True, slots=True)
class StepScalingResult:
    """A step policy whose alarm alarms, so far beyond its threshold."""

    steps: StepAdjustments
    breach: float


@dataclass(frozen=True, slots=True)
class ScaleInBlocked:
    """Target tracking that is content, or does not know: others of its kind do not go in."""


PolicyResult = TargetTrackingResult | StepScalingResult | ScaleInBlocked


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyProposal:
    """What one policy asks for."""

    policy: str
    result: PolicyResult
    out_cooldown_ms: int = 0
    in_cooldown_ms: int = 0
    alarm: str | None = None
    """The alarm by which it asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CooldownState:
    """What holds back the next move."""

    base: int = 0
    """Capacity before the move out whose cooldown runs."""
    out_until_ms: int = 0
    in_until_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityChange:
    """A change of capacity, and the policy that made it."""

    capacity: int
    proposal: PolicyProposal
    cooldown: CooldownState


def decide_capacity(
    capacity: int,
    bounds: CapacityBounds,
    suspended: SuspendedScaling,
    proposals: Sequence[PolicyProposal],
    cooldown: CooldownState,
    now_ms: int,
) -> CapacityChange | None:
    """Return where to move, or None to stay."""
    base = cooldown.base if now_ms < cooldown.out_until_ms else capacity
    outs = [
        (want, ask) for ask in proposals if (want := _out(ask.result, base, capacity)) is not None
    ]
    if outs:
        want, ask = max(outs, key=lambda one: one[0])
        want = bounds.within(want)
        if suspended.going_out or want <= capacity:
            return None
        until_ms = now_ms + ask.out_cooldown_ms
        return CapacityChange(
            capacity=want,
            proposal=ask,
            cooldown=CooldownState(base=base, out_until_ms=until_ms, in_until_ms=until_ms),
        )
    if suspended.going_in or now_ms < cooldown.in_until_ms:
        return None
    return _inwards(capacity, bounds, proposals, now_ms)


def _inwards(
    capacity: int, bounds: CapacityBounds, proposals: Sequence[PolicyProposal], now_ms: int
) -> CapacityChange | None:
    is_held = any(isinstance(ask.result, ScaleInBlocked) for ask in proposals)
    ins = [
        (want, ask)
        for ask in proposals
        if not (is_held and isinstance(ask.result, TargetTrackingResult))
        and (want := _wanted(ask.result, capacity)) is not None
        and want < capacity
    ]
    if not ins:
        return None
    want, ask = max(ins, key=lambda one: one[0])
    want = bounds.within(want)
    if want >= capacity:
        return None
    return CapacityChange(
        capacity=want, proposal=ask, cooldown=CooldownState(in_until_ms=now_ms + ask.in_cooldown_ms)
    )


def _out(wish: PolicyResult, base: int, capacity: int) -> int | None:
    """Return what a policy that would go out wants, reckoned from ``base``; None: it would not.

    One that is held back by its own earlier move still would, so nothing goes in meanwhile.
    """
    if isinstance(wish, TargetTrackingResult) and not wish.is_out:
        return None
    want = _wanted(wish, base)
    if want is None or want <= base:
        return None
    return want


def _wanted(wish: PolicyResult, capacity: int) -> int | None:
    match wish:
        case TargetTrackingResult(metric, target, is_out):
            want = target_tracking_capacity(capacity, metric, target)
            return max(want, capacity) if is_out else min(want, capacity)
        case StepScalingResult(steps, breach):
            return step_capacity(steps, capacity, breach)
        case ScaleInBlocked():
            return None
