"""Errors as S3 tells them: a code, a status, and a body in XML."""

from collections.abc import Mapping
from typing import Never

from coldspark.doors.aws.s3.xml import DECLARATION, Malformed, node, text
from coldspark.errors import BodyTooLarge, ColdsparkError, InvalidRequest
from coldspark.http.auth.refusals import AuthRefused, RefusalReason
from coldspark.objects.records import (
    BucketNotEmpty,
    ConditionFailed,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
)

_BY_REASON = {
    RefusalReason.MISSING: ("AccessDenied", 403),
    RefusalReason.INCOMPLETE: ("AuthorizationHeaderMalformed", 400),
    RefusalReason.MISMATCHED: ("SignatureDoesNotMatch", 403),
    RefusalReason.SKEWED: ("RequestTimeTooSkewed", 403),
    RefusalReason.EXPIRED: ("AccessDenied", 403),
    RefusalReason.UNKNOWN_KEY: ("InvalidAccessKeyId", 403),
    RefusalReason.UNSUPPORTED: ("AccessDenied", 403),
}
_BY_KIND: Mapping[type[ColdsparkError], tuple[str, int]] = {
    NoSuchBucket: ("NoSuchBucket", 404),
    NoSuchKey: ("NoSuchKey", 404),
    NoSuchUpload: ("NoSuchUpload", 404),
    BucketNotEmpty: ("BucketNotEmpty", 409),
    ConditionFailed: ("PreconditionFailed", 412),
    Malformed: ("MalformedXML", 400),
    BodyTooLarge: ("EntityTooLarge", 400),
}
_BY_CODE = {
    "InvalidRequest": ("InvalidRequest", 400),
    "NotFound": ("NoSuchKey", 404),
    "Forbidden": ("AccessDenied", 403),
    "Conflict": ("OperationAborted", 409),
    "StorageFull": ("InsufficientStorage", 507),
}


class S3Error(InvalidRequest):
    """Refuse a call with one of S3's own codes."""

    def __init__(self, s3_code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.s3_code = s3_code
        self.status = status


def not_implemented(what: str, cure: str) -> Never:
    """Raise NotImplemented: name what is missing, and what to do instead."""
    raise S3Error("NotImplemented", f"{what} is not implemented here: {cure}.", 501)


def code_of(error: ColdsparkError) -> tuple[str, int]:
    """Return S3's code and status for an error."""
    if isinstance(error, S3Error):
        return error.s3_code, error.status
    if isinstance(error, AuthRefused):
        return _BY_REASON[error.reason]
    return _BY_KIND.get(type(error)) or _BY_CODE.get(error.code, ("InternalError", 500))


def body_of(error: ColdsparkError, resource: str, request_id: str) -> bytes:
    """Return an error's body."""
    code, _ = code_of(error)
    inner = node(
        "Error",
        text("Code", code),
        text("Message", error.message[:4_096]),
        text("Resource", resource[:2_048]),
        text("RequestId", request_id),
    )
    return (DECLARATION + inner).encode("utf-8", "replace")
