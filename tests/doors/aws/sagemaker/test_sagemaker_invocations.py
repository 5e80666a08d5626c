"""Invocations: which request is one, what a replica sees of it, and errors in AWS's words."""

import json
from typing import Any

import pytest

from coldspark import errors
from coldspark.doors.aws.sagemaker.runtime.invocations import (
    error_reply,
    invocation,
    match,
    replica_error_reply,
    reply_headers,
)
from coldspark.errors import ColdsparkError
from coldspark.http.auth.refusals import AuthRefused, RefusalReason
from coldspark.platform.ports import Invocation
from coldspark.spec.types import EndpointName, Failure, FailureKind, RequestId, VariantName

REQUEST = RequestId("11111111-2222-4333-8444-555555555555")


def made(**headers: str) -> Invocation:
    """Return the invocation of a request with these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return invocation("churn", named, b"body", request=REQUEST, started_s=1.5, key="CSK1")


def told(
    error: ColdsparkError | Failure, **names: str
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return an error's status, headers and JSON."""
    status, headers, body = error_reply(error, **names)
    return status, dict(headers), json.loads(body)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/endpoints/churn/invocations", "churn"),
        ("POST", "/endpoints/a%2Fb/invocations", "a/b"),
        ("POST", "/endpoints/caf%C3%A9/invocations", "café"),
        ("POST", "/endpoints/%ff/invocations", "\ufffd"),
        ("GET", "/endpoints/churn/invocations", None),
        ("POST", "/endpoints//invocations", None),
        ("POST", "/endpoints/invocations", None),
        ("POST", "/endpoints/a/b/invocations", None),
        ("POST", "/endpoints/churn/async-invocations", None),
        ("POST", "/endpoints/churn/invocations-response-stream", None),
        ("POST", "/endpoints/churn/invocations/", None),
        ("POST", "/v1/endpoints/churn/invocations", None),
    ],
)
def test_only_the_invocation_route_matches(method: str, path: str, expected: str | None) -> None:
    """The name is decoded; a slash must be encoded to belong to it."""
    assert match(method, path) == expected


def test_a_request_becomes_an_invocation() -> None:
    """Of the headers a replica sees the media types and what AWS passes on, no more."""
    assert made(
        content_type="text/csv",
        accept="application/json",
        host="localhost",
        user_agent="Boto3/1.44",
        authorization="AWS4-HMAC-SHA256 …",
        x_amz_date="20260101T000000Z",
        x_amzn_sagemaker_custom_attributes="trace=1",
        x_amzn_sagemaker_inference_id="id-1",
        x_amzn_sagemaker_target_variant="B",
    ) == Invocation(
        endpoint=EndpointName("churn"),
        variant=VariantName("B"),
        content_type="text/csv",
        accept="application/json",
        headers=(
            ("x-amzn-sagemaker-custom-attributes", "trace=1"),
            ("x-amzn-sagemaker-inference-id", "id-1"),
        ),
        body=b"body",
        key="CSK1",
        started_s=1.5,
        request=REQUEST,
    )


@pytest.mark.parametrize(
    "header",
    [
        "target-container-hostname",
        "enable-explanations",
        "session-id",
        "prefix-aware-id",
    ],
)
def test_a_header_that_asks_for_what_is_not_done_is_refused(header: str) -> None:
    """It would be taken for done."""
    with pytest.raises(errors.InvalidRequest, match="not supported yet"):
        made(**{f"x-amzn-sagemaker-{header}": "x"})


def test_a_component_is_a_variant_that_is_asked_for_as_one() -> None:
    """Its name says who answers, so no variant goes beside it."""
    asked = made(x_amzn_sagemaker_inference_component="chat")
    assert (asked.variant, asked.is_component, asked.headers) == (VariantName("chat"), True, ())
    with pytest.raises(errors.InvalidRequest, match="does not go with InferenceComponentName"):
        made(x_amzn_sagemaker_inference_component="chat", x_amzn_sagemaker_target_variant="B")


def test_headers_are_bounded_as_on_aws() -> None:
    """1024 characters of attributes, 64 of an inference id."""
    assert made(**{"x-amzn-sagemaker-custom-attributes": "x" * 1024}).headers
    with pytest.raises(errors.InvalidRequest, match="less than or equal to 1024, not 1025"):
        made(**{"x-amzn-sagemaker-custom-attributes": "x" * 1025})
    with pytest.raises(errors.InvalidRequest, match="less than or equal to 64, not 65"):
        made(**{"x-amzn-sagemaker-inference-id": "x" * 65})


def test_a_target_model_may_have_letters_beyond_ascii() -> None:
    """boto3 sends the UTF-8 of an object's key; what is none is taken as it came."""
    name = "größe/模型.tar.gz"
    header = "x-amzn-sagemaker-target-model"
    assert made(**{header: name.encode().decode("latin-1")}).target == name
    assert made(**{header: "größe"}).target == "größe"
    assert made(**{header: "plain"}).target == "plain"


def test_a_reply_passes_back_what_aws_passes_back() -> None:
    """Variant, request id, content type and custom attributes; nothing else of the replica's."""
    replied = [
        ("content-type", "text/csv"),
        ("x-amzn-sagemaker-custom-attributes", "a=1"),
        ("server", "mine"),
        ("x-coldspark-cost", "0"),
    ]
    assert reply_headers(REQUEST, VariantName("B"), replied) == [
        ("x-amzn-RequestId", REQUEST),
        ("x-Amzn-Invoked-Production-Variant", "B"),
        ("Content-Type", "text/csv"),
        ("X-Amzn-SageMaker-Custom-Attributes", "a=1"),
    ]
    assert reply_headers(REQUEST, None, []) == [("x-amzn-RequestId", REQUEST)]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidRequest("no"), 400, "ValidationError"),
        (errors.NotFound("no"), 400, "ValidationError"),
        (errors.BodyTooLarge("no"), 400, "ValidationError"),
        (errors.QueueFull("no"), 400, "ThrottlingException"),
        (errors.Forbidden("no"), 403, "AccessDeniedException"),
        (errors.HandlerFailed("no"), 424, "ModelError"),
        (errors.UnsupportedMedia("no"), 424, "ModelError"),
        (errors.ReplicaDied("no"), 424, "ModelError"),
        (errors.StartFailed("no"), 424, "ModelError"),
        (errors.EndpointFailed("no"), 424, "ModelError"),
        (errors.ArtifactUnavailable("no"), 424, "ModelError"),
        (errors.EnvironmentFailed("no"), 424, "ModelError"),
        (errors.TimedOut("no"), 424, "ModelError"),
        (errors.NoRoom("no"), 503, "ServiceUnavailable"),
        (errors.Cancelled("no"), 503, "ServiceUnavailable"),
        (errors.ColdsparkError("no"), 500, "InternalFailure"),
        (AuthRefused(RefusalReason.MISSING, "no"), 403, "MissingAuthenticationTokenException"),
        (AuthRefused(RefusalReason.INCOMPLETE, "no"), 400, "IncompleteSignature"),
        (AuthRefused(RefusalReason.MISMATCHED, "no"), 403, "InvalidSignatureException"),
        (AuthRefused(RefusalReason.SKEWED, "no"), 403, "InvalidSignatureException"),
        (AuthRefused(RefusalReason.UNKNOWN_KEY, "no"), 403, "UnrecognizedClientException"),
        (AuthRefused(RefusalReason.UNSUPPORTED, "no"), 400, "IncompleteSignature"),
        (errors.Unauthenticated("no"), 403, "UnrecognizedClientException"),
    ],
)
def test_every_error_has_an_aws_code(error: ColdsparkError, status: int, code: str) -> None:
    """Status and code decide whether boto3 sends the request again: see ``replies``."""
    told_status, headers, body = told(error)

    assert (told_status, headers["x-amzn-errortype"]) == (status, code)
    assert "no" in body["Message"]


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_failure_of_core_has_an_aws_code(kind: FailureKind) -> None:
    """None becomes an InternalFailure: that would be a fault of ours."""
    status, headers, _ = told(Failure(kind=kind, message="no"))

    assert status < 504
    assert headers["x-amzn-errortype"] != "InternalFailure"


@pytest.mark.parametrize("kind", [FailureKind.ENDPOINT_RETIRED, None])
def test_an_endpoint_that_is_not_there_is_told_in_awss_sentence(kind: FailureKind | None) -> None:
    """Whether it never was or was deleted while the request waited."""
    error = errors.NotFound("x") if kind is None else Failure(kind=kind, message="x")

    _, _, body = told(error, endpoint="nope")

    assert body == {"Message": "Endpoint nope of account 123456789012 not found."}


def test_a_full_queue_says_so_and_when_to_come_back() -> None:
    """AWS says ``{"message": null}``; a fraction of a second is rounded up."""
    failure = Failure(
        kind=FailureKind.QUEUE_FULL, message="1000 requests wait already", retry_after_s=0.2
    )
    _, headers, body = told(failure)

    assert headers["Retry-After"] == "1"
    assert body == {"Message": "1000 requests wait already"}


def test_an_oversized_body_names_request_size_and_limit() -> None:
    """AWS's sentence first, then the numbers that it leaves out, and what to do."""
    error = errors.BodyTooLarge("It has 70 MB; the limit is 64 MB.")

    message = told(error, request="r1")[2]["Message"]
    assert message.startswith("Request r1 has oversize body. It has 70 MB; the limit is 64 MB. ")
    assert message.endswith("InvokeEndpointAsync takes its input from S3.")


def test_a_failed_start_shows_its_root_cause_and_the_last_lines() -> None:
    """The lines are those that boto3 prints, so nobody has to search a log group first."""
    failure = Failure(
        kind=FailureKind.START_FAILED,
        message="model file missing: /opt/ml/model/model.pt",
        log_tail=("Traceback …", "FileNotFoundError: model.pt"),
    )
    _, headers, body = told(
        failure, endpoint="churn", stream="B/r-1", request="r1", region="eu-west-1"
    )

    said = "model file missing: /opt/ml/model/model.pt\nTraceback …\nFileNotFoundError: model.pt"
    assert headers["x-amzn-RequestId"] == "r1"
    assert body == {
        "Message": f'Received server error (502) from primary with message "{said}". '
        "See the log group /aws/sagemaker/Endpoints/churn.",
        "OriginalStatusCode": 502,
        "OriginalMessage": said,
        "LogStreamArn": "arn:aws:logs:eu-west-1:123456789012:log-group:"
        "/aws/sagemaker/Endpoints/churn:log-stream:B/r-1",
    }


def test_a_log_tail_is_bounded_from_its_old_end() -> None:
    """The newest lines are kept; the whole stays under 4096 characters."""
    tail = tuple(f"{i} " + "x" * 600 for i in range(50))
    _, _, body = told(Failure(kind=FailureKind.START_FAILED, message="m", log_tail=tail))

    said = body["OriginalMessage"]
    assert len(said) <= 4096
    assert said.splitlines()[-1].startswith("49 ")
    _, _, body = told(Failure(kind=FailureKind.START_FAILED, message="m" * 9000, log_tail=tail))
    assert body["OriginalMessage"] == "m" * 4096


def test_a_timeout_is_told_in_awss_sentence_and_ours() -> None:
    """Clients search for the first; the second says which deadline it was."""
    _, _, body = told(Failure(kind=FailureKind.TIMED_OUT, message="600 s passed, 590 of them cold"))

    assert body["Message"].startswith(
        "Your invocation timed out while waiting for a response from container primary."
    )
    assert body["Message"].endswith("600 s passed, 590 of them cold")
    assert body["OriginalStatusCode"] == 504


@pytest.mark.parametrize(
    ("status", "side"), [(400, "client"), (415, "client"), (500, "server"), (599, "server")]
)
def test_a_replicas_error_status_is_a_model_error(status: int, side: str) -> None:
    """Its status and body are passed on in the fields that boto3 gives them."""
    reply = replica_error_reply(status, b'{"oh": "no"}', endpoint="churn", stream="B/r-1")
    assert reply is not None
    body = json.loads(reply[2])

    assert reply[0] == 424
    assert body["OriginalStatusCode"] == status
    assert body["OriginalMessage"] == '{"oh": "no"}'
    assert body["Message"].startswith(f"Received {side} error ({status}) from primary with message")


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_a_replicas_other_status_is_no_error(status: int) -> None:
    """It is passed on as it is."""
    assert replica_error_reply(status, b"") is None


def test_a_replicas_long_or_binary_body_is_bounded() -> None:
    """Four kilobytes, with signs for what is no text."""
    reply = replica_error_reply(500, b"\xff" * 10_000)
    assert reply is not None
    assert json.loads(reply[2])["OriginalMessage"] == "\ufffd" * 4096
