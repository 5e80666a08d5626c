"""Knative's pod autoscaler (KPA), as ``pkg/autoscaler/scaling/autoscaler.go`` has it.

Every 2 s, with r ready replicas, c slots each, and o(w) the mean of open requests over w seconds:

    target = max(0.01, 0.7 c);  up = ceil(1000 max(1, r));  down = floor(max(1, r) / 2)
    stable = clamp(ceil(o(60)/target), down, up);  short = clamp(ceil(o(6)/target), down, up)
    panic    begins, or goes on, when ceil(o(6)/target) / max(1, r) >= 2; ends 60 s after the last
    want   = in panic the most that either window wanted since it began, else stable

Starting replicas are not counted as ready. The first request after silence is evaluated at once.
Worked number: c=1, r=0, one request: short = ceil(1/0.7) = 2, and 2/1 >= 2 is panic, so two
replicas are started for one request and kept for 60 s. (Knative's extra grace of 30 s before zero
counts from when its activator took the path, which for small services is always: it is left out.)

Ticks follow each other on a grid. Those that nothing new can reach and that cannot change what is
wanted are worked out late, by ``advance``: from the same figures, to the same end.
"""

import math

from msgspec import Struct
from msgspec.structs import replace

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.policies.demand import TICKS_MAX, DemandWindow, resume_tick_s
from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.fleet.policies.rule_policy import RulePolicy
from coldspark.spec.scaling_rules import Knative, Rule


class KnativeMemory(Struct, frozen=True, gc=False):
    """What the autoscaler remembers from tick to tick."""

    want: int = 0
    next_s: float = 0.0
    panic_until_s: float = 0.0
    panic_most: int = 0
    is_awake: bool = False
    """Something is open, there or wanted: it ticks."""

    @property
    def due_s(self) -> float:
        """Return when the next tick is."""
        return self.next_s if self.is_awake else NEVER


class _Scene(Struct, frozen=True, gc=False):
    """The input of a tick."""

    demand: DemandWindow
    open: int
    ready: int
    """At least one: what its formulas count."""
    target: float

    def desired(self, window_s: float, at_s: float) -> int:
        """Return the replicas that a window's mean asks for."""
        return math.ceil(self.demand.mean(window_s, at_s) / self.target - 1e-9)


def evaluate(
    rule: Knative, observation: Observation, memory: KnativeMemory
) -> tuple[ScaleDecision, KnativeMemory]:
    """Return how many replicas Knative would have, and what it remembers."""
    scene = _scene(rule, observation.demand, observation.open, observation.ready, observation.slots)
    memory = _advanced(rule, memory, observation.now, scene)
    is_poked = observation.queued > 0 and observation.present == 0
    is_needed = observation.open > 0 or observation.present > 0
    if is_poked or (is_needed and not memory.is_awake):
        memory = _tick(rule, replace(memory, next_s=observation.now), scene)
        if is_poked and not memory.want:
            memory = replace(memory, want=1)
    is_awake = is_needed or memory.want > 0
    if is_awake is not memory.is_awake:
        memory = replace(memory, is_awake=is_awake)
    is_panic = observation.now < memory.panic_until_s
    decision = ScaleDecision(
        memory.want,
        f"knative: wants {memory.want}{' in panic' if is_panic else ''}",
        replicas_min=memory.want,
        evaluate_again_s=settled_until_s(rule, memory, scene) if memory.is_awake else NEVER,
        is_fixed=False,
    )
    return decision, memory


def advance(
    rule: Knative,
    memory: KnativeMemory,
    now: float,
    demand: DemandWindow,
    *,
    open: int,
    ready: int,
    slots: int,
) -> KnativeMemory:
    """Return what it remembers after the ticks until now, none of which saw what is new now."""
    if memory.due_s > now:
        return memory
    return _advanced(rule, memory, now, _scene(rule, demand, open, ready, slots))


def _scene(rule: Knative, demand: DemandWindow, open: int, ready: int, slots: int) -> _Scene:
    return _Scene(demand, open, max(1, ready), max(0.01, rule.target * slots))


def _advanced(rule: Knative, memory: KnativeMemory, now: float, scene: _Scene) -> KnativeMemory:
    if memory.due_s > now:
        return memory
    begin_s = resume_tick_s(memory.next_s, rule.tick_s, now)
    if begin_s != memory.next_s:
        memory = replace(memory, next_s=begin_s)
    while memory.next_s <= now:
        memory = _tick(rule, memory, scene)
    return memory


def settled_until_s(rule: Knative, memory: KnativeMemory, scene: _Scene) -> float:
    """Return a moment before or at the first tick that may change what is wanted.

    It holds while nothing changes. Where both windows see the same all along, or nothing is open,
    what they want never rises: if it is the same at both ends of an interval, it is so in between.
    """
    next_s = memory.next_s
    if scene.demand.is_steady(rule.stable_s, next_s):
        end_s = next_s + TICKS_MAX * rule.tick_s
    elif scene.open == 0:
        end_s = scene.demand.changed_s + rule.stable_s
    else:
        return next_s
    after = _tick(rule, memory, scene)
    if after.want != memory.want:
        return next_s
    is_over = scene.desired(rule.panic_s, next_s) / scene.ready >= rule.panic_over
    if is_over or next_s < after.panic_until_s:
        end_s = min(end_s, after.panic_until_s)
    end_s -= rule.tick_s
    if scene.desired(rule.stable_s, max(next_s, end_s)) != scene.desired(rule.stable_s, next_s):
        return next_s
    return max(next_s, end_s)


def _tick(rule: Knative, memory: KnativeMemory, scene: _Scene) -> KnativeMemory:
    now, ready = memory.next_s, scene.ready
    low, high = ready // 2, 1000 * ready
    stable = scene.desired(rule.stable_s, now)
    short = scene.desired(rule.panic_s, now)
    is_over = short / ready >= rule.panic_over
    # Its lower bound of half of what is ready keeps one of one: nothing goes to zero at once.
    is_silent = stable == 0
    stable, short = (0 if is_silent else min(max(n, low), high) for n in (stable, short))
    until_s, most = memory.panic_until_s, memory.panic_most
    if is_over:
        most = most if now < until_s else 0
        until_s = now + rule.stable_s
    want = stable
    if now < until_s:
        want = most = max(most, stable, short)
    return KnativeMemory(want, now + rule.tick_s, until_s, most, memory.is_awake)


def _own(rule: Rule) -> Knative:
    assert isinstance(rule, Knative)
    return rule


POLICY = RulePolicy(
    evaluate=lambda scale, observation, memory: evaluate(_own(scale.rule), observation, memory),
    initial_memory=KnativeMemory,
    window_s=lambda rule: _own(rule).stable_s,
    advance=lambda scale, memory, demand, now, open, ready: advance(
        _own(scale.rule), memory, now, demand, open=open, ready=ready, slots=scale.concurrency
    ),
    next_tick_s=lambda memory: memory.due_s,
)
