"""Ray Serve's rule, as ``python/ray/serve/autoscaling_policy.py`` has it.

With T the mean of ongoing requests over the last 30 s and t the target for each replica:

    want = ceil(T / t), at once from zero (at least 1 as soon as T > 0)
    up   only after 30 s in a row of wanting more, down only after 600 s of wanting fewer

Worked number: 8 requests at once on one replica with t=2 want 4; the other three are asked for 30 s
later, if the requests are still there. Delays are counted in seconds here, not in turns of a loop.

Ticks follow each other on a grid. One that cannot change what is wanted may be worked out late, by
``advance``, as it sees nothing but the past.
"""

import math

from msgspec import Struct
from msgspec.structs import replace

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.policies.demand import TICKS_MAX, DemandWindow, resume_tick_s, ticks_before
from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.fleet.policies.rule_policy import RulePolicy
from coldspark.spec.scaling_rules import RayServe, Rule


class RayServeMemory(Struct, frozen=True, gc=False):
    """What it remembers: what it has, and since when it wants more or fewer."""

    want: int = 0
    next_s: float = 0.0
    up_since_s: float | None = None
    down_since_s: float | None = None

    @property
    def due_s(self) -> float:
        """Return when the next tick is; at zero there are none."""
        return self.next_s if self.want else NEVER


def evaluate(
    rule: RayServe, observation: Observation, memory: RayServeMemory
) -> tuple[ScaleDecision, RayServeMemory]:
    """Return how many replicas Ray Serve would have, and what it remembers."""
    memory = advance(rule, memory, observation.now, observation.demand)
    if memory.want == 0 and observation.open:
        memory = RayServeMemory(
            max(1, _ceil(observation.open / rule.target)), observation.now + rule.tick_s
        )
    decision = ScaleDecision(
        memory.want,
        f"ray-serve: wants {memory.want}",
        replicas_min=memory.want,
        evaluate_again_s=settled_until_s(rule, memory) if memory.want else NEVER,
    )
    return decision, memory


def advance(
    rule: RayServe, memory: RayServeMemory, now: float, demand: DemandWindow
) -> RayServeMemory:
    """Return what it remembers after the ticks until now, none of which saw what is new now."""
    if memory.due_s > now:
        return memory
    begin_s = resume_tick_s(memory.next_s, rule.tick_s, now)
    if begin_s != memory.next_s:
        memory = replace(memory, next_s=begin_s)
    while memory.due_s <= now:
        memory = _tick(rule, memory, demand)
    return memory


def settled_until_s(rule: RayServe, memory: RayServeMemory) -> float:
    """Return a moment before or at the first tick that may change what is wanted.

    Whatever comes, no tick does before the shorter delay has passed since it began, and one that
    has not begun cannot begin before the next tick.
    """
    next_s = memory.next_s
    up_s = next_s if memory.up_since_s is None else memory.up_since_s
    down_s = next_s if memory.down_since_s is None else memory.down_since_s
    change_s = min(up_s + rule.up_s, down_s + rule.down_s)
    ticks = min(TICKS_MAX, ticks_before(next_s, rule.tick_s, change_s))
    return next_s + ticks * rule.tick_s


def _tick(rule: RayServe, memory: RayServeMemory, demand: DemandWindow) -> RayServeMemory:
    now, next_s = memory.next_s, memory.next_s + rule.tick_s
    desired = _ceil(demand.mean(rule.look_back_s, now) / rule.target)
    if desired > memory.want:
        since_s = now if memory.up_since_s is None else memory.up_since_s
        if now - since_s >= rule.up_s:
            return RayServeMemory(desired, next_s)
        return RayServeMemory(memory.want, next_s, up_since_s=since_s)
    if desired < memory.want:
        since_s = now if memory.down_since_s is None else memory.down_since_s
        if now - since_s >= rule.down_s:
            return RayServeMemory(desired, next_s)
        return RayServeMemory(memory.want, next_s, down_since_s=since_s)
    return RayServeMemory(memory.want, next_s)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-9)


def _own(rule: Rule) -> RayServe:
    assert isinstance(rule, RayServe)
    return rule


POLICY = RulePolicy(
    evaluate=lambda scale, observation, memory: evaluate(_own(scale.rule), observation, memory),
    initial_memory=RayServeMemory,
    window_s=lambda rule: _own(rule).look_back_s,
    advance=lambda scale, memory, demand, now, open, ready: advance(
        _own(scale.rule), memory, now, demand
    ),
    next_tick_s=lambda memory: memory.due_s,
)
