"""The registry of the scaling rules: which functions decide for a rule's settings."""

from typing import Any

from coldspark.fleet.policies import (
    histogram,
    knative,
    learned,
    ray_serve,
    request_counting,
    target_tracking,
)
from coldspark.fleet.policies.demand import DemandWindow
from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.fleet.policies.rule_policy import RulePolicy
from coldspark.spec.scaling_rules import (
    Histogram,
    KeepAlive,
    Knative,
    Learned,
    QueueDelay,
    RayServe,
    RequestCount,
    Rule,
    TargetTracking,
)
from coldspark.spec.types import ScalePolicy

# Each knows the type of its own memory; what is common to all memories is nothing.
POLICIES: dict[type[Rule], RulePolicy[Any]] = {
    Learned: learned.POLICY,
    KeepAlive: request_counting.KEEP_ALIVE,
    Histogram: histogram.POLICY,
    Knative: knative.POLICY,
    RayServe: ray_serve.POLICY,
    QueueDelay: request_counting.QUEUE_DELAY,
    RequestCount: request_counting.REQUEST_COUNT,
    TargetTracking: target_tracking.POLICY,
}


def policy_of(rule: Rule) -> RulePolicy[Any]:
    """Return the functions of a rule."""
    return POLICIES[type(rule)]


def initial_memory(rule: Rule) -> object:
    """Return what a rule remembers before anything has happened."""
    return policy_of(rule).initial_memory()


def demand_window(rule: Rule) -> DemandWindow | None:
    """Return what measures the demand for a rule that looks back; None for the others."""
    window_s = policy_of(rule).window_s
    return None if window_s is None else DemandWindow(window_s(rule))


def evaluate(
    scale: ScalePolicy, observation: Observation, memory: object
) -> tuple[ScaleDecision, object]:
    """Return the decision of the policy's rule, and what it remembers from here on."""
    return policy_of(scale.rule).evaluate(scale, observation, memory)
