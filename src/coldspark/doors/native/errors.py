"""Errors in the native API's words: ``{"error": {"code": …, "message": …}}``."""

import msgspec

from coldspark.errors import ColdsparkError
from coldspark.http import replies
from coldspark.http.door import Reply


class ErrorDetail(msgspec.Struct, omit_defaults=True):
    """What went wrong. Absent fields do not apply."""

    code: str
    """One of the codes in `coldspark.errors`."""
    message: str
    field: str | None = None
    """The field of the request that was wrong."""
    log_tail: list[str] | None = None
    """The replica's last lines, oldest first."""
    retry_after_s: float | None = None
    request_id: str | None = None
    near: list[str] | None = None
    """Routes that look like the one asked for."""


class ErrorBody(msgspec.Struct):
    """The body of every error."""

    error: ErrorDetail


_JSON = ("content-type", "application/json")


def error_reply(error: ColdsparkError, request: str | None = None) -> Reply:
    """Return status, headers and body that tell an error."""
    headers = [_JSON]
    if error.retry_after_s is not None:
        headers.append(("retry-after", replies.retry_after(error.retry_after_s)))
    if error.http_status == 401:
        headers.append(("www-authenticate", 'Bearer realm="coldspark"'))
    return error.http_status, headers, error_json(error, request)


def error_json(error: ColdsparkError, request: str | None = None) -> bytes:
    """Return the JSON body that tells an error."""
    detail = ErrorDetail(
        code=error.code,
        message=error.message,
        field=error.field,
        log_tail=list(error.log_tail) or None,
        retry_after_s=error.retry_after_s,
        request_id=request,
    )
    return msgspec.json.encode(ErrorBody(detail))
