"""Ticks that follow each other on a grid, some of them worked out late."""

import math

TICKS_MAX = 10_000
"""So many ticks at most are left for later: working them out takes milliseconds."""

_ROUNDING = 1e-3
"""Of a tick: what adding up so many of them may be off by, many times over."""


def ticks_before(next_s: float, tick_s: float, at_s: float) -> int:
    """Return how many ticks after the one at ``next_s`` surely come before a moment.

    One that falls on it does not: adding ticks up rounds. Worked number: of ticks at 0, 1, 2 and 3
    two come after the first and before 3.
    """
    return max(0, math.floor((at_s - next_s) / tick_s - _ROUNDING))


def caught_up_s(next_s: float, tick_s: float, now: float) -> float:
    """Return where to go on: after a machine has slept for hours the ticks missed are let go."""
    return now if now - next_s > 10 * TICKS_MAX * tick_s else next_s
