"""Ask the rule that a variant was given, and keep what it remembers."""

import math
from typing import assert_never

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.policies import knative, learned, ray_serve, request_counting, target_tracking
from coldspark.fleet.policies.demand import Demand
from coldspark.fleet.policies.knative import KnativeMemory
from coldspark.fleet.policies.observation import Observed, Verdict
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

Memory = KnativeMemory | RayServeMemory | QueueDelayMemory | TargetTrackingMemory | None


def first_memory(rule: Rule) -> Memory:
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


def demand_of(rule: Rule) -> Demand | None:
    """Return what measures the demand for a rule that looks back; None for the others."""
    match rule:
        case Knative():
            return Demand(rule.stable_s)
        case RayServe():
            return Demand(rule.look_back_s)
        case TargetTracking():
            return Demand(DATAPOINT_S)
        case _:
            return None


def due_s(memory: Memory) -> float:
    """Return when a rule that ticks has its next tick; NEVER for the others."""
    return memory.due_s if isinstance(memory, KnativeMemory | RayServeMemory) else NEVER


def advance(
    scale: ScalePolicy, memory: Memory, demand: Demand, now: float, *, open: int, ready: int
) -> Memory:
    """Return what a rule remembers after its ticks until now, before what happens now."""
    match scale.rule, memory:
        case Knative() as rule, KnativeMemory():
            slots = scale.concurrency
            return knative.advance(rule, memory, now, demand, open=open, ready=ready, slots=slots)
        case RayServe() as rule, RayServeMemory():
            return ray_serve.advance(rule, memory, now, demand)
        case _:
            return memory


def decide(scale: ScalePolicy, seen: Observed, memory: Memory) -> tuple[Verdict, Memory]:
    """Return the verdict of the policy's rule, and what it remembers from here on."""
    match scale.rule:
        case Learned():
            return learned.decide(scale, seen), None
        case Histogram():
            want = math.ceil(seen.open / seen.slots)
            return Verdict(max(want, seen.present), f"histogram: {seen.open} open"), None
        case KeepAlive():
            return request_counting.keep_alive(scale.rule, seen), None
        case RequestCount():
            return request_counting.request_count(scale.rule, seen), None
        case QueueDelay():
            assert isinstance(memory, QueueDelayMemory)
            return request_counting.queue_delay(scale.rule, seen, memory)
        case Knative():
            assert isinstance(memory, KnativeMemory)
            return knative.decide(scale.rule, seen, memory)
        case RayServe():
            assert isinstance(memory, RayServeMemory)
            return ray_serve.decide(scale.rule, seen, memory)
        case TargetTracking():
            assert isinstance(memory, TargetTrackingMemory)
            return target_tracking.decide(scale.rule, seen, memory)
        case _:
            assert_never(scale.rule)
