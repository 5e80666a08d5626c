"""Shapes of requests, declared, and the one walk that checks a body against them.

boto3 checks names, required members, types and ``min``; it leaves ``max``, enums and patterns to
the server. All of it is checked here, with AWS's sentences. Two rules are stricter than AWS's: a
member that the shape does not know is refused (AWS ignores it), and so is one that is known but
``Unsupported``. An option that is accepted and does nothing would be a lie.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Never, assert_never

from coldspark.doors.aws.protocol.errors import AwsError

_SHOWN_CHARS_MAX = 256
_PROBLEMS_MAX = 10
_SPECIAL = ("NaN", "Infinity", "-Infinity")
_WHOLE_MIN, _WHOLE_MAX = -(2**63), 2**63 - 1
"""AWS's longs, and what the database can hold."""


@dataclass(frozen=True)
class Text:
    """A string. ``pattern`` is Python's; ``shown`` is AWS's, where that differs."""

    pattern: str | None = None
    max: int | None = None
    min: int = 0
    aws_pattern: str | None = None

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """Return the pattern, compiled once."""
        return re.compile(self.pattern or "[\\s\\S]*")


@dataclass(frozen=True, slots=True)
class Enumeration:
    """One of a closed list of AWS's words, of which ``supported`` are done here (None: all)."""

    values: tuple[str, ...]
    supported: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer."""

    min: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Number:
    """A finite float, or a timestamp in epoch seconds (``INSTANT``)."""

    min: float | None = None
    max: float | None = None
    may_be_special: bool = False
    """NaN and the infinities pass, as the strings that AWS's protocols write for them."""


INSTANT = Number(min=-62_135_596_800, max=253_402_300_799)
"""A timestamp, of the years 1 to 9999."""


@dataclass(frozen=True, slots=True)
class Boolean:
    """A boolean; ``only`` refuses the other value as not supported yet."""

    only: bool | None = None


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    member: "Shape"
    min: int = 0
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Dictionary:
    """A map from strings to one shape."""

    key: Text
    value: "Shape"
    min: int = 0
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Structure:
    """Named members."""

    members: Mapping[str, "Shape"]
    required: tuple[str, ...] = ()
    kept: frozenset[str] = frozenset()
    """Members without effect, which Describe shows."""


@dataclass(frozen=True, slots=True)
class Unsupported:
    """Known to AWS, refused here: ``why`` says what to do instead. Empty values pass as absent."""

    why: str


Shape = (
    Text
    | Enumeration
    | Integer
    | Number
    | Boolean
    | Sequence
    | Dictionary
    | Structure
    | Unsupported
)


def check(
    shape: Structure, body: object, aws_type: str = "ValidationException"
) -> dict[str, object]:
    """Return the body, checked, without empty or null members. Raises ``aws_type``."""
    problems: list[str] = []
    for problem in _walk(shape, body, ""):
        problems.append(problem)
        if len(problems) == _PROBLEMS_MAX:
            break
    if problems:
        noun = "error" if len(problems) == 1 else "errors"
        text = "; ".join(problems)
        raise AwsError(aws_type, f"{len(problems)} validation {noun} detected: {text}")
    pruned = prune(body)
    return pruned if isinstance(pruned, dict) else {}


def prune(value: object) -> object:
    """Drop null, ``{}`` and ``[]`` at any depth: responses must never contain them."""
    if isinstance(value, dict):
        kept = {name: prune(member) for name, member in value.items()}
        return {name: member for name, member in kept.items() if not _is_absent(member)}
    if isinstance(value, list):
        return [prune(member) for member in value]
    return value


def _is_absent(value: object) -> bool:
    return value is None or value == {} or value == []


def _walk(shape: Shape, value: object, path: str) -> Iterator[str]:
    """Yield what is wrong with ``value``, one sentence each."""
    match shape:
        case Structure():
            yield from _walk_structure(shape, value, path)
        case Sequence():
            yield from _walk_sequence(shape, value, path)
        case Dictionary():
            yield from _walk_dictionary(shape, value, path)
        case Text():
            yield from _check_text(shape, value, path)
        case Enumeration():
            yield from _check_choice(shape, value, path)
        case Integer(least, most):
            if isinstance(value, bool) or not isinstance(value, int):
                _refuse_type(value, path, "an integer")
            least = _WHOLE_MIN if least is None else least
            yield from _check_range(value, path, least, _WHOLE_MAX if most is None else most)
        case Number(may_be_special=True) if value in _SPECIAL:
            return
        case Number(least_number, most_number):
            if isinstance(value, bool) or not isinstance(value, int | float):
                _refuse_type(value, path, "a number")
            if isinstance(value, float) and not math.isfinite(value):
                _refuse_type(value, path, "a finite number")
            yield from _check_range(value, path, least_number, most_number)
        case Boolean(only):
            if not isinstance(value, bool):
                _refuse_type(value, path, "true or false")
            if only is not None and value != only:
                yield f"'{path}' = {str(value).lower()} is not supported yet; leave it out"
        case Unsupported(why):
            if not _is_absent(value):
                yield f"'{path}' is not supported yet: {why}"
        case _:
            assert_never(shape)


def _walk_structure(shape: Structure, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        _refuse_type(value, path, "a structure")
    for name in shape.required:
        if value.get(name) is None:
            where = _join(path, name)
            yield f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
    for name, member in value.items():
        if name not in shape.members:
            yield f"'{_join(path, name)}' is not a member that is known here"
        elif member is not None:
            yield from _walk(shape.members[name], member, _join(path, name))


def _walk_sequence(shape: Sequence, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        _refuse_type(value, path, "a list")
    yield from _check_length(value, path, shape.min, shape.max)
    for index, member in enumerate(value, start=1):
        yield from _walk(shape.member, member, f"{path}.{index}.member")


def _walk_dictionary(shape: Dictionary, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        _refuse_type(value, path, "a map")
    yield from _check_length(value, path, shape.min, shape.max)
    for name, member in value.items():
        yield from _check_text(shape.key, name, path)
        yield from _walk(shape.value, member, f"{path}.{name}.member")


def _check_choice(shape: Enumeration, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        _refuse_type(value, path, "a string")
    if value not in shape.values:
        yield _broken(value, path, f"satisfy enum value set: [{', '.join(shape.values)}]")
    elif shape.supported is not None and value not in shape.supported:
        instead = " or ".join(shape.supported)
        yield f"'{path}' = '{value}' is not supported yet: use {instead}, or leave it out"


def _check_text(shape: Text, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        _refuse_type(value, path, "a string")
    too_long = list(_check_length(value, path, shape.min, shape.max))
    yield from too_long
    # Some of AWS's patterns take quadratic time: only a text of bounded length is matched.
    if not too_long and shape.pattern is not None and not shape.compiled.fullmatch(value):
        shown = shape.aws_pattern or shape.pattern
        yield _broken(value, path, f"satisfy regular expression pattern: {shown}")


def _check_length(
    value: str | list[object] | dict[str, object], path: str, least: int, most: int | None
) -> Iterator[str]:
    if len(value) < least:
        yield _broken(value, path, f"have length greater than or equal to {least}")
    if most is not None and len(value) > most:
        yield _broken(value, path, f"have length less than or equal to {most}")


def _check_range(value: float, path: str, least: float | None, most: float | None) -> Iterator[str]:
    if least is not None and value < least:
        yield _broken(value, path, f"have value greater than or equal to {least}")
    if most is not None and value > most:
        yield _broken(value, path, f"have value less than or equal to {most}")


def _broken(value: object, path: str, constraint: str) -> str:
    shown = str(value)[:_SHOWN_CHARS_MAX]
    return f"Value '{shown}' at '{path}' failed to satisfy constraint: Member must {constraint}"


def _join(path: str, name: str) -> str:
    """Append a member as AWS writes it: its first letter small."""
    word = name[:1].lower() + name[1:]
    return f"{path}.{word}" if path else word


def _refuse_type(value: object, path: str, wanted: str) -> Never:
    shown = str(value)[:_SHOWN_CHARS_MAX]
    raise AwsError("SerializationException", f"'{path or 'body'}' must be {wanted}, not {shown!r}")
