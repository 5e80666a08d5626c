"""Shapes made of the tables of AWS's model and our overlays."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import botocore
import msgspec
import pytest
from aws_page import services

import generate_aws_shapes
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.model import Bounds, ModelTable, Only, Overlay, Support
from coldspark.doors.aws.protocol.shapes import (
    Dictionary,
    Enumeration,
    Integer,
    Sequence,
    Shape,
    Structure,
    Text,
    Unsupported,
    check,
)

OVERLAYS = generate_aws_shapes.OVERLAYS
TABLE = """
{"botocore": "1", "inputs": {"Make": "MakeInput"}, "shapes": {
"MakeInput": {"type": "structure", "required": ["Name"], "members":
 {"Name": "Name", "Size": "Size", "Mode": "Mode", "Role": "Name", "Parts": "Parts", "New": "Size"}},
"Name": {"type": "string", "min": 1, "max": 9, "pattern": "[a-z]+"},
"Size": {"type": "integer", "max": 50},
"Mode": {"type": "string", "enum": ["A", "B"]},
"Parts": {"type": "list", "member": "Part"},
"Part": {"type": "structure", "members": {"Key": "Name"}}}}
"""


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    table = tmp_path / "model.json"
    table.write_text(TABLE)
    return Overlay(
        service="made-up",
        table=table,
        operations={
            "Make": Support(
                "Name Size Parts",
                kept={"Role": "nobody acts as it"},
                narrowed={"Mode": Only(("A",))},
                required=("Size",),
            )
        },
        structures={"Part": Support(refused={"Key": "leave it out"})},
        types={"Size": Bounds(2, 5)},
    )


def test_a_shape_is_awss_under_the_overlay(overlay: Overlay) -> None:
    """Own bounds replace AWS's, and what is required beyond them is added."""
    name = Text("[a-z]+", max=9, min=1)
    assert overlay.shapes["Make"] == Structure(
        {
            "Name": name,
            "Size": Integer(2, 5),
            "Mode": Enumeration(("A", "B"), ("A",)),
            "Role": name,
            "Parts": Sequence(Structure({"Key": Unsupported("leave it out")})),
        },
        ("Name", "Size"),
        frozenset({"Role"}),
    )


def test_a_member_that_nobody_decided_on_is_refused(overlay: Overlay) -> None:
    """A later model brings such ones."""
    with pytest.raises(AwsError, match="'new' is not a member that is known here"):
        check(overlay.shapes["Make"], {"Name": "a", "Size": 2, "New": 1})


def test_a_member_that_aws_does_not_have_cannot_be_decided_on(overlay: Overlay) -> None:
    """It would be a misspelling."""
    with pytest.raises(LookupError, match="MakeInput has no members Nmae"):
        _ = replace(overlay, operations={"Make": "Nmae Size"}).shapes


@pytest.mark.parametrize("one", OVERLAYS, ids=lambda one: one.service)
def test_a_table_is_what_the_script_makes_of_botocore(one: Overlay) -> None:
    """It is generated: never edit it by hand."""
    held = one.table.read_text(encoding="utf-8")
    version = msgspec.json.decode(held, type=ModelTable).botocore
    if version != botocore.__version__:
        pytest.skip(f"the table was read from botocore {version}, not {botocore.__version__}")
    made = generate_aws_shapes.render(generate_aws_shapes.table(one))
    assert held == made, "stale: run `make aws-shapes`"


@pytest.mark.parametrize("one", OVERLAYS, ids=lambda one: one.service)
def test_an_overlay_decides_on_nothing_that_no_request_can_have(one: Overlay) -> None:
    """Its structures and types are all in the table."""
    table = msgspec.json.decode(one.table.read_bytes(), type=ModelTable)
    assert {*one.structures, *one.types} - table.shapes.keys() == set()


def test_the_overlays_name_the_operations_that_are_served() -> None:
    """All of them, but STS's one, which takes nothing."""
    named = {frozenset(one.operations) for one in OVERLAYS}
    served = {frozenset(one.operations) for one in services() if one.signing_name != "sts"}
    assert named == served


def test_python_can_match_every_pattern_in_bounded_time() -> None:
    """AWS writes Java's, some of which need one of our own; a pattern needs a length to end."""
    texts = {
        text
        for service in services()
        for operation in service.operations.values()
        for text in _texts(operation.shape)
    }
    assert all(text.compiled for text in texts)
    assert [text for text in texts if text.pattern is not None and text.max is None] == []


def _texts(shape: Shape) -> Iterator[Text]:
    match shape:
        case Text():
            yield shape
        case Structure(members):
            for member in members.values():
                yield from _texts(member)
        case Sequence(member):
            yield from _texts(member)
        case Dictionary(key, value):
            yield key
            yield from _texts(value)
