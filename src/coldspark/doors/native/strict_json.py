"""JSON bodies read strictly: what is wrong is told with the field, the value and the cure."""

import re
from typing import TypeVar

import msgspec

from coldspark.doors.native import shapes
from coldspark.errors import InvalidRequest
from coldspark.spec.strict_keys import nearest_name

T = TypeVar("T")

_PATH = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`", re.DOTALL)
_TABLES: dict[str, type[msgspec.Struct]] = {
    "handler": shapes.HandlerBody,
    "command": shapes.CommandBody,
    "scale": shapes.ScaleBody,
    "limits": shapes.LimitsBody,
    "variants": shapes.VariantBody,
}


def decode_strictly(kind: type[T], body: bytes) -> T:
    """Return the body as ``kind``. Raises InvalidRequest."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _explained(kind, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None


def _explained(kind: type, message: str) -> InvalidRequest:
    match = _PATH.fullmatch(message)
    assert match is not None
    path = (match["path"] or "").removeprefix(".")
    unknown = _UNKNOWN.fullmatch(match["what"])
    if unknown is None:
        where = f" at {path!r}" if path else ""
        return InvalidRequest(f"{match['what']}{where}", field=path or None)
    field = unknown["field"]
    return InvalidRequest(
        f"there is no field {field!r}{f' in {path!r}' if path else ''}: {_cure(kind, path, field)}",
        field=f"{path}.{field}" if path else field,
    )


def _cure(kind: type, path: str, field: str) -> str:
    table = re.sub(r"\[[^]]*\]", "", path).rpartition(".")[2]
    struct = _TABLES.get(table, kind)
    known = [known.name for known in msgspec.structs.fields(struct)]
    near = nearest_name(field, known)
    return f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(known))}"
