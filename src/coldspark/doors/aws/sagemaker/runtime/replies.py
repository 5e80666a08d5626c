"""Errors of an invocation in AWS's words: the header ``x-amzn-errortype`` and a JSON body.

Which error says what also decides whether boto3 (standard mode, 3 attempts) sends it again:

==================== ====================== ====== ============ ==================================
what happened        AWS error              status boto3 resends why that is wanted
==================== ====================== ====== ============ ==================================
bad request, no such ValidationError        400    no           it would fail again
  endpoint, oversize
queue full           ThrottlingException    400    yes          it has not run; a slot may free up
handler failed, HTTP ModelError             424    no           it ran: the GPU would pay twice
  status 4xx or 5xx
replica died         ModelError             424    no           the request may be what killed it
start failed, start  ModelError             424    no           the same start fails the same way,
  failures exhausted                                            and the caller should see why now
deadline passed      ModelError             424    no           the time is up, and it may have run
no room              ServiceUnavailable     503    yes          it has not run; others may stop
caller gone          ServiceUnavailable     503    yes          nobody reads it but at a shutdown
fault of ours        InternalFailure        500    yes          as AWS
not known who calls  see ``AUTH_CODES``     403    no           it would fail again
==================== ====================== ====== ============ ==================================

So ``EndpointFailed`` is a ModelError and not the 503 that its class would suggest: what fails is
the model, and a retry a second later meets the same back-off.
"""

import json
import math
from collections.abc import Sequence

from coldspark.doors.aws.protocol.credential_scope import ACCOUNT, DEFAULT_REGION
from coldspark.doors.aws.protocol.errors import AUTH_CODES
from coldspark.doors.aws.sagemaker.arns import log_group, log_stream_arn
from coldspark.errors import ColdsparkError
from coldspark.http.auth.refusals import AuthRefused
from coldspark.platform.ports import Receipt
from coldspark.spec.types import Failure, FailureKind

Reply = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers, body."""

_MESSAGE_CHARS_MAX = 4_096
_LOG_LINES_MAX = 20
_LOG_LINE_CHARS_MAX = 500

# Status in the place of the container's own, for failures that have none.
_MODEL_ERRORS = {
    "HandlerFailed": 500,
    "UnsupportedMedia": 415,
    "ReplicaDied": 502,
    "StartFailed": 502,
    "ArtifactUnavailable": 502,
    "EnvironmentFailed": 502,
    "EndpointFailed": 503,
    "TimedOut": 504,
}
_OTHERS = {
    "InvalidRequest": ("ValidationError", 400),
    "NotFound": ("ValidationError", 400),
    "EndpointRetired": ("ValidationError", 400),
    "BodyTooLarge": ("ValidationError", 400),
    "AlreadyExists": ("ValidationError", 400),
    "Conflict": ("ValidationError", 400),
    "ComponentNeeded": ("ValidationError", 400),
    "QueueFull": ("ThrottlingException", 400),
    "Forbidden": ("AccessDeniedException", 403),
    "Unauthenticated": ("UnrecognizedClientException", 403),
    "NoRoom": ("ServiceUnavailable", 503),
    "RouterGone": ("ServiceUnavailable", 503),
    "Cancelled": ("ServiceUnavailable", 503),
    "StorageFull": ("ServiceUnavailable", 503),
}
_OVERSIZE_CURE = (
    "With COLDSPARK_BODY_LIMIT a model asks for more; InvokeEndpointAsync takes its input from S3."
)
_COMPONENT_NEEDED = (
    "Inference Component Name header is required for endpoints to which you plan to deploy"
    " inference components. Please include Inference Component Name header or consider using"
    " SageMaker models."
)
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. "
    "Review the latency metrics for each container in Amazon CloudWatch, resolve the issue, "
    "and try again."
)


def error_reply(
    error: ColdsparkError | Failure,
    *,
    request: str | None = None,
    endpoint: str | None = None,
    stream: str | None = None,
    region: str = DEFAULT_REGION,
) -> Reply:
    """Return the reply that tells ``error``; the names, where known, make it more precise.

    ``stream``: the log stream of the replica that worked on it.
    """
    code = _code(error)
    if code in _MODEL_ERRORS:
        status, said = _MODEL_ERRORS[code], _with_log(error.message, error.log_tail)
        words = f"{_TIMED_OUT} {said}" if code == "TimedOut" else _sentence(status, said, endpoint)
        return _model_error(status, said, words, request, endpoint, stream, region)
    aws_code, status = _OTHERS.get(code, ("InternalFailure", 500))
    if isinstance(error, AuthRefused):
        aws_code = AUTH_CODES[error.reason]
        status = 400 if aws_code == "IncompleteSignature" else 403
    body: dict[str, object] = {"Message": _words(code, error.message, request, endpoint)}
    return status, _headers(aws_code, request, error.retry_after_s), _json(body)


def replica_error_reply(
    status: int,
    body: bytes,
    *,
    request: str | None = None,
    endpoint: str | None = None,
    stream: str | None = None,
    region: str = DEFAULT_REGION,
) -> Reply | None:
    """Return the ModelError for what a replica replied, or None if its status is below 400."""
    if status < 400:
        return None
    said = body[:_MESSAGE_CHARS_MAX].decode("utf-8", "replace")
    words = _sentence(status, said, endpoint)
    return _model_error(status, said, words, request, endpoint, stream, region)


def log_stream(receipt: Receipt | None) -> str | None:
    """Return the name of the log stream of the replica that worked on a request."""
    if receipt is None or receipt.usage.replica is None:
        return None
    return f"{receipt.usage.variant}/{receipt.usage.replica}"


def is_models_fault(error: ColdsparkError) -> bool:
    """Return whether an error is told as the model's own."""
    return error.code in _MODEL_ERRORS


def _code(error: ColdsparkError | Failure) -> str:
    return error.kind.value if isinstance(error, Failure) else error.code


def _words(code: str, message: str, request: str | None, endpoint: str | None) -> str:
    """Put AWS's own sentence, which callers may search for, before ours."""
    if code in ("NotFound", "EndpointRetired") and endpoint is not None:
        return f"Endpoint {endpoint[:256]} of account {ACCOUNT} not found."
    if code == "ComponentNeeded":
        return f"{_COMPONENT_NEEDED} ({message})"
    if code == "BodyTooLarge":
        said = f"{message.removesuffix('.')}. {_OVERSIZE_CURE}"
        return f"Request {request} has oversize body. {said}" if request else said
    return message


def _sentence(status: int, said: str, endpoint: str | None) -> str:
    side = "server" if status >= 500 else "client"
    text = f'Received {side} error ({status}) from primary with message "{said}".'
    return text if endpoint is None else f"{text} See the log group {log_group(endpoint)}."


def _with_log(message: str, log_tail: Sequence[str]) -> str:
    """Put the replica's last lines after the message; the whole stays within its bound."""
    lines = [line[:_LOG_LINE_CHARS_MAX] for line in log_tail[-_LOG_LINES_MAX:]]
    text = message[:_MESSAGE_CHARS_MAX]
    while lines and len(text) + sum(len(line) + 1 for line in lines) > _MESSAGE_CHARS_MAX:
        del lines[0]
    return "\n".join([text, *lines])


def _model_error(
    status: int,
    said: str,
    words: str,
    request: str | None,
    endpoint: str | None,
    stream: str | None,
    region: str,
) -> Reply:
    body: dict[str, object] = {
        "Message": words,
        "OriginalStatusCode": status,
        "OriginalMessage": said,
    }
    if endpoint is not None:
        body["LogStreamArn"] = log_stream_arn(endpoint, stream, region)
    return 424, _headers("ModelError", request, None), _json(body)


def _headers(
    aws_code: str, request: str | None, retry_after_s: float | None
) -> list[tuple[str, str]]:
    headers = [("Content-Type", "application/json"), ("x-amzn-errortype", aws_code)]
    if request is not None:
        headers.append(("x-amzn-RequestId", request))
    if retry_after_s is not None:
        headers.append(("Retry-After", str(max(1, math.ceil(retry_after_s)))))
    return headers


def _json(body: dict[str, object]) -> bytes:
    return json.dumps(body).encode()


_UNTOLD = {kind.value for kind in FailureKind} - _MODEL_ERRORS.keys() - _OTHERS.keys()
assert not _UNTOLD, f"no AWS error for {_UNTOLD}"
