"""From a failure that core decided to the error class that the doors translate."""

from coldspark.errors import BY_CODE, ColdsparkError
from coldspark.spec.types import Failure, FailureKind


def error_class(kind: FailureKind) -> type[ColdsparkError]:
    """Return the class whose ``code`` is ``kind``."""
    return BY_CODE[kind]


def error_from(failure: Failure) -> ColdsparkError:
    """Return the error to tell a caller."""
    kind = error_class(failure.kind)
    return kind(failure.message, log_tail=failure.log_tail, retry_after_s=failure.retry_after_s)
