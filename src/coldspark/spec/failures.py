"""The failures that fleets decide, with messages that name the cure."""

from coldspark.spec.multi_model import target_problem
from coldspark.spec.types import Exit, Failure, FailureKind, FleetId

LOG_TAIL_MAX = 20
_TARGET_CHARS = 256


def queue_full(queued: int, queue_max: int, wait_s: float | None) -> Failure:
    """Return a failure with the queue's length and limit."""
    return Failure(
        kind=FailureKind.QUEUE_FULL,
        message=f"{queued} requests wait already (queue_max={queue_max});{_expected(wait_s)}"
        " retry later, or raise replicas_max or queue_max",
        retry_after_s=wait_s or 1.0,
    )


def queue_bytes_full(queued_bytes: int, limit_bytes: int, wait_s: float | None) -> Failure:
    """Return a failure with the bytes that wait and the limit."""
    return Failure(
        kind=FailureKind.QUEUE_FULL,
        message=f"{queued_bytes} bytes wait already (queue_bytes_max={limit_bytes});"
        f"{_expected(wait_s)} retry later, or raise queue_bytes_max",
        retry_after_s=wait_s or 1.0,
    )


def _expected(wait_s: float | None) -> str:
    return "" if wait_s is None else f" expected wait {wait_s:.1f} s;"


def timed_out(timeout_s: float, whereabouts: str, limit: str = "request_timeout_s") -> Failure:
    """Return a failure with the limit that passed, and the phase."""
    return Failure(
        kind=FailureKind.TIMED_OUT,
        message=f"no answer within {timeout_s:g} s ({limit}): the limit passed {whereabouts}",
    )


def storage_full() -> Failure:
    """Return the failure of work that could not be billed."""
    return Failure(
        kind=FailureKind.STORAGE_FULL,
        message="the disk refuses the ledger's lines, and nothing runs unbilled: free space in the"
        " data directory; requests are taken again as soon as it can be written",
        retry_after_s=1.0,
    )


def no_target(target: str | None, *, has_many: bool) -> Failure | None:
    """Return why a request's target does not fit its variant, or None if it does."""
    if target is None:
        if not has_many:
            return None
        message = "This endpoint has many models: say which one as TargetModel."
    elif not has_many:
        message = (
            f"TargetModel {target[:_TARGET_CHARS]!r}: this endpoint has one model. Leave it out, or"
            " create its model with Mode MultiModel."
        )
    else:
        problem = target_problem(target)
        if problem is None:
            return None
        message = f"TargetModel {target[:_TARGET_CHARS]!r} cannot be used: {problem}."
    return Failure(kind=FailureKind.INVALID_REQUEST, message=message)


def cancelled() -> Failure:
    """Return the failure of a request whose caller disconnected."""
    return Failure(kind=FailureKind.CANCELLED, message="the caller hung up")


def retired(fleet: FleetId) -> Failure:
    """Return the failure of a request to an endpoint that is deleted."""
    return Failure(
        kind=FailureKind.ENDPOINT_RETIRED, message=f"endpoint {fleet.split('/')[0]} was deleted"
    )


def start_failed(exit: Exit) -> Failure:
    """Return a failure with how the start ended, and the end of its log."""
    return Failure(
        kind=FailureKind.START_FAILED,
        message=f"the replica could not start: {exit.cause}: {exit.message}",
        log_tail=exit.log_tail[-LOG_TAIL_MAX:],
    )


def replica_died(exit: Exit) -> Failure:
    """Return a failure with how the replica ended in the middle of the request."""
    return Failure(
        kind=FailureKind.REPLICA_DIED,
        message=f"the replica died while it worked on the request: {exit.cause}: {exit.message}",
        log_tail=exit.log_tail[-LOG_TAIL_MAX:],
    )


def no_capacity(reason: str) -> Failure:
    """Return a failure with why no node can hold the replica."""
    return Failure(kind=FailureKind.NO_ROOM, message=reason)


def endpoint_failed(last: Failure, retry_s: float) -> Failure:
    """Return the last failure again while no start is tried."""
    return Failure(
        kind=FailureKind.ENDPOINT_FAILED,
        message=f"the endpoint FAILED and tries no start for {retry_s:.0f} s; deploy a cure to"
        f" start at once. Last failure: {last.message}",
        log_tail=last.log_tail,
        retry_after_s=retry_s,
    )
