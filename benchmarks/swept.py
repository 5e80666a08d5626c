"""The settings that ``frontier`` plays: every rule, swept over its own knobs."""

from collections.abc import Callable
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Setting:
    """One rule with its knobs."""

    name: str
    rule: Rule = field(default_factory=Learned)
    wait_value: float = 10.0
    waste_budget: float = 0.0
    patience_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Settings that differ in one knob. Between any two neighbours others may be played."""

    values: tuple[float, ...]
    """Of the knob, in order; none of a rule that is played as it is."""
    of: Callable[[float], Setting]


_WAIT_VALUES = (0.0, 0.02, 0.06, 0.2, *(0.5 * 2.0**n for n in range(16)))
_IMPATIENT_MAX = 50.0
"""From here on hardly a request that waits gets no start: patience changes little."""


def ours(wait_value: float, patience_s: float | None = None) -> Setting:
    """Return a setting of ours."""
    patient = "" if patience_s is None else f", patience={patience_s:g}"
    name = f"learned wait_value={wait_value:.4g}{patient}"
    return Setting(name, wait_value=wait_value, patience_s=patience_s)


def _impatient(wait_value: float) -> Setting:
    return ours(wait_value, 0.0)


def _thrifty(budget: float) -> Setting:
    name = f"learned wait_value=0, waste_budget={budget:.4g}"
    return Setting(name, wait_value=0.0, waste_budget=budget)


def _keep_alive(keep_s: float) -> Setting:
    return Setting(f"keep-alive {keep_s:.4g}", KeepAlive(keep_s=keep_s))


def _knative(target: float) -> Setting:
    return Setting(f"knative {target:.4g}", Knative(target=target))


def _queue_delay(idle_s: float) -> Setting:
    return Setting(f"queue-delay {idle_s:.4g}", QueueDelay(idle_s=idle_s))


def _request_count(requests: float) -> Sweep:
    def of(idle_s: float) -> Setting:
        rule = RequestCount(requests=requests, idle_s=idle_s)
        return Setting(f"request-count {requests:g}, {idle_s:.4g}", rule)

    return Sweep((5, 60, 600), of)


def _ray(up_s: float, down_s: float) -> Sweep:
    def of(target: float) -> Setting:
        rule = RayServe(target=target, up_s=up_s, down_s=down_s)
        return Setting(f"ray {target:.4g} {up_s:g}/{down_s:g}", rule)

    return Sweep((1, 2), of)


OURS: tuple[Sweep, ...] = (
    Sweep(_WAIT_VALUES, ours),
    Sweep(tuple(value for value in _WAIT_VALUES if value < _IMPATIENT_MAX), _impatient),
    Sweep((1.0,), _thrifty),
)
OTHERS: tuple[Sweep, ...] = (
    Sweep((1, 5, 15, 60, 180, 600, 1800, 7200), _keep_alive),
    Sweep((0.5, 0.7, 1.0), _knative),
    *(_ray(up_s, down_s) for up_s, down_s in ((30, 600), (0, 60), (10, 300))),
    Sweep((5, 60, 300, 600), _queue_delay),
    *(_request_count(requests) for requests in (1, 2, 4)),
    Sweep((1.0,), lambda _: Setting("histogram", Histogram())),
    Sweep((1.0,), lambda _: Setting("target-tracking", TargetTracking())),
)
