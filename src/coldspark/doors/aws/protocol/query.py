"""The query protocol: forms in, XML out. CloudWatch (boto3 up to 1.40), STS, IAM and SNS speak it.

A form spells structure in its keys (``Dimensions.member.1.Name=x``) and has only strings: the
operation's own shape says what is a number, a flag or a moment.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from coldspark.doors.aws.protocol.errors import AwsError, xml_text
from coldspark.doors.aws.protocol.operations import Pairs
from coldspark.doors.aws.protocol.shapes import (
    Boolean,
    Dictionary,
    Integer,
    Number,
    Sequence,
    Shape,
    Structure,
)

_FIELDS_MAX = 20_000
_DEPTH_MAX = 12
_MARKS = ("Action", "Version")

Tree = dict[str, "Tree | str"]


def form_of(body: bytes) -> dict[str, str]:
    """Return the fields of a form. Raises AwsError."""
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_FIELDS_MAX)
    except ValueError as error:
        raise AwsError("MalformedQueryString", f"The body is no form: {error}.") from None
    return dict(pairs)


def members(form: Mapping[str, str], shape: Structure) -> object:
    """Return the structure that a form spells, with the types that the shape asks for.

    What does not look like its type stays a string: the check says what is wrong with it.
    """
    tree: Tree = {}
    for name, value in form.items():
        if name not in _MARKS:
            _put(tree, name.split("."), value)
    return _typed(tree, shape)


def _put(tree: Tree, path: list[str], value: str) -> None:
    if len(path) > _DEPTH_MAX:
        raise AwsError("MalformedQueryString", f"'{'.'.join(path)[:100]}' is nested too deeply.")
    for word in path[:-1]:
        below = tree.setdefault(word, {})
        if isinstance(below, str):
            raise AwsError("MalformedQueryString", f"'{word}' is both a value and a structure.")
        tree = below
    tree[path[-1]] = value


def _typed(tree: Tree | str, shape: Shape | None) -> object:
    match shape:
        case Structure() if isinstance(tree, dict):
            return {name: _typed(below, shape.members.get(name)) for name, below in tree.items()}
        case Sequence():
            return [_typed(below, shape.member) for below in _listed(tree)]
        case Dictionary() if isinstance(tree, dict):
            return dict(_entries(tree, shape))
        case Integer() | Number() | Boolean() if isinstance(tree, str):
            return _scalar(tree, shape)
        case _:
            return tree


def _listed(tree: Tree | str) -> list[Tree | str]:
    """Return a list's members in order; ``X=`` alone is how an empty list is sent."""
    if isinstance(tree, str):
        return []
    below = tree.get("member", tree)
    if isinstance(below, str):
        return [below]
    numbered = [(int(place), one) for place, one in below.items() if place.isdecimal()]
    return [one for _, one in sorted(numbered, key=lambda pair: pair[0])]


def _entries(tree: Tree, shape: Dictionary) -> Iterable[tuple[str, object]]:
    below = tree.get("entry", tree)
    for entry in _listed(below):
        if isinstance(entry, dict):
            yield str(entry.get("key", "")), _typed(entry.get("value", ""), shape.value)


def _scalar(text: str, shape: Integer | Number | Boolean) -> object:
    try:
        if isinstance(shape, Boolean):
            return {"true": True, "false": False}.get(text.lower(), text)
        if isinstance(shape, Integer):
            return int(text)
        return float(text) if _is_number(text) else _seconds(text)
    except ValueError:
        return text


def _is_number(text: str) -> bool:
    return text.strip().lstrip("+-")[:1] in tuple("0123456789.") and "T" not in text


def _seconds(text: str) -> float:
    """Read a date as the query protocol writes moments. Raises ValueError."""
    at = dt.datetime.fromisoformat(text)
    return (at if at.tzinfo is not None else at.replace(tzinfo=dt.UTC)).timestamp()


def xml_of(operation: str, answer: object, namespace: str, request_id: str) -> bytes:
    """Return an operation's answer as the query protocol has it; None: no result at all."""
    result = ""
    if answer is not None:
        result = f"<{operation}Result>{_written(answer)}</{operation}Result>"
    return (
        f'<{operation}Response xmlns="{namespace}">{result}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        f"</{operation}Response>"
    ).encode()


def _written(value: object) -> str:
    match value:
        case Pairs():
            return "".join(
                f"<entry><key>{xml_text(name)}</key><value>{_written(one)}</value></entry>"
                for name, one in value.items()
            )
        case dict():
            return "".join(f"<{name}>{_written(member)}</{name}>" for name, member in value.items())
        case list():
            return "".join(f"<member>{_written(member)}</member>" for member in value)
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case _:
            return xml_text(str(value))
