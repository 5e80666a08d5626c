"""What AWS's operations take: botocore's service model as a table, and an overlay of our own.

The table (a JSON file beside a service's overlay, written by ``scripts/generate_aws_shapes.py``)
has every shape that the served operations reach: types, required members, bounds, patterns, words.
The overlay decides on each member. One that it does not mention is refused as unknown, so what a
later model adds is never taken without effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import msgspec

from coldspark.doors.aws.protocol.shapes import (
    INSTANT,
    Boolean,
    Dictionary,
    Enumeration,
    Integer,
    Number,
    Sequence,
    Shape,
    Structure,
    Text,
    Unsupported,
)


class ModelShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """One shape of AWS's model, as its table has it."""

    type: str
    members: dict[str, str] = {}
    required: tuple[str, ...] = ()
    member: str = ""
    key: str = ""
    value: str = ""
    min: int | float | None = None
    max: int | float | None = None
    pattern: str | None = None
    enum: tuple[str, ...] = ()


class ModelTable(msgspec.Struct, frozen=True):
    """The shapes that a service's operations reach, by their names in botocore's model."""

    botocore: str
    """The version that it was read from."""
    inputs: dict[str, str]
    """By operation."""
    shapes: dict[str, ModelShape]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Own bounds of a length or a value, in place of AWS's."""

    min: int = 0
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Only:
    """The words of an enumeration that are done here; the others are refused as not supported."""

    values: tuple[str, ...]


Narrowing = Bounds | Only | Shape
"""What replaces a part of AWS's shape, or all of it."""


@dataclass(frozen=True, slots=True)
class Support:
    """What becomes of each member of a structure."""

    works: str = ""
    """Their names, between spaces: they change what runs, or what is answered."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """Echoed by Describe and without effect, each with the reason."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Each with what to do instead."""
    narrowed: Mapping[str, Narrowing] = field(default_factory=dict)
    """They work, within these limits."""
    required: tuple[str, ...] = ()
    """Beside those that AWS's model requires."""


Supports = Mapping[str, str | Support]
"""By operation or by structure; a string names the members that work."""


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A service of AWS as it is supported here."""

    service: str
    """As botocore calls it."""
    table: Path
    operations: Supports
    """All that are served."""
    structures: Supports = field(default_factory=dict)
    types: Mapping[str, Narrowing] = field(default_factory=dict)
    """Own bounds and patterns, for every member that has this shape of AWS's."""

    @cached_property
    def shapes(self) -> Mapping[str, Structure]:
        """Return what each operation takes."""
        table = msgspec.json.decode(self.table.read_bytes(), type=ModelTable)
        builder = _Builder(self, table.shapes)
        return {
            operation: builder.structure(table.inputs[operation], support)
            for operation, support in self.operations.items()
        }


class _Builder:
    """Shapes made of a table under an overlay, each named one once."""

    def __init__(self, overlay: Overlay, table: Mapping[str, ModelShape]) -> None:
        self._overlay = overlay
        self._table = table
        self._built: dict[str, Shape] = {}

    def structure(self, name: str, support: str | Support) -> Structure:
        model = self._table[name]
        if isinstance(support, str):
            support = Support(support)
        works = support.works.split()
        decided = {*works, *support.kept, *support.refused, *support.narrowed}
        if strange := decided - model.members.keys():
            raise LookupError(f"{name} has no members {', '.join(sorted(strange))}")
        members: dict[str, Shape] = {}
        for member, shape in model.members.items():
            if member in support.refused:
                members[member] = Unsupported(support.refused[member])
            elif member in support.narrowed:
                members[member] = self._narrowed(shape, support.narrowed[member])
            elif member in decided:
                members[member] = self._shape(shape)
        return Structure(members, (*model.required, *support.required), frozenset(support.kept))

    def _shape(self, name: str) -> Shape:
        if name not in self._built:
            own = self._overlay.types.get(name)
            self._built[name] = self._aws_shape(name) if own is None else self._narrowed(name, own)
        return self._built[name]

    def _narrowed(self, name: str, own: Narrowing) -> Shape:
        match own:
            case Only(values):
                shape = self._aws_shape(name)
                assert isinstance(shape, Enumeration), name
                return replace(shape, supported=values)
            case Bounds(least, most):
                shape = self._aws_shape(name)
                assert isinstance(shape, Text | Integer | Number | Sequence | Dictionary), name
                return replace(shape, min=least, max=most)
            case _:
                return own

    def _aws_shape(self, name: str) -> Shape:
        model = self._table[name]
        match model.type:
            case "structure":
                return self.structure(name, self._overlay.structures[name])
            case "list":
                least, most = _size(model)
                return Sequence(self._shape(model.member), least or 0, most)
            case "map":
                key = self._shape(model.key)
                assert isinstance(key, Text), name
                least, most = _size(model)
                return Dictionary(key, self._shape(model.value), least or 0, most)
            case "string" if model.enum:
                return Enumeration(model.enum)
            case "string":
                least, most = _size(model)
                return Text(model.pattern, most, least or 0)
            case "integer" | "long":
                return Integer(*_size(model))
            case "float" | "double":
                return Number(model.min, model.max)
            case "timestamp":
                return INSTANT
            case "boolean":
                return Boolean()
            case other:
                raise LookupError(f"{name} is a {other}, which no request here has")


def _size(model: ModelShape) -> tuple[int | None, int | None]:
    """Return the bounds of what is counted."""
    least, most = model.min, model.max
    return None if least is None else int(least), None if most is None else int(most)
