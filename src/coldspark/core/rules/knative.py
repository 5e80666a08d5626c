"""Knative's pod autoscaler (KPA), as ``pkg/autoscaler/scaling/autoscaler.go`` has it.

Every 2 s, with r ready replicas, c slots each, and o(w) the mean of open requests over w seconds:

    target = max(0.01, 0.7 c);  up = ceil(1000 max(1, r));  down = floor(max(1, r) / 2)
    stable = clamp(ceil(o(60)/target), down, up);  short = clamp(ceil(o(6)/target), down, up)
    panic    begins, or goes on, when ceil(o(6)/target) / max(1, r) >= 2; ends 60 s after the last
    want   = in panic the most that either window wanted since it began, else stable

Starting replicas are not counted as ready. The first request after silence is looked at at once.
Worked number: c=1, r=0, one request: short = ceil(1/0.7) = 2, and 2/1 >= 2 is panic, so two
replicas are started for one request and kept for 60 s. (Knative's extra grace of 30 s before zero
counts from when its activator took the path, which for small services is always: it is left out.)
"""

import math
from dataclasses import dataclass, replace

from coldspark.core.deadlines import NEVER
from coldspark.core.rules.seen import Observed, Verdict
from coldspark.core.rules.settings import Knative


@dataclass(frozen=True, slots=True)
class KnativeMemory:
    """What the autoscaler remembers from tick to tick."""

    want: int = 0
    next_s: float = 0.0
    panic_until_s: float = 0.0
    panic_most: int = 0


def decide(rule: Knative, seen: Observed, memory: KnativeMemory) -> tuple[Verdict, KnativeMemory]:
    """Return how many replicas Knative would have, and what it remembers."""
    is_poked = seen.queued > 0 and seen.present == 0
    if seen.now >= memory.next_s or is_poked:
        memory = _tick(rule, seen, memory)
        if is_poked and not memory.want:
            memory = replace(memory, want=1)
    is_awake = seen.open > 0 or seen.present > 0 or memory.want > 0
    verdict = Verdict(
        memory.want,
        f"knative: wants {memory.want}{' in panic' if seen.now < memory.panic_until_s else ''}",
        floor=memory.want,
        look_again_s=memory.next_s if is_awake else NEVER,
    )
    return verdict, memory


def _tick(rule: Knative, seen: Observed, memory: KnativeMemory) -> KnativeMemory:
    target = max(0.01, rule.target * seen.slots)
    ready = max(1, seen.ready)
    low, high = ready // 2, 1000 * ready
    stable = _ceil(seen.demand.mean(rule.stable_s, seen.now) / target)
    short = _ceil(seen.demand.mean(rule.panic_s, seen.now) / target)
    is_over = short / ready >= rule.panic_over
    # Its floor of half of what is ready keeps one of one: nothing at all goes to zero at once.
    is_silent = stable == 0
    stable, short = (0 if is_silent else min(max(n, low), high) for n in (stable, short))
    until_s, most = memory.panic_until_s, memory.panic_most
    if is_over:
        most = most if seen.now < until_s else 0
        until_s = seen.now + rule.stable_s
    want = stable
    if seen.now < until_s:
        want = most = max(most, stable, short)
    return KnativeMemory(want, seen.now + rule.tick_s, until_s, most)


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-9)
