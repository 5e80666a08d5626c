"""The query protocol, against botocore's own serializer and parser."""

from typing import Any

import botocore.session
import pytest
from botocore.model import ServiceModel
from botocore.parsers import QueryParser
from botocore.serialize import QuerySerializer

from coldspark.doors.aws.protocol.errors import AwsError, AwsErrorReply, xml_body
from coldspark.doors.aws.protocol.operations import Timestamp
from coldspark.doors.aws.protocol.query import form_of, members, xml_of
from coldspark.doors.aws.protocol.shapes import (
    Boolean,
    Dictionary,
    Integer,
    Number,
    Sequence,
    Structure,
    Text,
)

NAMESPACE = "http://monitoring.amazonaws.com/doc/2010-08-01/"
_DIMENSIONS = Sequence(Structure({"Name": Text(), "Value": Text()}))
PUT = Structure(
    {
        "Namespace": Text(),
        "MetricData": Sequence(
            Structure(
                {
                    "MetricName": Text(),
                    "Dimensions": _DIMENSIONS,
                    "Timestamp": Number(),
                    "Values": Sequence(Number()),
                    "Counts": Sequence(Number()),
                    "StorageResolution": Integer(),
                    "Value": Number(),
                }
            )
        ),
        "StrictEntityValidation": Boolean(),
    }
)


def sent(operation: str, arguments: dict[str, Any]) -> bytes:
    """Return the form that botocore makes of a call."""
    request = QuerySerializer().serialize_to_request(arguments, _model().operation_model(operation))
    body = request["body"]
    from urllib.parse import urlencode

    return urlencode(body).encode()


def read(operation: str, body: bytes, status: int = 200) -> dict[str, Any]:
    """Return what botocore makes of an answer."""
    shape = _model().operation_model(operation).output_shape
    response = {"status_code": status, "headers": {}, "body": body}
    parsed: dict[str, Any] = QueryParser().parse(response, shape)
    return parsed


def _model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("cloudwatch")


def test_a_form_gives_back_what_was_sent_with_its_types() -> None:
    """Numbers, flags and dates are what the shape says; lists keep their order past ten."""
    datum = {
        "MetricName": "Latency",
        "Dimensions": [{"Name": f"D{n}", "Value": str(n)} for n in range(12)],
        "Timestamp": "2026-01-31T23:59:59Z",
        "Values": [1.5, 2.0],
        "Counts": [1.0, 3.0],
        "StorageResolution": 1,
    }
    body = sent(
        "PutMetricData",
        {"Namespace": "A/B c&d", "MetricData": [datum], "StrictEntityValidation": True},
    )

    found = members(form_of(body), PUT)

    assert found == {
        "Namespace": "A/B c&d",
        "MetricData": [datum | {"Timestamp": 1769903999.0}],
        "StrictEntityValidation": True,
    }


def test_what_is_no_number_stays_as_it_was_sent() -> None:
    """The check names it, rather than the parser."""
    found = members({"Value": "many", "Action": "X"}, Structure({"Value": Number()}))

    assert found == {"Value": "many"}


def test_an_empty_list_and_a_map_are_read() -> None:
    """``X=`` is an empty list; a map comes as entries."""
    shape = Structure({"List": Sequence(Text()), "Map": Dictionary(Text(), Integer(), max=9)})
    form = {"List": "", "Map.entry.1.key": "a", "Map.entry.1.value": "1"}

    assert members(form, shape) == {"List": [], "Map": {"a": 1}}


@pytest.mark.parametrize("body", [b"a.b=1&a=2&a.b.c=3", b"\xff=1", b"." * 40 + b"=1"])
def test_a_malformed_form_is_refused(body: bytes) -> None:
    """A field cannot be both a value and a structure, nor nested without end."""
    with pytest.raises(AwsError) as refused:
        members(form_of(body), PUT)
    assert refused.value.aws_type == "MalformedQueryString"


def test_an_answer_is_read_by_botocore_as_it_was_given() -> None:
    """Structures, lists, numbers, flags and moments survive the XML."""
    at_ms = 1769903999123
    answer = {
        "MetricAlarms": [
            {
                "AlarmName": 'a<b>&"c"',
                "ActionsEnabled": True,
                "Threshold": 0.25,
                "EvaluationPeriods": 2,
                "StateUpdatedTimestamp": Timestamp(at_ms),
                "Dimensions": [{"Name": "EndpointName", "Value": "e"}],
            }
        ]
    }

    parsed = read("DescribeAlarms", xml_of("DescribeAlarms", answer, NAMESPACE, "r-1"))

    (alarm,) = parsed["MetricAlarms"]
    assert round(alarm.pop("StateUpdatedTimestamp").timestamp() * 1000) == at_ms
    expected = dict(answer["MetricAlarms"][0])
    expected.pop("StateUpdatedTimestamp")
    assert alarm == expected
    assert parsed["ResponseMetadata"]["RequestId"] == "r-1"


def test_an_error_is_read_by_botocore_with_its_code() -> None:
    """The code and the message arrive."""
    body = xml_body(AwsErrorReply("ResourceNotFound", "no <alarm>", 400), NAMESPACE, "r-2")

    parsed = read("DescribeAlarms", body, status=400)

    assert parsed["Error"]["Code"] == "ResourceNotFound"
    assert parsed["Error"]["Message"] == "no <alarm>"
