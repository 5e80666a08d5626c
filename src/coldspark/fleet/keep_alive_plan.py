"""On which rung an unneeded replica rests, at each age of its gap: the cheapest course, worked out.

A replica that nobody needs may stay ready, be parked, or be ended; a replica that is expected may
be woken ahead. With p(i) the chance that a gap that reached bin i ends in it
(``IdleIntervals.ends``), w(i)
the bin's width in seconds, h(r) what a second on rung r costs and K(r) what a wake from it costs,
all in seconds of a ready replica, the cost to come on rung r is

    stay(r, i) = h(r) * w(i) * (1 - p(i)/2) + p(i) * K(r) + (1 - p(i)) * best(r, i+1)
    best(r, i) = min over rungs s of  move(r, s) + stay(s, i)
    K(r)       = wake_s(r) + wait_value * min(wake_s(r), W)

with W how long a request waits at most, because other replicas become free: for ever on the first
level, and on the n-th as long as the level is up between two gaps: measured, beside two imagined
times of 2 S / ((n - 1) c), with S seconds that a request takes and c slots. Going down is free, and
going up ahead of a request costs thrice the wake's own seconds but makes nobody wait. Worked
backwards from the last bin it takes one pass.

Worked number: no gap was measured, a start takes 30 s, wait_value is 10, nothing is parked. Then
K(ended) = 330, and what the imagined gaps of ``IdleIntervals.ends`` say is to keep it for 304 s:
the bin
edge below 330, as the ski rental has it.
"""

from bisect import bisect_right
from dataclasses import dataclass
from enum import IntEnum

from coldspark.fleet.idle_intervals import EDGES_S, IdleIntervals

NEVER_S = float("inf")
PREWARM_COST = 3.0
"""A start that nobody asked for costs three times its seconds: it takes processor and disk from
others, and may turn out to be for nothing."""


class WarmthLevel(IntEnum):
    """The rungs that an unneeded replica may rest on, the warmest first."""

    READY = 0
    PARKED = 1
    ENDED = 2


_RESTS = (WarmthLevel.READY, WarmthLevel.PARKED, WarmthLevel.ENDED)
"""To go over: iterating over an Enum itself takes several times as long."""


@dataclass(frozen=True, slots=True)
class WarmthCost:
    """What a rung costs, in seconds of a ready replica."""

    hold_cost: float
    """For a second on it."""
    wake_s: float
    """Until it is ready again."""


@dataclass(frozen=True, slots=True)
class KeepAlivePlan:
    """The rung for each age of a gap: from ``ages_s[i]`` on, ``rests[i]``."""

    ages_s: tuple[float, ...]
    levels: tuple[WarmthLevel, ...]
    starts_s: tuple[tuple[float, float], ...] = ()
    """Ages (from, to) at which it pays to start one that is not there."""
    thaws_s: tuple[tuple[float, float], ...] = ()
    """Ages (from, to) at which it pays to thaw one that is parked."""
    expected_cost_s: float = 0.0
    """What the course is expected to cost from the gap's beginning to its end, a wake included."""

    def level_at(self, age_s: float) -> WarmthLevel:
        """Return the rung at an age."""
        return self.levels[bisect_right(self.ages_s, age_s) - 1]

    def next_s(self, age_s: float) -> float:
        """Return the next age at which the rung changes."""
        index = bisect_right(self.ages_s, age_s)
        return self.ages_s[index] if index < len(self.ages_s) else NEVER_S

    def next_prewarm_s(self, rest: WarmthLevel, age_s: float) -> float:
        """Return the next age at which it pays to make one ready that rests on a rung."""
        for from_s, to_s in self.thaws_s if rest is WarmthLevel.PARKED else self.starts_s:
            if age_s < to_s:
                return max(age_s, from_s)
        return NEVER_S


def cheapest_plan(
    gaps: IdleIntervals,
    rungs: tuple[WarmthCost, WarmthCost, WarmthCost],
    wait_value: float,
    wait_max_s: float = NEVER_S,
    share: float = 1.0,
) -> KeepAlivePlan:
    """Return the cheapest descent under the measured gaps (``rungs`` by ``WarmthLevel``).

    ``wait_value`` is what a second of a caller's waiting is worth, in seconds of a ready replica;
    nobody waits for longer than ``wait_max_s``, because other replicas serve him then. ``share`` of
    what a wake costs is counted.
    """
    ends = gaps.end_probabilities()
    wakes = [share * (rung.wake_s + wait_value * min(rung.wake_s, wait_max_s)) for rung in rungs]
    best = [0.0, 0.0, 0.0]
    holds, moves = [rung.hold_cost for rung in rungs], _moves(rungs)
    choices: list[list[WarmthLevel]] = []
    for index in range(len(ends) - 1, -1, -1):
        chance, width_s = ends[index], EDGES_S[index + 1] - EDGES_S[index]
        held, goes_on = width_s * (1.0 - 0.5 * chance), 1.0 - chance
        stay = [holds[rest] * held + chance * wakes[rest] + goes_on * best[rest] for rest in _RESTS]
        chosen = list(_RESTS)
        for here in _RESTS:
            chosen[here], best[here] = _cheapest_move(here, stay, moves[here])
        choices.append(chosen)
    choices.reverse()
    return _course(choices, rungs, best[WarmthLevel.READY])


def plan_with_spares(
    gaps: IdleIntervals,
    rungs: tuple[WarmthCost, WarmthCost, WarmthCost],
    wait_value: float,
    up_s: float,
) -> tuple[KeepAlivePlan, bool]:
    """Return the descent of a replica that others can stand in for, and whether to start it.

    Without it, one request more waits for as long as its level is up. So a use of it spares
    ``u = wait_value * up_s``, and having it from use to use costs the bridge B(K) of a gap: it is
    worth a start when u > B(K). If not, nobody starts it again at its next use, so what is lost by
    letting it go is not K but the k with B(k) = u; B is concave, so at most k = K u / B(K), which
    is taken. Worked number: start 30 s, wait_value 10, up for 2 s: u = 20 and K = 50. Gaps of 10 s
    are bridged for about 10, so it is worth a start; gaps of an hour cost B = K = 50, so it is not,
    and one that is there is let go as if its wake cost 20.
    """
    found = cheapest_plan(gaps, rungs, wait_value, up_s)
    spared_s = wait_value * up_s
    if spared_s > found.expected_cost_s:
        return found, True
    share = spared_s / found.expected_cost_s if found.expected_cost_s else 1.0
    return cheapest_plan(gaps, rungs, wait_value, up_s, share), False


def plan_for_unseen_level(
    highest: int,
    level: int,
    rungs: tuple[WarmthCost, WarmthCost, WarmthCost],
    wait_value: float,
    wait_max_s: float,
) -> KeepAlivePlan:
    """Return the descent of a level that was never up, by the age of all that was measured.

    A rule of succession, with no scale of its own in time or in height: what was not seen within t
    seconds comes in the next one with a chance of 1/t, as the imagined gaps of
    ``IdleIntervals.ends`` have
    it, and to n levels, where N is the highest seen, with N/n of that. So the n-th pays while
    ``t < K N/n``, where there is enough of that time left to pay a start ahead. Worked number:
    N=10, n=11, a start of 2 s, nobody waits for longer than 1 s: at wait_value=100 K is 102 and it
    is kept for the first 90 s (the bin edge below 93), at wait_value=0 it is never started.
    """
    return cheapest_plan(IdleIntervals(), rungs, wait_value, wait_max_s, highest / level)


_Moves = list[tuple[WarmthLevel, float]]
"""Where to, and the seconds of a ready replica that it costs."""


def _moves(rungs: tuple[WarmthCost, WarmthCost, WarmthCost]) -> list[_Moves]:
    """Return where one can go from each rung: to any lower one, or up to READY."""
    return [
        [
            (there, PREWARM_COST * rungs[here].wake_s if there < here else 0.0)
            for there in _RESTS
            if there is WarmthLevel.READY or there >= here
        ]
        for here in _RESTS
    ]


def _cheapest_move(
    here: WarmthLevel, stay: list[float], moves: _Moves
) -> tuple[WarmthLevel, float]:
    """Return the rung to go to, and the cost to come. Of equals, the lowest."""
    chosen, least = here, stay[here]
    for there, move_s in moves:
        cost = move_s + stay[there]
        if cost < least or (cost == least and there > chosen):
            chosen, least = there, cost
    return chosen, least


def _course(
    choices: list[list[WarmthLevel]],
    rungs: tuple[WarmthCost, WarmthCost, WarmthCost],
    bridge_s: float,
) -> KeepAlivePlan:
    """Walk from READY through the choices; a wake ahead begins its own length earlier."""
    ages_s, rests = [0.0], [WarmthLevel.READY]
    for index, chosen in enumerate(choices):
        here, there = rests[-1], chosen[rests[-1]]
        # Bin 0 lies below what is counted: nothing is given up in it.
        if there is here or index == 0:
            continue
        ahead_s = rungs[here].wake_s if there < here else 0.0
        ages_s.append(max(ages_s[-1], EDGES_S[index] - ahead_s))
        rests.append(there)
    starts_s, thaws_s = (
        _raises(choices, rest, rungs[rest].wake_s)
        for rest in (WarmthLevel.ENDED, WarmthLevel.PARKED)
    )
    return KeepAlivePlan(tuple(ages_s), tuple(rests), starts_s, thaws_s, bridge_s)


def _raises(
    choices: list[list[WarmthLevel]], rest: WarmthLevel, ahead_s: float
) -> tuple[tuple[float, float], ...]:
    """Return the stretches of ages at which one that rests is to be READY."""
    found: list[tuple[float, float]] = []
    for index, chosen in enumerate(choices):
        if chosen[rest] is not WarmthLevel.READY:
            continue
        from_s, to_s = max(0.0, EDGES_S[index] - ahead_s), EDGES_S[index + 1]
        if found and from_s <= found[-1][1]:
            from_s = found.pop()[0]
        found.append((from_s, to_s))
    return tuple(found)
