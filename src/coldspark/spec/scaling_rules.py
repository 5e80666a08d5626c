"""Which rule scales a variant, and its settings. The names are what people write in ``rule``.

Defaults are those of the product that each rule is taken from.
"""

from collections.abc import Iterable, Mapping
from typing import get_args

import msgspec
from msgspec import Struct

from coldspark.spec.strict_keys import nearest_name, refuse_unknown_keys
from coldspark.spec.units import parse_duration


def _refuse(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}={value:g} must lie in {low:g}..{high:g}")


class Learned(Struct, frozen=True, tag="learned", tag_field="name", forbid_unknown_fields=True):
    """Coldspark's own: starts by ``policies.learned``, ends by ``idle_policy``."""


class KeepAlive(
    Struct, frozen=True, tag="keep-alive", tag_field="name", forbid_unknown_fields=True
):
    """A slot for every request at once; an idle replica ends after a fixed time."""

    keep_s: float = 600.0

    def __post_init__(self) -> None:
        _refuse("keep_s", self.keep_s, 0, 604_800)


class Histogram(Struct, frozen=True, tag="histogram", tag_field="name", forbid_unknown_fields=True):
    """The hybrid of "Serverless in the Wild" (ATC 2020): windows from a histogram of idle times."""

    bin_s: float = 60.0
    range_s: float = 14_400.0
    head: float = 0.05
    """Quantile of the idle times at which the replica is pre-warmed."""
    tail: float = 0.99
    """Quantile until which it is then kept."""
    margin: float = 0.1
    """Taken off the head and put on the tail."""
    cv_min: float = 2.0
    """Below this coefficient of variation of the bins' counts the histogram is not used."""

    def __post_init__(self) -> None:
        _refuse("bin_s", self.bin_s, 1, 3600)
        _refuse("range_s", self.range_s, self.bin_s, 604_800)
        _refuse("head", self.head, 0, self.tail)
        _refuse("tail", self.tail, 0, 1)
        _refuse("margin", self.margin, 0, 0.9)
        _refuse("cv_min", self.cv_min, 0, 100)


class Knative(Struct, frozen=True, tag="knative", tag_field="name", forbid_unknown_fields=True):
    """Knative's pod autoscaler: mean concurrency against a target, with a panic window."""

    target: float = 0.7
    """The desired share of a replica's slots in use."""
    stable_s: float = 60.0
    panic_s: float = 6.0
    panic_over: float = 2.0
    """Panic when the short window wants so many times what is ready."""
    tick_s: float = 2.0

    def __post_init__(self) -> None:
        _refuse("target", self.target, 0.01, 1)
        _refuse("stable_s", self.stable_s, 1, 3600)
        _refuse("panic_s", self.panic_s, 1, self.stable_s)
        _refuse("panic_over", self.panic_over, 1, 1000)
        _refuse("tick_s", self.tick_s, 0.1, 60)


class RayServe(Struct, frozen=True, tag="ray-serve", tag_field="name", forbid_unknown_fields=True):
    """Ray Serve: mean ongoing requests against a target, up and down only after a delay."""

    target: float = 2.0
    """Ongoing requests for each replica."""
    look_back_s: float = 30.0
    up_s: float = 30.0
    down_s: float = 600.0
    tick_s: float = 1.0

    def __post_init__(self) -> None:
        _refuse("target", self.target, 0.01, 1000)
        _refuse("look_back_s", self.look_back_s, 1, 3600)
        _refuse("up_s", self.up_s, 0, 86_400)
        _refuse("down_s", self.down_s, 0, 86_400)
        _refuse("tick_s", self.tick_s, 0.1, 60)


class QueueDelay(
    Struct, frozen=True, tag="queue-delay", tag_field="name", forbid_unknown_fields=True
):
    """RunPod's QUEUE_DELAY: one more while the first in the queue waits for too long."""

    delay_s: float = 4.0
    idle_s: float = 5.0

    def __post_init__(self) -> None:
        _refuse("delay_s", self.delay_s, 0.5, 3600)
        _refuse("idle_s", self.idle_s, 0, 3600)


class RequestCount(
    Struct, frozen=True, tag="request-count", tag_field="name", forbid_unknown_fields=True
):
    """RunPod's REQUEST_COUNT: so many requests, waiting or running, for each replica."""

    requests: float = 4.0
    idle_s: float = 5.0

    def __post_init__(self) -> None:
        _refuse("requests", self.requests, 0.1, 10_000)
        _refuse("idle_s", self.idle_s, 0, 3600)


class TargetTracking(
    Struct, frozen=True, tag="target-tracking", tag_field="name", forbid_unknown_fields=True
):
    """AWS target tracking on the share of slots in use, by its alarms of one-minute datapoints."""

    target: float = 0.7
    out_minutes: int = 3
    """Datapoints in a row over the target before it scales out."""
    in_minutes: int = 15
    """Datapoints in a row under 0.9 of the target before it scales in."""
    out_cooldown_s: float = 300.0
    in_cooldown_s: float = 300.0

    def __post_init__(self) -> None:
        _refuse("target", self.target, 0.01, 100)
        _refuse("out_minutes", self.out_minutes, 1, 60)
        _refuse("in_minutes", self.in_minutes, 1, 60)
        _refuse("out_cooldown_s", self.out_cooldown_s, 0, 86_400)
        _refuse("in_cooldown_s", self.in_cooldown_s, 0, 86_400)


Rule = (
    Learned
    | KeepAlive
    | Histogram
    | Knative
    | RayServe
    | QueueDelay
    | RequestCount
    | TargetTracking
)
RULES: tuple[type[Rule], ...] = get_args(Rule)


WrittenRule = str | Mapping[str, object]
"""A rule's name, or a table of ``name`` and settings."""


def rule_name(rule: Rule | type[Rule]) -> str:
    """Return the rule's name in deploy files."""
    return str(rule.__struct_config__.tag)


def rule_names() -> tuple[str, ...]:
    """Return the names of all rules; the default is first."""
    return tuple(rule_name(kind) for kind in RULES)


def setting_names(kind: type[Rule]) -> tuple[str, ...]:
    """Return the names of a rule's settings."""
    return kind.__struct_fields__


def read_rule(written: WrittenRule) -> Rule:
    """Return the rule. Raises ValueError with the nearest known name."""
    name, settings = _parts(written)
    kind = _kind(name)
    refuse_unknown_keys(settings, setting_names(kind), f"rule {name}")
    try:
        return msgspec.convert({"name": name, **settings}, kind)
    except msgspec.ValidationError as error:
        what = str(error).replace(" - at `$.", " - at `rule.")
        raise ValueError(f"rule {name}: {what}") from None


def read_rule_in_file(written: WrittenRule) -> str | dict[str, object]:
    """Return a rule of a deploy file as the API takes it. Raises ValueError."""
    name, settings = _parts(written)
    kind = _kind(name)
    known = {setting.removesuffix("_s"): setting for setting in setting_names(kind)}
    refuse_unknown_keys(settings, known, f"rule {name}")
    given: dict[str, object] = {}
    for key, value in settings.items():
        is_time = known[key].endswith("_s") and isinstance(value, str | int | float)
        given[known[key]] = parse_duration(value) if is_time else value  # type: ignore[arg-type]
    return write_rule(read_rule({"name": name, **given}))


def write_rule(rule: Rule) -> str | dict[str, object]:
    """Return the name alone where all settings are the defaults, else a table of all of them."""
    name = rule_name(rule)
    if rule == type(rule)():
        return name
    return {"name": name, **{key: getattr(rule, key) for key in setting_names(type(rule))}}


def _parts(written: WrittenRule) -> tuple[str, dict[str, object]]:
    if isinstance(written, str):
        return written, {}
    if not isinstance(written, Mapping) or not isinstance(written.get("name"), str):
        known = ", ".join(rule_names())
        raise ValueError(f"rule={written!r} must be a name, or a table with one: there is {known}")
    return str(written["name"]), {key: value for key, value in written.items() if key != "name"}


def _kind(name: str) -> type[Rule]:
    for kind in RULES:
        if rule_name(kind) == name:
            return kind
    raise ValueError(f"there is no rule {name!r}: {_hint(name, rule_names())}")


def _hint(word: str, known: Iterable[str]) -> str:
    near = nearest_name(word, known)
    return f"did you mean {near!r}?" if near else f"there is {', '.join(known)}"
