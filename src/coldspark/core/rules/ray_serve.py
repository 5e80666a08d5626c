"""Ray Serve's rule, as ``python/ray/serve/autoscaling_policy.py`` has it.

With T the mean of ongoing requests over the last 30 s and t the target for each replica:

    want = ceil(T / t), at once from zero (at least 1 as soon as T > 0)
    up   only after 30 s in a row of wanting more, down only after 600 s of wanting fewer

Worked number: 8 requests at once on one replica with t=2 want 4; the other three are asked for 30 s
later, if the requests are still there. Delays are counted in seconds here, not in turns of a loop.
"""

import math
from dataclasses import dataclass

from coldspark.core.deadlines import NEVER
from coldspark.core.rules.seen import Observed, Verdict
from coldspark.core.rules.settings import RayServe


@dataclass(frozen=True, slots=True)
class RayServeMemory:
    """What it remembers: what it has, and since when it wants more or fewer."""

    want: int = 0
    next_s: float = 0.0
    up_since_s: float | None = None
    down_since_s: float | None = None


def decide(
    rule: RayServe, seen: Observed, memory: RayServeMemory
) -> tuple[Verdict, RayServeMemory]:
    """Return how many replicas Ray Serve would have, and what it remembers."""
    if memory.want == 0 and seen.open:
        memory = RayServeMemory(max(1, _ceil(seen.open / rule.target)), seen.now + rule.tick_s)
    elif seen.now >= memory.next_s:
        memory = _tick(rule, seen, memory)
    is_awake = seen.open > 0 or memory.want > 0
    verdict = Verdict(
        memory.want,
        f"ray-serve: wants {memory.want}",
        floor=memory.want,
        look_again_s=memory.next_s if is_awake else NEVER,
    )
    return verdict, memory


def _tick(rule: RayServe, seen: Observed, memory: RayServeMemory) -> RayServeMemory:
    desired = _ceil(seen.demand.mean(rule.look_back_s, seen.now) / rule.target)
    next_s = seen.now + rule.tick_s
    if desired > memory.want:
        since_s = seen.now if memory.up_since_s is None else memory.up_since_s
        if seen.now - since_s >= rule.up_s:
            return RayServeMemory(desired, next_s)
        return RayServeMemory(memory.want, next_s, up_since_s=since_s)
    if desired < memory.want:
        since_s = seen.now if memory.down_since_s is None else memory.down_since_s
        if seen.now - since_s >= rule.down_s:
            return RayServeMemory(desired, next_s)
        return RayServeMemory(memory.want, next_s, down_since_s=since_s)
    return RayServeMemory(memory.want, next_s)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-9)
