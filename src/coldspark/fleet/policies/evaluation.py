"""Evaluate the rule of a variant, and carry its memory on."""

import math
from typing import assert_never

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.policies import knative, learned, ray_serve, request_counting, target_tracking
from coldspark.fleet.policies.demand import DemandWindow
from coldspark.fleet.policies.knative import KnativeMemory
from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.fleet.policies.ray_serve import RayServeMemory
from coldspark.fleet.policies.request_counting import QueueDelayMemory
from coldspark.fleet.policies.target_tracking import DATAPOINT_S, TargetTrackingMemory
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

RuleMemory = KnativeMemory | RayServeMemory | QueueDelayMemory | TargetTrackingMemory | None


def initial_memory(rule: Rule) -> RuleMemory:
    """Return what a rule remembers before anything has happened."""
    match rule:
        case Knative():
            return KnativeMemory()
        case RayServe():
            return RayServeMemory()
        case QueueDelay():
            return QueueDelayMemory()
        case TargetTracking():
            return TargetTrackingMemory()
        case _:
            return None


def demand_window(rule: Rule) -> DemandWindow | None:
    """Return what measures the demand for a rule that looks back; None for the others."""
    match rule:
        case Knative():
            return DemandWindow(rule.stable_s)
        case RayServe():
            return DemandWindow(rule.look_back_s)
        case TargetTracking():
            return DemandWindow(DATAPOINT_S)
        case _:
            return None


def next_tick_s(memory: RuleMemory) -> float:
    """Return when a rule that ticks has its next tick; NEVER for the others."""
    return memory.due_s if isinstance(memory, KnativeMemory | RayServeMemory) else NEVER


def advance(
    scale: ScalePolicy,
    memory: RuleMemory,
    demand: DemandWindow,
    now: float,
    *,
    open: int,
    ready: int,
) -> RuleMemory:
    """Return what a rule remembers after its ticks until now, before what happens now."""
    match scale.rule, memory:
        case Knative() as rule, KnativeMemory():
            slots = scale.concurrency
            return knative.advance(rule, memory, now, demand, open=open, ready=ready, slots=slots)
        case RayServe() as rule, RayServeMemory():
            return ray_serve.advance(rule, memory, now, demand)
        case _:
            return memory


def evaluate(
    scale: ScalePolicy, observation: Observation, memory: RuleMemory
) -> tuple[ScaleDecision, RuleMemory]:
    """Return the decision of the policy's rule, and what it remembers from here on."""
    match scale.rule:
        case Learned():
            return learned.evaluate(scale, observation), None
        case Histogram():
            want = math.ceil(observation.open / observation.slots)
            return ScaleDecision(
                max(want, observation.present), f"histogram: {observation.open} open"
            ), None
        case KeepAlive():
            return request_counting.keep_alive(scale.rule, observation), None
        case RequestCount():
            return request_counting.request_count(scale.rule, observation), None
        case QueueDelay():
            assert isinstance(memory, QueueDelayMemory)
            return request_counting.queue_delay(scale.rule, observation, memory)
        case Knative():
            assert isinstance(memory, KnativeMemory)
            return knative.evaluate(scale.rule, observation, memory)
        case RayServe():
            assert isinstance(memory, RayServeMemory)
            return ray_serve.evaluate(scale.rule, observation, memory)
        case TargetTracking():
            assert isinstance(memory, TargetTrackingMemory)
            return target_tracking.evaluate(scale.rule, observation, memory)
        case _:
            assert_never(scale.rule)
