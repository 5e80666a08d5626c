"""``POST /``: which service is meant, and in which protocol it answers."""

import gzip
import json
from typing import Any
from xml.etree import ElementTree

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from coldspark.doors.aws.protocol.operations import (
    AwsOperation,
    OperationRequest,
    Service,
    Timestamp,
)
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.protocol.routes import aws_endpoint
from coldspark.doors.aws.protocol.shapes import Integer, Number, Structure, Text
from coldspark.platform.ports import Key

SHAPE = Structure(
    {"Name": Text("[a-z]+", max=9), "Free": Text(), "Count": Integer(), "Size": Number()}, ("Name",)
)
AT = 1769903999500


async def _echo(asked: OperationRequest) -> Body | None:
    free = {"Free": asked.body["Free"]} if "Free" in asked.body else {}
    return {"Name": asked.body["Name"], "Region": asked.region, "At": Timestamp(AT)} | free


async def _break(asked: OperationRequest) -> Body | None:
    raise OverflowError(asked.body["Name"])


async def _nothing(asked: OperationRequest) -> Body | None:
    return None


JSON = Service(
    signing_name="logs",
    target="Logs.",
    operations={
        "Echo": AwsOperation(run=_echo, shape=SHAPE),
        "Nothing": AwsOperation(run=_nothing, shape=SHAPE, is_change=True),
    },
    invalid_type="InvalidParameterException",
)
BOTH = Service(
    signing_name="monitoring",
    target="Granite.",
    json_version="1.0",
    query_version="2010-08-01",
    namespace="http://example.com/",
    operations={
        "Echo": AwsOperation(run=_echo, shape=SHAPE),
        "Break": AwsOperation(run=_break, shape=SHAPE),
    },
    body_bytes_max=2_000_000,
)


@pytest.fixture
def client() -> TestClient:
    """Return a client of an app with two services; nobody needs a key."""

    def identify(*_: Any) -> Key | None:
        return None

    app = Starlette(routes=[Route("/", aws_endpoint([JSON, BOTH], identify), methods=["POST"])])
    return TestClient(app)


def _ask(client: TestClient, target: str, body: bytes, **headers: str) -> Any:
    return client.post("/", content=body, headers={"X-Amz-Target": target, **headers})


def test_the_target_names_service_and_operation(client: TestClient) -> None:
    """The answer is JSON of the service's own version; the region is the signature's."""
    scope = "AWS4-HMAC-SHA256 Credential=K/20260131/eu-west-3/monitoring/aws4_request, S=1"

    answer = _ask(client, "Granite.Echo", b'{"Name": "x"}', Authorization=scope)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-amz-json-1.0"
    assert answer.json() == {"Name": "x", "Region": "eu-west-3", "At": AT / 1000}


def test_an_operation_without_output_answers_nothing(client: TestClient) -> None:
    """As AWS's deletes do."""
    assert _ask(client, "Logs.Nothing", b'{"Name": "x"}').content == b""


def test_a_form_is_answered_in_xml(client: TestClient) -> None:
    """The same service, the older protocol."""
    answer = client.post("/", data={"Action": "Echo", "Version": "2010-08-01", "Name": "x"})

    assert answer.headers["content-type"].startswith("text/xml")
    assert b"<EchoResult><Name>x</Name><Region>us-east-1</Region>" in answer.content
    assert b"<At>2026-01-31T23:59:59.500Z</At>" in answer.content


@pytest.mark.parametrize(
    ("target", "body", "aws_type"),
    [
        ("Logs.Echo", b'{"Name": "X"}', "InvalidParameterException"),
        ("Logs.Echo", b"{", "SerializationException"),
        ("Logs.Gone", b"{}", "UnknownOperationException"),
        ("Other.Echo", b"{}", "UnknownOperationException"),
    ],
)
def test_what_is_wrong_is_told_in_the_services_words(
    client: TestClient, target: str, body: bytes, aws_type: str
) -> None:
    """A broken shape has the service's own type."""
    answer = _ask(client, target, body)

    assert answer.status_code == 400
    assert answer.json()["__type"] == aws_type


def test_a_refused_form_is_told_in_xml(client: TestClient) -> None:
    """A client of the query protocol cannot read JSON."""
    answer = client.post("/", data={"Action": "Echo", "Version": "2010-08-01", "Name": "X"})

    assert answer.status_code == 400
    assert b"<Code>ValidationException</Code>" in answer.content


def test_a_json_error_of_a_service_with_a_query_past_has_its_code_in_a_header(
    client: TestClient,
) -> None:
    """boto3 reads the old code from it."""
    answer = _ask(client, "Granite.Echo", b"{}")

    assert answer.headers["x-amzn-query-error"] == "ValidationException;Sender"


def test_a_gzipped_body_is_unpacked_within_bounds(client: TestClient) -> None:
    """PutMetricData comes so; a bomb is refused."""
    packed = gzip.compress(json.dumps({"Name": "x"}).encode())
    bomb = gzip.compress(b" " * 5_000_000)

    good = _ask(client, "Granite.Echo", packed, **{"Content-Encoding": "gzip"})
    bad = _ask(client, "Granite.Echo", bomb, **{"Content-Encoding": "gzip"})

    assert good.json()["Name"] == "x"
    assert bad.status_code == 400
    assert "unpacks to more than" in bad.json()["message"]


def test_a_mistake_of_ours_is_told_in_the_services_words_and_logged(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """SDKs retry an InternalFailure; a body that is none of theirs they cannot read."""
    for answer in (
        _ask(client, "Granite.Break", b'{"Name": "x"}'),
        client.post("/", data={"Action": "Break", "Version": "2010-08-01", "Name": "x"}),
    ):
        assert answer.status_code == 500
        assert "InternalFailure" in answer.text
        assert "x-amzn-requestid" in answer.headers
    assert "monitoring Break failed" in caplog.text


def test_numbers_that_no_database_holds_are_refused(client: TestClient) -> None:
    """AWS's longs have 64 bits, and there is no infinite moment."""
    body = b'{"Name": "x", "Count": 9223372036854775808}'
    answer = _ask(client, "Granite.Echo", body)
    form = {"Action": "Echo", "Version": "2010-08-01", "Name": "x", "Size": "1e400"}

    assert answer.status_code == 400
    assert "less than or equal to 9223372036854775807" in answer.json()["message"]
    assert "must be a finite number" in client.post("/", data=form).text


def test_what_xml_cannot_say_is_shown_as_a_mark(client: TestClient) -> None:
    """One such character in one name must not hide all others."""
    form = {"Action": "Echo", "Version": "2010-08-01", "Name": "x", "Free": "a\x00b<"}
    answer = client.post("/", data=form)

    assert ElementTree.fromstring(answer.text).findtext(".//{*}Free") == "a\ufffdb<"
