"""botocore's own model as an oracle for rest-xml: no unknown element, none missing, none empty."""

from collections import defaultdict
from collections.abc import Iterator
from xml.etree import ElementTree

from botocore.model import OperationModel, Shape

MAY_BE_EMPTY = {"Prefix", "Marker", "KeyMarker", "UploadIdMarker", "TagSet", "Buckets"}
"""Elements that AWS itself sends without content."""


def problems(operation: OperationModel, body: bytes) -> list[str]:
    """Return what is wrong with the body of an answer."""
    shape = operation.output_shape
    payload = None if shape is None else shape.serialization.get("payload")
    if shape is None or (payload and shape.members[payload].type_name != "structure"):
        return []
    if payload:
        shape = shape.members[payload]
    in_body = {name for name, one in shape.members.items() if "location" not in one.serialization}
    if not in_body:
        return [] if not body else [f"{operation.name} must have no body"]
    return list(_structure(shape, ElementTree.fromstring(body), operation.name))


def _structure(shape: Shape, element: ElementTree.Element, path: str) -> Iterator[str]:
    found: dict[str, list[ElementTree.Element]] = defaultdict(list)
    for child in element:
        found[child.tag.rpartition("}")[2]].append(child)
    known: set[str] = set()
    for member, one in shape.members.items():
        if "location" in one.serialization or one.serialization.get("xmlAttribute"):
            continue
        name = _name(member, one)
        known.add(name)
        if member in shape.required_members and name not in found:
            yield f"{path} lacks {name}"
        is_flat = one.type_name == "list" and one.serialization.get("flattened")
        if not is_flat and len(found[name]) > 1:
            yield f"{path}.{name} is there {len(found[name])} times"
        for child in found[name]:
            yield from _value(one.member if is_flat else one, child, f"{path}.{name}")
    yield from (f"{path}.{name} is unknown" for name in found if found[name] and name not in known)


def _name(member: str, shape: Shape) -> str:
    if shape.type_name == "list" and shape.serialization.get("flattened"):
        return str(shape.member.serialization.get("name", shape.serialization.get("name", member)))
    return str(shape.serialization.get("name", member))


def _value(shape: Shape, element: ElementTree.Element, path: str) -> Iterator[str]:
    is_empty = len(element) == 0 and not element.text
    if is_empty and path.rpartition(".")[2] not in MAY_BE_EMPTY:
        yield f"{path} is empty"
    if shape.type_name == "structure":
        yield from _structure(shape, element, path)
    elif shape.type_name == "list":
        for child in element:
            yield from _value(shape.member, child, f"{path}[]")
    elif getattr(shape, "enum", None) and element.text not in shape.enum:
        yield f"{path} is {element.text!r}, none of {shape.enum}"
