"""From a failure that core decided to the error class that the doors translate."""

from coldspark import errors
from coldspark.core.types import Failure, FailureKind
from coldspark.errors import ColdsparkError

_CLASSES: dict[FailureKind, type[ColdsparkError]] = {
    FailureKind.QUEUE_FULL: errors.QueueFull,
    FailureKind.TIMED_OUT: errors.TimedOut,
    FailureKind.CANCELLED: errors.Cancelled,
    FailureKind.START_FAILED: errors.StartFailed,
    FailureKind.ENDPOINT_FAILED: errors.EndpointFailed,
    FailureKind.ENDPOINT_RETIRED: errors.EndpointRetired,
    FailureKind.REPLICA_DIED: errors.ReplicaDied,
    FailureKind.NO_ROOM: errors.NoRoom,
    FailureKind.HANDLER_FAILED: errors.HandlerFailed,
    FailureKind.UNSUPPORTED_MEDIA: errors.UnsupportedMedia,
    FailureKind.BODY_TOO_LARGE: errors.BodyTooLarge,
    FailureKind.STORAGE_FULL: errors.StorageFull,
}


def error_class(kind: FailureKind) -> type[ColdsparkError]:
    """Return the class whose ``code`` is ``kind``."""
    return _CLASSES[kind]


def error_from(failure: Failure, *, was_taken: bool) -> ColdsparkError:
    """Return the error to tell a caller; an endpoint that never was there is NotFound."""
    kind = error_class(failure.kind)
    if kind is errors.EndpointRetired and not was_taken:
        kind = errors.NotFound
    return kind(failure.message, log_tail=failure.log_tail, retry_after_s=failure.retry_after_s)
