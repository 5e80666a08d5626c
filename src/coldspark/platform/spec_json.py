"""Specs and definitions as canonical JSON: what is written down, and what a revision's id is of."""

from typing import TypeVar

import msgspec

from coldspark.errors import ColdsparkError
from coldspark.spec.types import EndpointDefinition, Revision, RevisionId, Spec, revision_id

T = TypeVar("T")

_LATER: dict[str, object] = {"multi_model": None}
_LATER_OF_SCALE: dict[str, object] = {"windows": (), "patience_s": None}
"""What came to specs after the first were stored, and its defaults."""


def revision_of(spec: Spec) -> Revision:
    """Return the spec under its id, as it will read back from disk.

    The spec goes through its own JSON once, so that ``vcpus=1`` and ``vcpus=1.0`` are one
    revision, today and after a restart.
    """
    plain = msgspec.json.decode(spec_json(spec), type=Spec)
    return Revision(id=revision_id(spec_json(plain)), spec=plain)


def spec_json(spec: Spec) -> bytes:
    """Write a spec as canonical JSON: fields in their order, mappings sorted, no spaces.

    What came to specs later is left out while it has its default, so known ids stay what they are.
    """
    plain = msgspec.to_builtins(spec, order="deterministic")
    _drop_defaults(plain, _LATER)
    _drop_defaults(plain["scale"], _LATER_OF_SCALE)
    return msgspec.json.encode(plain)


def _drop_defaults(plain: dict[str, object], later: dict[str, object]) -> None:
    for name, default in later.items():
        if plain[name] == default:
            del plain[name]


def read_revision(id: RevisionId, text: str) -> Revision:
    """Read a revision back from its spec's JSON."""
    return Revision(id=id, spec=_read(text, Spec, f"revision {id}"))


def definition_json(definition: EndpointDefinition) -> bytes:
    """Write an endpoint's definition as canonical JSON."""
    return msgspec.json.encode(definition, order="deterministic")


def read_definition(name: str, text: str) -> EndpointDefinition:
    """Read an endpoint's definition back."""
    return _read(text, EndpointDefinition, f"endpoint {name!r}")


def _read(text: str, type: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(text, type=type)
    except msgspec.ValidationError as error:
        raise ColdsparkError(
            f"{what} as stored is not what this version of coldspark reads: {error}."
            " Run the version that stored it, or delete the endpoint and deploy it again."
        ) from error
