"""Errors in CloudWatch Logs' words."""

from typing import Never

from coldspark.doors.aws.protocol.errors import DEFAULT_TYPES, AwsError

TYPES = {
    **DEFAULT_TYPES,
    "InvalidRequest": "InvalidParameterException",
    "BodyTooLarge": "InvalidParameterException",
    "NotFound": "ResourceNotFoundException",
    "AlreadyExists": "ResourceAlreadyExistsException",
    "Conflict": "OperationAbortedException",
}


def refuse(message: str) -> Never:
    """Raise an InvalidParameterException."""
    raise AwsError("InvalidParameterException", message)


def no_group() -> Never:
    """Refuse a group that is not there."""
    raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")


def no_stream() -> Never:
    """Refuse a stream that is not there."""
    raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")


def bad_token() -> Never:
    """Refuse a token that was not given."""
    refuse("The specified nextToken is invalid.")
