"""Errors of the control plane in SageMaker's words.

"Not found" and "exists already" are ValidationExceptions, also on AWS: the waiter for a deleted
endpoint relies on it.
"""

from typing import Never

from coldspark.doors.aws.protocol.errors import DEFAULT_TYPES, invalid

TYPES = {**DEFAULT_TYPES, "Conflict": "ResourceInUse"}


def not_found(noun: str, arn: str) -> Never:
    """Raise AWS's words for a name that is not there; ``noun`` as AWS writes it out."""
    invalid(f'Could not find {noun} "{arn}".')


def already_exists(noun: str, arn: str) -> Never:
    """Raise AWS's words for a name that is taken."""
    invalid(f'Cannot create already existing {noun} "{arn}".')
