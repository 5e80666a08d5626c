"""Rules that count requests, and keep each idle replica for a fixed time.

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
from coldspark.fleet.policies.rule_policy import RulePolicy
from coldspark.spec.scaling_rules import KeepAlive, QueueDelay, RequestCount
from coldspark.spec.types import ScalePolicy


def keep_alive(rule: KeepAlive, observation: Observation) -> ScaleDecision:
    """Return a slot for every request."""
    want = math.ceil(observation.open / observation.slots)
    return ScaleDecision(want, f"keep-alive: {observation.open} open", keep_alive_s=rule.keep_s)


def request_count(rule: RequestCount, observation: Observation) -> ScaleDecision:
    """Return a replica for every so many requests."""
    want = math.ceil(observation.open / rule.requests)
    return ScaleDecision(want, f"request-count: {observation.open} open", keep_alive_s=rule.idle_s)


@dataclass(frozen=True, slots=True)
class QueueDelayMemory:
    """When it added one last."""

    added_s: float = float("-inf")


def queue_delay(
    rule: QueueDelay, observation: Observation, memory: QueueDelayMemory
) -> tuple[ScaleDecision, QueueDelayMemory]:
    """Return one more while the first in the queue waits for too long."""
    if not observation.queued:
        return ScaleDecision(0, "queue-delay: nobody waits", keep_alive_s=rule.idle_s), memory
    if observation.present == 0:
        decision = ScaleDecision(1, "queue-delay: somebody waits", keep_alive_s=rule.idle_s)
        return decision, QueueDelayMemory(observation.now)
    due_s = max(memory.added_s, observation.now - observation.oldest_wait_s) + rule.delay_s
    if observation.now < due_s:
        decision = ScaleDecision(observation.present, "queue-delay: not yet", 0, rule.idle_s, due_s)
        return decision, memory
    reason = f"queue-delay: the first has waited for {observation.oldest_wait_s:.1f} s"
    again_s = observation.now + rule.delay_s
    decision = ScaleDecision(
        observation.present + 1, reason, keep_alive_s=rule.idle_s, evaluate_again_s=again_s
    )
    return decision, QueueDelayMemory(observation.now)


def _keep_alive(
    scale: ScalePolicy, observation: Observation, memory: None
) -> tuple[ScaleDecision, None]:
    assert isinstance(scale.rule, KeepAlive)
    return keep_alive(scale.rule, observation), None


def _request_count(
    scale: ScalePolicy, observation: Observation, memory: None
) -> tuple[ScaleDecision, None]:
    assert isinstance(scale.rule, RequestCount)
    return request_count(scale.rule, observation), None


def _queue_delay(
    scale: ScalePolicy, observation: Observation, memory: QueueDelayMemory
) -> tuple[ScaleDecision, QueueDelayMemory]:
    assert isinstance(scale.rule, QueueDelay)
    return queue_delay(scale.rule, observation, memory)


KEEP_ALIVE = RulePolicy(evaluate=_keep_alive, initial_memory=lambda: None)
REQUEST_COUNT = RulePolicy(evaluate=_request_count, initial_memory=lambda: None)
QUEUE_DELAY = RulePolicy(evaluate=_queue_delay, initial_memory=QueueDelayMemory)
