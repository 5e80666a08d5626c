"""Errors as OpenAI's clients read them: ``{"error": {"message", "type", "param", "code"}}``.

The client retries 408, 409, 429 and every 5xx unless ``x-should-retry: false`` says no. It does
where the request has run, or where the same start would fail again: the GPU is not paid twice.
"""

import msgspec

from coldspark.errors import ColdsparkError
from coldspark.http import replies
from coldspark.http.door import Reply

_CODES = {
    "InvalidRequest": ("invalid_request_error", "invalid_request"),
    "Unauthenticated": ("authentication_error", "invalid_api_key"),
    "Forbidden": ("permission_error", "insufficient_permissions"),
    "NotFound": ("invalid_request_error", "model_not_found"),
    "EndpointRetired": ("invalid_request_error", "model_not_found"),
    "BodyTooLarge": ("invalid_request_error", "request_too_large"),
    "UnsupportedMedia": ("invalid_request_error", "unsupported_media_type"),
    "AlreadyExists": ("invalid_request_error", "already_exists"),
    "Conflict": ("invalid_request_error", "conflict"),
    "ComponentNeeded": ("invalid_request_error", "component_needed"),
    "Cancelled": ("invalid_request_error", "request_cancelled"),
    "QueueFull": ("rate_limit_error", "rate_limit_exceeded"),
    "NoRoom": ("server_error", "no_room"),
    "RouterGone": ("server_error", "router_gone"),
    "StorageFull": ("server_error", "storage_full"),
    "ArtifactUnavailable": ("server_error", "artifact_unavailable"),
    "EnvironmentFailed": ("server_error", "environment_failed"),
    "EndpointFailed": ("server_error", "endpoint_failed"),
    "StartFailed": ("server_error", "start_failed"),
    "ReplicaDied": ("server_error", "replica_died"),
    "HandlerFailed": ("server_error", "handler_failed"),
    "TimedOut": ("timeout_error", "timeout"),
}
_NOT_AGAIN = frozenset(
    {
        "HandlerFailed",
        "ReplicaDied",
        "StartFailed",
        "ArtifactUnavailable",
        "EnvironmentFailed",
        "EndpointFailed",
        "TimedOut",
    }
)
_MODEL_STATUS = {"EndpointRetired": 404}


class OpenAIErrorDetail(msgspec.Struct):
    """OpenAI's error object. All four fields are always there."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorBody(msgspec.Struct):
    """The body of every error."""

    error: OpenAIErrorDetail


def error_reply(error: ColdsparkError) -> Reply:
    """Return status, headers and body that tell an error."""
    headers = [("content-type", "application/json")]
    if error.retry_after_s is not None:
        headers.append(("retry-after", replies.retry_after(error.retry_after_s)))
    if error.code in _NOT_AGAIN:
        headers.append(("x-should-retry", "false"))
    return _MODEL_STATUS.get(error.code, error.http_status), headers, error_json(error)


def error_json(error: ColdsparkError) -> bytes:
    """Return the JSON body that tells an error."""
    kind, code = _CODES.get(error.code, ("server_error", "internal_error"))
    param = "model" if code == "model_not_found" else error.field
    message = "\n".join([error.message, *error.log_tail])
    return msgspec.json.encode(OpenAIErrorBody(OpenAIErrorDetail(message, kind, param, code)))
