"""What a scaling rule is to a fleet: its functions, in one record that its module exports."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from coldspark.fleet.policies.demand import DemandWindow
from coldspark.fleet.policies.observation import Observation, ScaleDecision
from coldspark.spec.scaling_rules import Rule
from coldspark.spec.types import ScalePolicy

Memory = TypeVar("Memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePolicy(Generic[Memory]):
    """One rule's functions. All are pure; what they remember is a frozen value."""

    evaluate: Callable[[ScalePolicy, Observation, Memory], tuple[ScaleDecision, Memory]]
    """Decide; return what is remembered from here on."""
    initial_memory: Callable[[], Memory]
    """Before anything has happened."""
    window_s: Callable[[Rule], float] | None = None
    """How far back it looks, in seconds; None: it decides by what is there now."""
    advance: Callable[[ScalePolicy, Memory, DemandWindow, float, int, int], Memory] | None = None
    """Work out the ticks until a moment, with so many requests open and replicas ready."""
    next_tick_s: Callable[[Memory], float] | None = None
    """When the next tick of a rule that ticks is."""
