"""The policies that a plan sweeps, and one of them as the ``[scale]`` block of a deploy file."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
    rule_name,
    setting_names,
)
from coldspark.spec.scheduled_scaling import ScheduledWindow
from coldspark.spec.types import DEFAULT_WAIT_VALUE, ScalePolicy

WAIT_VALUES = (DEFAULT_WAIT_VALUE, 0.0, 1.0, 3.0, 30.0, 100.0, 300.0, 1000.0)
"""The default is first: of equals the first is taken."""
KEEP_ALIVES_S = (1.0, 10.0, 60.0, 300.0, 600.0, 1800.0)
_RULES: tuple[Rule, ...] = (
    Histogram(),
    Knative(),
    Knative(target=1.0),
    RayServe(),
    RayServe(target=1.0),
    QueueDelay(),
    RequestCount(),
    RequestCount(requests=1.0),
    TargetTracking(),
)


@dataclass(frozen=True, slots=True)
class CandidatePolicy:
    """A scale policy under its name in tables."""

    name: str
    scale: ScalePolicy


def candidates(
    bounds: ScalePolicy, windows: tuple[ScheduledWindow, ...] = ()
) -> Iterator[CandidatePolicy]:
    """Yield the policies to try, within the bounds (min, max, concurrency, parking) of one.

    With windows, two of them are tried with another ``replicas_min`` in those as well.
    """
    for value in WAIT_VALUES:
        scale = replace(bounds, rule=Learned(), wait_value=value)
        yield CandidatePolicy(f"learned, wait_value {value:g}", scale)
    for keep_s in KEEP_ALIVES_S:
        yield CandidatePolicy(
            f"keep-alive, {keep_s:g} s", replace(bounds, rule=KeepAlive(keep_s=keep_s))
        )
    for rule in _RULES:
        yield CandidatePolicy(_named(rule), replace(bounds, rule=rule))
    for count in range(
        bounds.replicas_min + 1, min(bounds.replicas_max, bounds.replicas_min + 2) + 1
    ):
        yield CandidatePolicy(f"learned, min {count}", replace(bounds, replicas_min=count))
    if windows:
        yield CandidatePolicy("learned, by window", replace(bounds, windows=windows))
        windowed = replace(bounds, windows=windows, rule=KeepAlive(keep_s=60.0))
        yield CandidatePolicy("keep-alive, 60 s, by window", windowed)


def _named(rule: Rule) -> str:
    plain = type(rule)()
    changed = [
        f"{key.removesuffix('_s')} {getattr(rule, key):g}"
        for key in setting_names(type(rule))
        if getattr(rule, key) != getattr(plain, key)
    ]
    return ", ".join([rule_name(rule), *changed])


def as_toml(scale: ScalePolicy) -> str:
    """Return the block that ``coldspark deploy`` reads."""
    lines = ["[scale]"]
    plain = ScalePolicy()
    if scale.replicas_min:
        lines.append(f"min = {scale.replicas_min}")
    lines.append(f"max = {scale.replicas_max}")
    if scale.concurrency != plain.concurrency:
        lines.append(f"concurrency = {scale.concurrency}")
    if scale.park_timeout_s is not None:
        lines.append(f'park_timeout = "{scale.park_timeout_s:g}s"')
    if isinstance(scale.rule, Learned):
        lines.append(f"wait_value = {scale.wait_value:g}")
    else:
        lines.append(f"rule = {_rule_toml(scale.rule)}")
    for window in scale.windows:
        lines += ["", "[[scale.windows]]", *_window_toml(window)]
    return "\n".join(lines) + "\n"


def _window_toml(window: ScheduledWindow) -> Iterator[str]:
    yield f'cron = "{window.cron}"'
    if window.time_zone != "UTC":
        yield f'time_zone = "{window.time_zone}"'
    yield f'lasts = "{window.lasts_s:g}s"'
    yield f"min = {window.replicas_min}"
    if window.replicas_max is not None:
        yield f"max = {window.replicas_max}"


def _rule_toml(rule: Rule) -> str:
    parts = [f'name = "{rule_name(rule)}"']
    for key in setting_names(type(rule)):
        value = getattr(rule, key)
        if value != getattr(type(rule)(), key):
            short = key.removesuffix("_s")
            parts.append(f'{short} = "{value:g}s"' if short != key else f"{short} = {value:g}")
    return f'"{rule_name(rule)}"' if len(parts) == 1 else f"{{{', '.join(parts)}}}"
