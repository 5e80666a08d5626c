"""The settings that ``frontier`` plays: every rule, swept over its own knobs."""

from dataclasses import dataclass, field

from coldspark.core.rules.settings import (
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


@dataclass(frozen=True, slots=True)
class Setting:
    """One rule with its knobs."""

    name: str
    rule: Rule = field(default_factory=Learned)
    wait_value: float = 10.0
    waste_budget: float = 0.0
    patience_s: float | None = None


_STEP = 1.5
"""From one wait_value to the next; ``frontier`` plays more where costs lie far apart."""
_WAIT_VALUES = (0.0, 0.02, 0.06, 0.2, *(float(f"{0.5 * _STEP**n:.3g}") for n in range(27)))
_IMPATIENT_MAX = 50.0
"""From here on hardly a request that waits gets no start: patience changes little."""


def ours(wait_value: float, patience_s: float | None = None) -> Setting:
    """Return a setting of ours."""
    patient = "" if patience_s is None else f", patience={patience_s:g}"
    name = f"learned wait_value={wait_value:.4g}{patient}"
    return Setting(name, wait_value=wait_value, patience_s=patience_s)


OURS: tuple[Setting, ...] = (
    *(ours(value) for value in _WAIT_VALUES),
    *(ours(value, 0.0) for value in _WAIT_VALUES if value < _IMPATIENT_MAX),
    Setting("learned wait_value=0, waste_budget=1", wait_value=0.0, waste_budget=1.0),
)
OTHERS: tuple[Setting, ...] = (
    *(
        Setting(f"keep-alive {keep:g}", KeepAlive(keep_s=keep))
        for keep in (1, 5, 15, 60, 180, 600, 1800, 7200)
    ),
    *(Setting(f"knative {target}", Knative(target=target)) for target in (0.5, 0.7, 1.0)),
    *(
        Setting(f"ray {target:g} {up}/{down}", RayServe(target=target, up_s=up, down_s=down))
        for target in (1.0, 2.0)
        for up, down in ((30, 600), (0, 60), (10, 300))
    ),
    *(Setting(f"queue-delay {idle}", QueueDelay(idle_s=idle)) for idle in (5, 60, 300, 600)),
    *(
        Setting(f"request-count {n}, {idle}", RequestCount(requests=n, idle_s=idle))
        for n in (1, 2, 4)
        for idle in (5, 60, 600)
    ),
    Setting("histogram", Histogram()),
    Setting("target-tracking", TargetTracking()),
)
