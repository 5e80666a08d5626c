"""Errors as AWS's services tell them: a type of AWS's own, and a message.

In JSON: ``{"__type": …, "message": …}`` under HTTP 400 (500 for faults of ours, which boto3
retries). In the query protocol: an ``ErrorResponse`` in XML. Clients of CloudWatch that moved from
one to the other (``x-amzn-query-mode``) read the old code from a header.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Never
from xml.sax.saxutils import escape

from coldspark.errors import ColdsparkError, InvalidRequest
from coldspark.http.auth.refusals import AuthRefused, RefusalReason

AUTH_CODES = {
    RefusalReason.MISSING: "MissingAuthenticationTokenException",
    RefusalReason.INCOMPLETE: "IncompleteSignature",
    RefusalReason.MISMATCHED: "InvalidSignatureException",
    RefusalReason.SKEWED: "InvalidSignatureException",
    RefusalReason.EXPIRED: "InvalidSignatureException",
    RefusalReason.UNKNOWN_KEY: "UnrecognizedClientException",
    RefusalReason.UNSUPPORTED: "IncompleteSignature",
}
DEFAULT_TYPES: Mapping[str, str] = {
    "InvalidRequest": "ValidationException",
    "NotFound": "ValidationException",
    "AlreadyExists": "ValidationException",
    "NoRoom": "ValidationException",
    "BodyTooLarge": "ValidationException",
    "ArtifactUnavailable": "ValidationException",
    "EnvironmentFailed": "ValidationException",
    "Conflict": "ValidationException",
    "Forbidden": "AccessDeniedException",
    "Unauthenticated": "UnrecognizedClientException",
}
"""By ``ColdsparkError.code``; a service may say some of it in other words."""

_MESSAGE_CHARS_MAX = 8_192
_LOG_LINES_MAX = 20
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class AwsError(InvalidRequest):
    """Refuse a call with one of AWS's own error types."""

    def __init__(
        self, aws_type: str, message: str, *, field: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message, field=field)
        self.aws_type = aws_type
        self.status = status


def invalid(message: str, *, field: str | None = None) -> Never:
    """Raise a ValidationException."""
    raise AwsError("ValidationException", message, field=field)


@dataclass(frozen=True, slots=True)
class AwsErrorReply:
    """An error in AWS's words."""

    aws_type: str
    message: str
    status: int

    @property
    def is_ours(self) -> bool:
        """Return whether the fault is the server's."""
        return self.status >= 500


def to_aws_error(error: ColdsparkError, types: Mapping[str, str] = DEFAULT_TYPES) -> AwsErrorReply:
    """Return how a service that says things in ``types`` tells an error."""
    lines = "\n".join([error.message, *error.log_tail[-_LOG_LINES_MAX:]])
    message = lines[:_MESSAGE_CHARS_MAX]
    if isinstance(error, AwsError):
        return AwsErrorReply(error.aws_type, message, error.status)
    if isinstance(error, AuthRefused):
        return AwsErrorReply(AUTH_CODES[error.reason], message, 400)
    aws_type = types.get(error.code)
    if aws_type is None:
        return AwsErrorReply("InternalFailure", message, 500)
    return AwsErrorReply(aws_type, message, 400)


def json_body(error: AwsErrorReply) -> bytes:
    """Return the body in the JSON protocols."""
    return json.dumps({"__type": error.aws_type, "message": error.message}).encode()


def query_header(error: AwsErrorReply) -> tuple[str, str]:
    """Return the header from which clients of a service that once spoke query read the code."""
    fault = "Receiver" if error.is_ours else "Sender"
    return "x-amzn-query-error", f"{error.aws_type};{fault}"


def xml_text(text: str) -> str:
    """Return a text as XML has it. What XML cannot say, such as NUL, is shown as U+FFFD."""
    return escape(_NOT_XML.sub("\ufffd", text))


def xml_body(error: AwsErrorReply, namespace: str, request_id: str) -> bytes:
    """Return the body in the query protocol."""
    fault = "Receiver" if error.is_ours else "Sender"
    return (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{fault}</Type>'
        f"<Code>{error.aws_type}</Code><Message>{xml_text(error.message)}</Message></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()
