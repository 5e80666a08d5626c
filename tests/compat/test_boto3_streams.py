"""InvokeEndpointWithResponseStream as unmodified boto3 sees it over TCP."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from boto3_rig import Aws, reached, refusal
from botocore.exceptions import ClientError, EventStreamError

from coldspark.spec.types import Failure, FailureKind, VariantName

from aws_requests import container, variant  # isort: skip  (boto3_rig makes it importable)
from gateway_fakes import FakeTicket  # isort: skip
from sagemaker_fakes import Reply  # isort: skip

SSE = "text/event-stream"


@pytest.fixture
def server() -> Iterator[Aws]:
    """Return a door at the real gateway, with the endpoint ``churn``."""
    with reached("tcp") as running:
        aws = running.client()
        aws.create_model(ModelName="churn", PrimaryContainer=container())
        aws.create_endpoint_config(EndpointConfigName="churn", ProductionVariants=[variant()])
        aws.create_endpoint(EndpointName="churn", EndpointConfigName="churn")
        yield running


def stream(server: Aws, **members: Any) -> Any:
    """Ask for a stream of events."""
    request = {"EndpointName": "churn", "Body": b"{}"} | members
    return server.client("sagemaker-runtime").invoke_endpoint_with_response_stream(**request)


def parts(answer: Any) -> list[bytes]:
    """Return the bytes of every event."""
    return [event["PayloadPart"]["Bytes"] for event in answer["Body"]]


def streaming(server: Aws, act: Callable[[FakeTicket], None]) -> None:
    """Leave what is submitted open; ``act`` says on the server's loop what its replica says."""
    server.platform.script = lambda invocation: None

    def soon(ticket: FakeTicket) -> None:
        ticket.variant = VariantName("AllTraffic")
        asyncio.get_running_loop().call_soon(act, ticket)

    server.platform.on_submit = soon


def test_each_piece_arrives_before_the_next_one_is_made(server: Aws) -> None:
    """The second comes only once a second request, sent after the first, has asked for it."""
    opened: list[FakeTicket] = []

    def act(ticket: FakeTicket) -> None:
        if not opened:
            opened.append(ticket)
            headers = [("content-type", SSE), ("x-amzn-sagemaker-custom-attributes", "a=1")]
            ticket.sink.begin(200, headers)
            ticket.sink.write(b"data: one\n\n")
            return
        opened[0].sink.write(ticket.invocation.body)
        opened[0].sink.end(server.platform.receipt(opened[0].invocation))
        receipt = server.platform.receipt(ticket.invocation)
        ticket.sink.reply(200, [], b"", receipt)

    streaming(server, act)
    answer = stream(server, Accept=SSE, CustomAttributes="b=2", ContentType="application/json")
    events = iter(answer["Body"])

    assert answer["ContentType"] == SSE
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "a=1"
    assert next(events) == {"PayloadPart": {"Bytes": b"data: one\n\n"}}
    server.client("sagemaker-runtime").invoke_endpoint(EndpointName="churn", Body=b"data: two\n\n")
    assert [event["PayloadPart"]["Bytes"] for event in events] == [b"data: two\n\n"]
    seen = opened[0].invocation
    assert (seen.accept, seen.content_type) == (SSE, "application/json")
    assert dict(seen.headers) == {"x-amzn-sagemaker-custom-attributes": "b=2"}


def test_the_connection_serves_on_after_a_stream_and_its_trailers(server: Aws) -> None:
    """Cost and time come as trailers, which botocore reads over; one client, one connection."""

    def act(ticket: FakeTicket) -> None:
        ticket.sink.begin(200, [("content-length", "3")])
        ticket.sink.write(b"abc")
        ticket.sink.end(server.platform.receipt(ticket.invocation))

    streaming(server, act)
    client = server.client("sagemaker-runtime")
    for _ in range(3):
        answer = client.invoke_endpoint_with_response_stream(EndpointName="churn", Body=b"")
        assert parts(answer) == [b"abc"]


@pytest.mark.parametrize("size", [0, 10, 2_500_000])
def test_a_whole_reply_becomes_as_few_events_as_hold_it(server: Aws, size: int) -> None:
    """None for nothing, one for most, several for a long one."""
    body = bytes(range(250)) * (size // 250) if size > 10 else b"x" * size
    server.platform.script = lambda invocation: Reply(200, [("content-type", "text/csv")], body)

    answer = stream(server)

    got = parts(answer)
    assert b"".join(got) == body
    assert len(got) == (0 if not size else 1 if size == 10 else 3)
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("text/csv", "AllTraffic")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_containers_error_before_the_stream_is_a_model_error(
    server: Aws, is_streamed: bool
) -> None:
    """With its own status and words, whether it came whole or in pieces."""
    if is_streamed:

        def act(ticket: FakeTicket) -> None:
            ticket.sink.begin(503, [])
            ticket.sink.write(b"no ")
            ticket.sink.write(b"GPU")
            ticket.sink.end(server.platform.receipt(ticket.invocation))

        streaming(server, act)
    else:
        server.platform.script = lambda invocation: Reply(503, [], b"no GPU")

    for invoke in ("invoke_endpoint_with_response_stream", "invoke_endpoint"):
        call = getattr(server.client("sagemaker-runtime"), invoke)
        with pytest.raises(ClientError) as caught:
            call(EndpointName="churn", Body=b"{}")
        assert refusal(caught.value)[:2] == (424, "ModelError")
        assert caught.value.response["OriginalStatusCode"] == 503
        assert caught.value.response["OriginalMessage"] == "no GPU"


def test_a_failure_before_the_stream_is_an_ordinary_error(server: Aws) -> None:
    """With its own code: nothing has begun."""
    server.platform.script = lambda invocation: Failure(
        kind=FailureKind.QUEUE_FULL, message="1000 requests wait", retry_after_s=2.0
    )
    with pytest.raises(ClientError) as caught:
        stream(server)
    assert refusal(caught.value) == (400, "ThrottlingException", "1000 requests wait")
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "2"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FailureKind.HANDLER_FAILED, "ModelStreamError"),
        (FailureKind.TIMED_OUT, "ModelStreamError"),
        (FailureKind.CANCELLED, "InternalStreamFailure"),
    ],
)
def test_a_stream_that_breaks_raises_after_what_came(
    server: Aws, kind: FailureKind, code: str
) -> None:
    """The exception is the last frame; what came before it is kept."""

    def act(ticket: FakeTicket) -> None:
        ticket.sink.begin(200, [("content-type", SSE)])
        ticket.sink.write(b"data: one\n\n")
        failure = Failure(kind=kind, message="it broke")
        ticket.sink.fail(failure, server.platform.receipt(ticket.invocation))

    streaming(server, act)
    got: list[bytes] = []
    with pytest.raises(EventStreamError) as caught:
        got.extend(event["PayloadPart"]["Bytes"] for event in stream(server)["Body"])
    assert got == [b"data: one\n\n"]
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == (code, "it broke")


def test_a_caller_who_reads_slowly_slows_the_replica_down(server: Aws) -> None:
    """The replica's side is told to pause, and to go on once the caller has read."""
    said: asyncio.Queue[str] = asyncio.Queue()
    opened: list[FakeTicket] = []

    def act(ticket: FakeTicket) -> None:
        ticket.on_said = said.put_nowait
        opened.append(ticket)
        ticket.sink.begin(200, [])
        while "pause" not in ticket.said:
            ticket.sink.write(bytes(2**20))
        ticket.on_said = lambda word: ticket.sink.end(server.platform.receipt(ticket.invocation))

    streaming(server, act)
    got = sum(map(len, parts(stream(server))))
    assert opened[0].said == ["pause", "resume"]
    assert got >= 2**20
