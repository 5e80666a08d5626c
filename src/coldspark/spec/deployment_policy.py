"""How a deployment reaches callers: in which steps, with which waits.

Shares are of the requests. A step of s shifts s, 2s, 3s, … and at last all. Worked number: LINEAR
with a step of 30 % is 0.3, 0.6, 0.9, 1; a CANARY of one replica of four is 0.25, 1.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

_SLACK = 1e-9
_START_ALLOWANCE_S = 3_600.0
"""For the starts of a change that names no deadline, beside all its waits."""


class SizeUnit(StrEnum):
    """What the size of a step is counted in."""

    REPLICAS = "replicas"
    PERCENT = "percent"


@dataclass(frozen=True, slots=True)
class StepSize:
    """A part of an endpoint's replicas."""

    value: int
    unit: SizeUnit

    def __post_init__(self) -> None:
        most = 100 if self.unit is SizeUnit.PERCENT else 10_000
        if not 1 <= self.value <= most:
            raise ValueError(f"a step of {self.value} {self.unit} must lie in 1..{most}")

    def share(self, replicas: int) -> float:
        """Return the part, over 0 and at most 1, of so many replicas."""
        whole = 100 if self.unit is SizeUnit.PERCENT else max(1, replicas)
        return min(1.0, self.value / whole)


class DeploymentStrategy(StrEnum):
    """In which steps requests shift from the old replicas to the new ones."""

    ALL_AT_ONCE = "all at once"
    CANARY = "canary"
    LINEAR = "linear"
    ROLLING = "rolling"
    """As LINEAR, and the old replicas end step by step too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPolicy:
    """The steps and waits of a deployment, and what rolls it back."""

    kind: DeploymentStrategy = DeploymentStrategy.ALL_AT_ONCE
    step: StepSize | None = None
    """None for all at once."""
    wait_s: float = 0.0
    """Between two steps."""
    bake_s: float = 0.0
    """From the last step until the old replicas end."""
    timeout_s: float | None = None
    """A deployment not through its steps by then is rolled back. None: its waits and an hour."""
    rollback_step: StepSize | None = None
    """How much of a ROLLING one is rolled back at a time; None: all at once."""
    alarms: tuple[str, ...] = ()
    """Any of them in alarm rolls the deployment back."""

    def __post_init__(self) -> None:
        if (self.step is None) is not (self.kind is DeploymentStrategy.ALL_AT_ONCE):
            raise ValueError(f"a change of kind {self.kind} with step={self.step} is none")
        if self.rollback_step is not None and self.kind is not DeploymentStrategy.ROLLING:
            raise ValueError("only a rolling change has a rollback_step")
        for name in ("wait_s", "bake_s"):
            if not 0.0 <= getattr(self, name) <= 86_400.0:
                raise ValueError(f"{name}={getattr(self, name):g} must lie in 0..86400")
        if self.timeout_s is not None and self.timeout_s <= 0.0:
            raise ValueError(f"timeout_s={self.timeout_s:g} must be positive")

    def shares(self, replicas: int) -> tuple[float, ...]:
        """Return the new replicas' share after each step; the last is 1."""
        if self.step is None:
            return (1.0,)
        size = self.step.share(replicas)
        if size >= 1.0:
            return (1.0,)
        if self.kind is DeploymentStrategy.CANARY:
            return (size, 1.0)
        steps = math.ceil(1.0 / size - _SLACK)
        return (*(size * step for step in range(1, steps)), 1.0)

    def waits_s(self, replicas: int) -> float:
        """Return the sum of a deployment's waits."""
        return (len(self.shares(replicas)) - 1) * self.wait_s + self.bake_s

    def time_limit_s(self, replicas: int) -> float:
        """Return how long a deployment may take up to its last step."""
        if self.timeout_s is not None:
            return self.timeout_s
        return self.waits_s(replicas) + _START_ALLOWANCE_S
