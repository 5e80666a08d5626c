"""AWS Application Auto Scaling's target tracking, on the share of a variant's slots in use.

Once a minute m = mean open requests over the last minute / (r c), with r replicas of c slots:

    out  when m > target for 3 datapoints in a row:       want = ceil(r m / target)
    in   when m < 0.9 target for 15 datapoints in a row:  want = ceil(r m / target)

each followed by its cooldown. From nothing it cannot scale (0 times anything is 0): the first
request starts one, as a managed endpoint with a step policy on its backlog would.
Worked number: r=2, c=1, m=1.0, target 0.7 for three minutes: ceil(2 * 1.0 / 0.7) = 3.
"""

from dataclasses import dataclass

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.fleet.policies.rule_policy import RulePolicy
from coldspark.fleet.step_scaling import target_tracking_capacity
from coldspark.spec.scaling_rules import TargetTracking
from coldspark.spec.types import ScalePolicy

DATAPOINT_S = 60.0
_IN_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class TargetTrackingMemory:
    """The state of the two alarms."""

    want: int = 0
    next_s: float = 0.0
    over: int = 0
    under: int = 0
    cooldown_until_s: float = 0.0


def evaluate(
    rule: TargetTracking, observation: Observation, memory: TargetTrackingMemory
) -> tuple[ScaleDecision, TargetTrackingMemory]:
    """Return how many replicas target tracking would have, and what it remembers."""
    if memory.want == 0 and observation.open:
        memory = TargetTrackingMemory(1, observation.now + DATAPOINT_S)
    elif memory.want and observation.now >= memory.next_s:
        memory = _datapoint(rule, observation, memory)
    decision = ScaleDecision(
        memory.want,
        f"target-tracking: wants {memory.want}",
        replicas_min=memory.want,
        evaluate_again_s=memory.next_s if memory.want else NEVER,
    )
    return decision, memory


def _datapoint(
    rule: TargetTracking, observation: Observation, memory: TargetTrackingMemory
) -> TargetTrackingMemory:
    share = observation.demand.mean(DATAPOINT_S, observation.now) / (
        memory.want * observation.slots
    )
    over = memory.over + 1 if share > rule.target else 0
    under = memory.under + 1 if share < _IN_SHARE * rule.target else 0
    next_s = observation.now + DATAPOINT_S
    want = target_tracking_capacity(memory.want, share, rule.target)
    if observation.now >= memory.cooldown_until_s:
        if over >= rule.out_minutes:
            return TargetTrackingMemory(want, next_s, 0, 0, observation.now + rule.out_cooldown_s)
        if under >= rule.in_minutes:
            return TargetTrackingMemory(want, next_s, 0, 0, observation.now + rule.in_cooldown_s)
    return TargetTrackingMemory(memory.want, next_s, over, under, memory.cooldown_until_s)


def _evaluate(
    scale: ScalePolicy, observation: Observation, memory: TargetTrackingMemory
) -> tuple[ScaleDecision, TargetTrackingMemory]:
    assert isinstance(scale.rule, TargetTracking)
    return evaluate(scale.rule, observation, memory)


POLICY = RulePolicy(
    evaluate=_evaluate,
    initial_memory=TargetTrackingMemory,
    window_s=lambda rule: DATAPOINT_S,
)
