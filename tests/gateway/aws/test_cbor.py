"""CBOR against RFC 8949's own examples, botocore's reader, and whatever bytes come."""

import datetime as dt
from typing import Any

import pytest
from botocore.parsers import RpcV2CBORParser
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from coldspark.gateway.aws import cbor
from coldspark.gateway.aws.errors import AwsError
from coldspark.gateway.aws.front import CBOR_PATH, front
from coldspark.gateway.aws.services import Asked, Body, Moment, Operation, Service
from coldspark.gateway.aws.validation import Number, Structure

VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=20,
)


def read_by_botocore(data: bytes) -> Any:
    parser = RpcV2CBORParser()
    return parser.parse_data_item(parser.get_peekable_stream_from_bytes(data))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("1818", 24),
        ("1bffffffffffffffff", 2**64 - 1),
        ("3903e7", -1000),
        ("f93e00", 1.5),
        ("fa47c35000", 100000.0),
        ("f97e00", "NaN"),
        ("f9fc00", "-Infinity"),
        ("f7", None),
        ("c11a514b67b0", 1363896240),
        ("c1fb41d452d9ec200000", 1363896240.5),
        ("7f657374726561646d696e67ff", "streaming"),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
        ("5f42010243030405ff", b"\x01\x02\x03\x04\x05"),
    ],
)
def test_the_examples_of_the_standard_are_read(data: str, value: object) -> None:
    """RFC 8949, appendix A."""
    assert cbor.decode(bytes.fromhex(data)) == value


@given(VALUES)
def test_what_is_written_is_read_by_botocore_and_here(value: Any) -> None:
    """The same comes out; botocore passes over a member without a value, so none is sent."""
    written = cbor.encode(value)

    assert cbor.decode(written) == value
    assert read_by_botocore(written) == value


def test_moments_are_moments_for_botocore() -> None:
    """Tag 1 over seconds."""
    at = dt.datetime(2026, 1, 31, 21, 6, 39, 500_000, tzinfo=dt.UTC)

    assert read_by_botocore(cbor.encode(Moment(1769893599500))) == at


@given(st.binary(max_size=40))
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    """Nothing else comes out."""
    try:
        cbor.decode(data)
    except AwsError:
        pass


@pytest.mark.parametrize(
    "data",
    [
        *("", "ff", "81ff", "a1ff", "9f", "bf01", "1f", "c249010000000000000000", "0000"),
        *("81" * 40, "7f01ff", "a10102", "fc", "1c", "62c328", "9bffffffffffffffff00"),
    ],
)
def test_what_is_none_or_too_deep_is_refused(data: str) -> None:
    """Also a length that no body has: nothing is set aside for it."""
    with pytest.raises(AwsError, match="not CBOR"):
        cbor.decode(bytes.fromhex(data))


def test_other_services_and_protocols_are_refused_in_cbor() -> None:
    """With what there is; an answer always says its protocol."""

    async def nothing(asked: Asked) -> Body | None:
        return None

    operations = {"Nothing": Operation(run=nothing, shape=Structure({"Size": Number()}))}
    both = Service(signing_name="a", target="Granite.", has_cbor=True, operations=operations)
    json = Service(signing_name="b", target="Logs.", operations=operations)
    door = front([both, json], lambda *_: None)
    client = TestClient(Starlette(routes=[Route(CBOR_PATH, door, methods=["POST"])]))
    spoken = {"Smithy-Protocol": "rpc-v2-cbor"}

    answer = client.post("/service/Granite/operation/Nothing", headers=spoken)
    assert (answer.status_code, answer.content) == (200, b"")
    assert "content-type" not in answer.headers
    assert answer.headers["smithy-protocol"] == "rpc-v2-cbor"
    for path, headers, body, words in (
        ("/service/Logs/operation/Nothing", spoken, b"", "there are Granite"),
        ("/service/Granite/operation/Other", spoken, b"", "is not an operation"),
        ("/service/Granite/operation/Nothing", {}, b"", "send it as Smithy-Protocol"),
        ("/service/Granite/operation/Nothing", spoken, b"\xff", "not CBOR"),
        ("/service/Granite/operation/Nothing", spoken, cbor.encode({"Size": "x"}), "a number"),
    ):
        answer = client.post(path, headers=headers, content=body)
        assert answer.status_code == 400
        assert answer.headers["smithy-protocol"] == "rpc-v2-cbor"
        told = cbor.decode(answer.content)
        assert isinstance(told, dict)
        assert words in str(told["message"])
