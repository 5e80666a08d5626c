"""InvokeEndpoint as unmodified boto3 sees it, in this process and over TCP."""

from collections.abc import Iterator
from typing import Any

import pytest
from boto3_rig import WAYS, Aws, reached, refusal
from botocore.exceptions import ClientError

from coldspark.spec.types import Failure, FailureKind

from aws_requests import container, variant  # isort: skip  (boto3_rig makes it importable)
from sagemaker_fakes import Reply  # isort: skip

LOG_STREAM = (
    "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/churn"
    ":log-stream:AllTraffic/r-1"
)


@pytest.fixture(params=WAYS)
def server(request: pytest.FixtureRequest) -> Iterator[Aws]:
    """Return a door, reached in each way, with the endpoint ``churn``, without keys."""
    with reached(request.param) as running:
        aws = running.client()
        aws.create_model(ModelName="churn", PrimaryContainer=container())
        aws.create_endpoint_config(EndpointConfigName="churn", ProductionVariants=[variant()])
        aws.create_endpoint(EndpointName="churn", EndpointConfigName="churn")
        yield running


def invoke(server: Aws, *, attempts: int = 1, **members: object) -> Any:
    """Invoke ``churn`` with a small body."""
    request = {"EndpointName": "churn", "Body": b"{}"} | members
    return server.client("sagemaker-runtime", attempts=attempts).invoke_endpoint(**request)


def refused(server: Aws, *, attempts: int = 1, **members: object) -> ClientError:
    """Invoke, and return what boto3 raises."""
    with pytest.raises(ClientError) as caught:
        invoke(server, attempts=attempts, **members)
    return caught.value


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b'{"age": 41}', "application/json"),
        (b"1,2,3\n", "text/csv"),
        (bytes(range(256)) * 4_096, "application/x-npy"),
        (b"", "application/octet-stream"),
        ("naïve".encode(), "text/plain; charset=utf-8"),
    ],
)
def test_a_body_and_its_type_come_back(server: Aws, body: bytes, media: str) -> None:
    """Byte for byte, with the variant that served it."""
    answer = invoke(server, Body=body, ContentType=media, Accept="application/json")

    assert answer["Body"].read() == body
    assert answer["ContentType"] == media
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert server.platform.invocations[-1].accept == "application/json"


def test_headers_reach_the_replica_and_come_back(server: Aws) -> None:
    """Custom attributes both ways; the variant is a wish, not a header for the replica."""
    answer = invoke(
        server, CustomAttributes="trace=7,a=b", InferenceId="i-1", TargetVariant="AllTraffic"
    )

    assert answer["CustomAttributes"] == "trace=7,a=b"
    seen = server.platform.invocations[-1]
    assert seen.variant == "AllTraffic"
    assert dict(seen.headers) == {
        "x-amzn-sagemaker-custom-attributes": "trace=7,a=b",
        "x-amzn-sagemaker-inference-id": "i-1",
    }


def test_an_unknown_endpoint_is_a_validation_error(server: Aws) -> None:
    """In AWS's sentence."""
    assert refusal(refused(server, EndpointName="nope")) == (
        400,
        "ValidationError",
        "Endpoint nope of account 123456789012 not found.",
    )


@pytest.mark.parametrize(
    "members",
    [
        {"TargetContainerHostname": "second"},
        {"EnableExplanations": "`true`"},
        {"InferenceComponentName": "part", "TargetVariant": "AllTraffic"},
        {"SessionId": "NEW_SESSION"},
        {"CustomAttributes": "x" * 1_025},
    ],
)
def test_a_header_that_is_not_done_or_too_long_is_refused(
    server: Aws, members: dict[str, Any]
) -> None:
    """Before anything runs."""
    status, code, _ = refusal(refused(server, **members))

    assert (status, code) == (400, "ValidationError")
    assert server.platform.invocations == []


@pytest.mark.parametrize(("status", "side"), [(400, "client"), (500, "server"), (503, "server")])
def test_a_replicas_error_is_a_model_error(server: Aws, status: int, side: str) -> None:
    """With all four of its fields; it ran, so boto3 must not send it again."""
    server.platform.script = lambda _: Reply(status, [], b'{"error": "no column age"}')

    error = refused(server, attempts=3)

    http_status, code, message = refusal(error)
    assert (http_status, code) == (424, "ModelError")
    assert message == (
        f'Received {side} error ({status}) from primary with message "{{"error": "no column age"}}'
        '". See the log group /aws/sagemaker/Endpoints/churn.'
    )
    assert error.response["OriginalStatusCode"] == status
    assert error.response["OriginalMessage"] == '{"error": "no column age"}'
    assert error.response["LogStreamArn"] == LOG_STREAM
    assert len(server.platform.invocations) == 1


@pytest.mark.parametrize(
    ("kind", "original"),
    [
        (FailureKind.HANDLER_FAILED, 500),
        (FailureKind.UNSUPPORTED_MEDIA, 415),
        (FailureKind.REPLICA_DIED, 502),
        (FailureKind.START_FAILED, 502),
        (FailureKind.ENDPOINT_FAILED, 503),
        (FailureKind.TIMED_OUT, 504),
    ],
)
def test_a_failure_of_the_model_is_told_with_its_log(
    server: Aws, kind: FailureKind, original: int
) -> None:
    """Once: none of them is sent again."""
    server.platform.script = lambda _: Failure(
        kind=kind, message="it broke", log_tail=("Traceback", "KeyError: 'age'")
    )

    error = refused(server, attempts=3)

    assert refusal(error)[:2] == (424, "ModelError")
    assert error.response["OriginalStatusCode"] == original
    assert error.response["OriginalMessage"] == "it broke\nTraceback\nKeyError: 'age'"
    assert error.response["LogStreamArn"] == LOG_STREAM
    assert len(server.platform.invocations) == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FailureKind.QUEUE_FULL, (400, "ThrottlingException")),
        (FailureKind.NO_ROOM, (503, "ServiceUnavailable")),
    ],
)
def test_what_has_not_run_is_sent_again(
    server: Aws, kind: FailureKind, expected: tuple[int, str]
) -> None:
    """By boto3's standard mode, as often as it was told to."""
    server.platform.script = lambda _: Failure(kind=kind, message="1000 wait", retry_after_s=0.5)

    error = refused(server, attempts=2)

    assert refusal(error) == (*expected, "1000 wait")
    assert error.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    assert len(server.platform.invocations) == 2


def test_one_client_invokes_many_times_over_one_connection(server: Aws) -> None:
    """An error in between leaves the connection as it was."""
    client = server.client("sagemaker-runtime")
    for number in range(50):
        if number == 25:
            with pytest.raises(ClientError):
                client.invoke_endpoint(EndpointName="nope", Body=b"x")
        body = str(number).encode()
        assert client.invoke_endpoint(EndpointName="churn", Body=body)["Body"].read() == body


def test_names_that_need_encoding_find_their_way(server: Aws) -> None:
    """boto3 percent-encodes them; no endpoint can have such a name."""
    message = refusal(refused(server, EndpointName="a/b c"))[2]

    assert message == "Endpoint a/b c of account 123456789012 not found."
