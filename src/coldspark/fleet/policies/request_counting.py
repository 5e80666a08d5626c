"""Rules that count requests, and let each replica idle for a fixed time.

    keep-alive     want = ceil((q + f) / c)
    request-count  want = ceil((q + f) / n)                            RunPod's REQUEST_COUNT
    queue-delay    want = present + 1 each time that the first in the queue has waited for d
                   seconds, and at least 1 while anybody waits         RunPod's QUEUE_DELAY

with q queued, f running and c slots. Worked number: q=8, f=0, c=1 wants 8 by keep-alive, 2 by
request-count with n=4, and 1 by queue-delay, a second one 4 s later.
"""

import math
from dataclasses import dataclass

from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.spec.scaling_rules import KeepAlive, QueueDelay, RequestCount


def keep_alive(rule: KeepAlive, seen: Observation) -> ScaleDecision:
    """Return a slot for every request."""
    want = math.ceil(seen.open / seen.slots)
    return ScaleDecision(want, f"keep-alive: {seen.open} open", keep_alive_s=rule.keep_s)


def request_count(rule: RequestCount, seen: Observation) -> ScaleDecision:
    """Return a replica for every so many requests."""
    want = math.ceil(seen.open / rule.requests)
    return ScaleDecision(want, f"request-count: {seen.open} open", keep_alive_s=rule.idle_s)


@dataclass(frozen=True, slots=True)
class QueueDelayMemory:
    """When it added one last."""

    added_s: float = float("-inf")


def queue_delay(
    rule: QueueDelay, seen: Observation, memory: QueueDelayMemory
) -> tuple[ScaleDecision, QueueDelayMemory]:
    """Return one more while the first in the queue waits for too long."""
    if not seen.queued:
        return ScaleDecision(0, "queue-delay: nobody waits", keep_alive_s=rule.idle_s), memory
    if seen.present == 0:
        verdict = ScaleDecision(1, "queue-delay: somebody waits", keep_alive_s=rule.idle_s)
        return verdict, QueueDelayMemory(seen.now)
    due_s = max(memory.added_s, seen.now - seen.oldest_wait_s) + rule.delay_s
    if seen.now < due_s:
        verdict = ScaleDecision(seen.present, "queue-delay: not yet", 0, rule.idle_s, due_s)
        return verdict, memory
    reason = f"queue-delay: the first has waited for {seen.oldest_wait_s:.1f} s"
    again_s = seen.now + rule.delay_s
    verdict = ScaleDecision(
        seen.present + 1, reason, keep_alive_s=rule.idle_s, evaluate_again_s=again_s
    )
    return verdict, QueueDelayMemory(seen.now)
