"""Which capacity a scalable target moves to, given what its policies ask for. AWS's rules.

- Of several that ask, the largest capacity wins, and going out comes before going in.
- Target tracking goes in only when every policy of its kind (with scale-in) is ready to.
- After a move out, capacity it added counts as part of the next move out until its cooldown ends:
  only a larger one moves. After any move, going in waits for the cooldown; going out never does.
- Nothing leaves the bounds, and a direction that is suspended is not taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coldspark.fleet.step_scaling import Steps, adjusted, tracked


@dataclass(frozen=True, slots=True)
class Bounds:
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
class Suspended:
    """What is not done for now."""

    going_in: bool = False
    going_out: bool = False
    scheduled: bool = False


@dataclass(frozen=True, slots=True)
class Tracking:
    """Target tracking: the metric is over its target (out), or well under it (in)."""

    metric: float
    target: float
    is_out: bool


@dataclass(frozen=True, slots=True)
class Stepping:
    """A step policy whose alarm alarms, so far beyond its threshold."""

    steps: Steps
    breach: float


@dataclass(frozen=True, slots=True)
class Holding:
    """Target tracking that is content, or does not know: others of its kind do not go in."""


Wish = Tracking | Stepping | Holding


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one policy asks for."""

    policy: str
    wish: Wish
    out_cooldown_ms: int = 0
    in_cooldown_ms: int = 0
    cause: str = ""
    """In words, for the activity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """What holds back the next move."""

    base: int = 0
    """Capacity before the move out whose cooldown runs."""
    out_until_ms: int = 0
    in_until_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A change of capacity, and the policy that made it."""

    capacity: int
    ask: Ask
    quiet: Quiet


def decide(
    capacity: int,
    bounds: Bounds,
    suspended: Suspended,
    asks: Sequence[Ask],
    quiet: Quiet,
    now_ms: int,
) -> Move | None:
    """Return where to move, or None to stay."""
    base = quiet.base if now_ms < quiet.out_until_ms else capacity
    outs = [(want, ask) for ask in asks if (want := _out(ask.wish, base, capacity)) is not None]
    if outs:
        want, ask = max(outs, key=lambda one: one[0])
        want = bounds.within(want)
        if suspended.going_out or want <= capacity:
            return None
        until_ms = now_ms + ask.out_cooldown_ms
        return Move(
            capacity=want,
            ask=ask,
            quiet=Quiet(base=base, out_until_ms=until_ms, in_until_ms=until_ms),
        )
    if suspended.going_in or now_ms < quiet.in_until_ms:
        return None
    return _inwards(capacity, bounds, asks, now_ms)


def _inwards(capacity: int, bounds: Bounds, asks: Sequence[Ask], now_ms: int) -> Move | None:
    is_held = any(isinstance(ask.wish, Holding) for ask in asks)
    ins = [
        (want, ask)
        for ask in asks
        if not (is_held and isinstance(ask.wish, Tracking))
        and (want := _wanted(ask.wish, capacity)) is not None
        and want < capacity
    ]
    if not ins:
        return None
    want, ask = max(ins, key=lambda one: one[0])
    want = bounds.within(want)
    if want >= capacity:
        return None
    return Move(capacity=want, ask=ask, quiet=Quiet(in_until_ms=now_ms + ask.in_cooldown_ms))


def _out(wish: Wish, base: int, capacity: int) -> int | None:
    """Return what a policy that would go out wants, reckoned from ``base``; None: it would not.

    One that is held back by its own earlier move still would, so nothing goes in meanwhile.
    """
    if isinstance(wish, Tracking) and not wish.is_out:
        return None
    want = _wanted(wish, base)
    if want is None or want <= base:
        return None
    return want


def _wanted(wish: Wish, capacity: int) -> int | None:
    match wish:
        case Tracking(metric, target, is_out):
            want = tracked(capacity, metric, target)
            return max(want, capacity) if is_out else min(want, capacity)
        case Stepping(steps, breach):
            return adjusted(steps, capacity, breach)
        case Holding():
            return None
