"""Every failure of the world that a caller can be told about, each with its code and status.

The tree (a door translates ``code`` into its vendor's own words):

    ColdsparkError                 Internal              500
    ├── InvalidRequest             InvalidRequest        400
    ├── Unauthenticated            Unauthenticated       401
    ├── Forbidden                  Forbidden             403
    ├── NotFound                   NotFound              404
    ├── AlreadyExists              AlreadyExists         409
    ├── Conflict                   Conflict              409
    ├── BodyTooLarge               BodyTooLarge          413
    ├── UnsupportedMedia           UnsupportedMedia      415
    ├── Cancelled                  Cancelled             499
    ├── QueueFull                  QueueFull             429
    ├── HandlerFailed              HandlerFailed         500
    ├── ReplicaDied                ReplicaDied           502
    ├── StartFailed                StartFailed           502
    ├── EndpointFailed             EndpointFailed        503
    ├── EndpointRetired            EndpointRetired       503
    ├── NoRoom                     NoRoom                503
    ├── RouterGone                 RouterGone            503
    ├── TimedOut                   TimedOut              504
    ├── StorageFull                StorageFull           507
    ├── ArtifactUnavailable        ArtifactUnavailable   424
    └── EnvironmentFailed          EnvironmentFailed     424
"""

from typing import ClassVar


class ColdsparkError(Exception):
    """Say what was wrong, with which value, and what to do about it."""

    code: ClassVar[str] = "Internal"
    http_status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        log_tail: tuple[str, ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.log_tail = log_tail
        self.retry_after_s = retry_after_s


class InvalidRequest(ColdsparkError):
    """Refuse what the caller sent: name the field, the value and the cure."""

    code = "InvalidRequest"
    http_status = 400


class Unauthenticated(ColdsparkError):
    """Refuse a caller who shows no key, or one that does not verify."""

    code = "Unauthenticated"
    http_status = 401


class Forbidden(ColdsparkError):
    """Refuse a caller whose key lacks the scope."""

    code = "Forbidden"
    http_status = 403


class NotFound(ColdsparkError):
    """Say which name does not exist."""

    code = "NotFound"
    http_status = 404


class AlreadyExists(ColdsparkError):
    """Say which name is taken."""

    code = "AlreadyExists"
    http_status = 409


class Conflict(ColdsparkError):
    """Refuse a change that the present state does not allow."""

    code = "Conflict"
    http_status = 409


class ComponentNeeded(ColdsparkError):
    """Refuse a request that names no component of an endpoint that has components."""

    code = "ComponentNeeded"
    http_status = 400


class BodyTooLarge(ColdsparkError):
    """Refuse a body over the limit: state both sizes."""

    code = "BodyTooLarge"
    http_status = 413


class UnsupportedMedia(ColdsparkError):
    """Refuse a content type that the handler does not read or write."""

    code = "UnsupportedMedia"
    http_status = 415


class Cancelled(ColdsparkError):
    """Tell (the ledger, mostly) that the caller hung up."""

    code = "Cancelled"
    http_status = 499


class QueueFull(ColdsparkError):
    """Refuse a request that would wait behind too many others."""

    code = "QueueFull"
    http_status = 429


class HandlerFailed(ColdsparkError):
    """Pass on what the user's own code raised."""

    code = "HandlerFailed"
    http_status = 500


class ReplicaDied(ColdsparkError):
    """Tell that the replica's process ended while it held the request."""

    code = "ReplicaDied"
    http_status = 502


class StartFailed(ColdsparkError):
    """Tell that the replica that the request waited for could not start."""

    code = "StartFailed"
    http_status = 502


class EndpointFailed(ColdsparkError):
    """Tell that starts failed so often that no more are tried for now."""

    code = "EndpointFailed"
    http_status = 503


class EndpointRetired(ColdsparkError):
    """Tell that the endpoint was deleted while the request waited."""

    code = "EndpointRetired"
    http_status = 503


class NoRoom(ColdsparkError):
    """Tell that no node can hold the replica, and which type would."""

    code = "NoRoom"
    http_status = 503


class RouterGone(ColdsparkError):
    """Say that the process which owns the endpoint has ended and is being started anew."""

    code = "RouterGone"
    http_status = 503


class TimedOut(ColdsparkError):
    """Tell that the request's one deadline passed."""

    code = "TimedOut"
    http_status = 504


class StorageFull(ColdsparkError):
    """Refuse a request whose cost could not be written down."""

    code = "StorageFull"
    http_status = 507


class ArtifactUnavailable(ColdsparkError):
    """Tell that model data could not be fetched or unpacked."""

    code = "ArtifactUnavailable"
    http_status = 424


class EnvironmentFailed(ColdsparkError):
    """Tell that the Python environment could not be built."""

    code = "EnvironmentFailed"
    http_status = 424


BY_CODE: dict[str, type[ColdsparkError]] = {ColdsparkError.code: ColdsparkError} | {
    kind.code: kind for kind in ColdsparkError.__subclasses__()
}
"""Every class above by its code."""
