"""Errors in CloudWatch's words."""

from collections.abc import Mapping
from typing import Never

from coldspark.doors.aws.protocol.errors import DEFAULT_TYPES, AwsError

TYPES: Mapping[str, str] = {
    **DEFAULT_TYPES,
    "InvalidRequest": "ValidationError",
    "NotFound": "ResourceNotFound",
    "Conflict": "ResourceConflict",
    "BodyTooLarge": "RequestEntityTooLarge",
}


def bad_value(message: str) -> Never:
    """Refuse a value that its shape allows."""
    raise AwsError("InvalidParameterValue", message)


def bad_combination(message: str) -> Never:
    """Refuse members that do not go together."""
    raise AwsError("InvalidParameterCombination", message)


def not_valid(message: str) -> Never:
    """Refuse what newer operations call a ValidationError."""
    raise AwsError("ValidationError", message)


def bad_token() -> Never:
    """Refuse a token of another list."""
    raise AwsError("InvalidNextToken", "Request parameter NextToken is invalid")
