"""Errors of the control plane: HTTP 400 with ``__type`` and ``message``, as AWS JSON 1.1 has them.

"Not found" and "exists already" are ValidationExceptions, also on AWS: the waiter for a deleted
endpoint relies on it. A fault of ours is an InternalFailure with status 500, which boto3 retries.
"""

import json
from typing import Never

from coldspark.errors import ColdsparkError, InvalidRequest
from coldspark.gateway.auth.refusals import AuthRefused
from coldspark.gateway.sagemaker.replies import AUTH_CODES

CONTENT_TYPE = "application/x-amz-json-1.1"

_TYPES = {
    "InvalidRequest": "ValidationException",
    "NotFound": "ValidationException",
    "AlreadyExists": "ValidationException",
    "NoRoom": "ValidationException",
    "BodyTooLarge": "ValidationException",
    "ArtifactUnavailable": "ValidationException",
    "EnvironmentFailed": "ValidationException",
    "Conflict": "ResourceInUse",
    "Forbidden": "AccessDeniedException",
    "Unauthenticated": "UnrecognizedClientException",
}


class AwsError(InvalidRequest):
    """Refuse a call with one of AWS's own error types."""

    def __init__(self, aws_type: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.aws_type = aws_type


def invalid(message: str, *, field: str | None = None) -> Never:
    """Raise a ValidationException."""
    raise AwsError("ValidationException", message, field=field)


def not_found(noun: str, arn: str) -> Never:
    """Raise AWS's words for a name that is not there; ``noun`` as AWS writes it out."""
    invalid(f'Could not find {noun} "{arn}".')


def already_exists(noun: str, arn: str) -> Never:
    """Raise AWS's words for a name that is taken."""
    invalid(f'Cannot create already existing {noun} "{arn}".')


def error_body(error: ColdsparkError) -> tuple[int, bytes]:
    """Return status and body of the reply that tells ``error``."""
    if isinstance(error, AwsError):
        aws_type = error.aws_type
    elif isinstance(error, AuthRefused):
        aws_type = AUTH_CODES[error.reason]
    else:
        aws_type = _TYPES.get(error.code, "InternalFailure")
    status = 500 if aws_type == "InternalFailure" else 400
    lines = "\n".join([error.message, *error.log_tail[-20:]])
    return status, json.dumps({"__type": aws_type, "message": lines[:8_192]}).encode()
