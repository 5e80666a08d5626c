"""Read a rule as people write it, a name or a table with settings, and write it back.

In the API settings have the names of the code (``keep_s``, in seconds); in a deploy file what ends
in ``_s`` is written without it, as a duration (``keep = "10m"``).
"""

from collections.abc import Iterable, Mapping

import msgspec

from coldspark.core.hints import nearest, refuse_unknown_keys
from coldspark.core.rules.settings import RULES, Rule
from coldspark.core.sizes import parse_duration

Written = str | Mapping[str, object]
"""A rule's name, or a table of ``name`` and settings."""


def name_of(rule: Rule | type[Rule]) -> str:
    """Return the name that people write."""
    return str(rule.__struct_config__.tag)


def rule_names() -> tuple[str, ...]:
    """Return the names of all rules; the default is first."""
    return tuple(name_of(kind) for kind in RULES)


def setting_names(kind: type[Rule]) -> tuple[str, ...]:
    """Return the names of a rule's settings."""
    return kind.__struct_fields__


def read_rule(written: Written) -> Rule:
    """Return the rule. Raises ValueError with the nearest known name."""
    name, settings = _parts(written)
    kind = _kind(name)
    refuse_unknown_keys(settings, setting_names(kind), f"rule {name}")
    try:
        return msgspec.convert({"name": name, **settings}, kind)
    except msgspec.ValidationError as error:
        what = str(error).replace(" - at `$.", " - at `rule.")
        raise ValueError(f"rule {name}: {what}") from None


def read_rule_in_file(written: Written) -> str | dict[str, object]:
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
    name = name_of(rule)
    if rule == type(rule)():
        return name
    return {"name": name, **{key: getattr(rule, key) for key in setting_names(type(rule))}}


def _parts(written: Written) -> tuple[str, dict[str, object]]:
    if isinstance(written, str):
        return written, {}
    if not isinstance(written, Mapping) or not isinstance(written.get("name"), str):
        known = ", ".join(rule_names())
        raise ValueError(f"rule={written!r} must be a name, or a table with one: there is {known}")
    return str(written["name"]), {key: value for key, value in written.items() if key != "name"}


def _kind(name: str) -> type[Rule]:
    for kind in RULES:
        if name_of(kind) == name:
            return kind
    raise ValueError(f"there is no rule {name!r}: {_hint(name, rule_names())}")


def _hint(word: str, known: Iterable[str]) -> str:
    near = nearest(word, known)
    return f"did you mean {near!r}?" if near else f"there is {', '.join(known)}"
