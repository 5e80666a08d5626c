"""``POST /endpoints/{name}/invocations`` and ``…-response-stream``: from a head to an invocation.

Pure functions for the hot path. Headers that ask for something that is not done here are refused;
of the others a replica sees those that AWS passes to a container, and no more.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from coldspark.doors.aws.sagemaker.runtime import event_stream
from coldspark.doors.aws.sagemaker.runtime.replies import (
    error_reply,
    log_stream,
    replica_error_reply,
)
from coldspark.errors import InvalidRequest
from coldspark.platform.ports import Invocation
from coldspark.spec.multi_model import TARGET_CHARS_MAX
from coldspark.spec.types import EndpointName, RequestId, VariantName

__all__ = [
    "error_reply",
    "invocation",
    "log_stream",
    "match",
    "match_stream",
    "replica_error_reply",
    "reply_headers",
    "stream_headers",
]

_PREFIX = "/endpoints/"
_SUFFIX = "/invocations"
_STREAM_SUFFIX = "/invocations-response-stream"
_STREAM_ACCEPT = "x-amzn-sagemaker-accept"
_HEADER = "x-amzn-sagemaker-"
_VARIANT = "x-amzn-sagemaker-target-variant"
_COMPONENT = "x-amzn-sagemaker-inference-component"
_TARGET = "x-amzn-sagemaker-target-model"

_PASSED = {
    "x-amzn-sagemaker-custom-attributes": 1_024,
    "x-amzn-sagemaker-inference-id": 64,
    _TARGET: TARGET_CHARS_MAX,
}
"""What a replica sees, and the most characters that AWS lets it have."""
_PASSED_BACK = {
    "x-amzn-sagemaker-custom-attributes": "X-Amzn-SageMaker-Custom-Attributes",
    "content-type": "Content-Type",
}
_REFUSED = {
    "x-amzn-sagemaker-target-container-hostname": (
        "TargetContainerHostname: endpoints with several containers are not supported yet"
    ),
    "x-amzn-sagemaker-enable-explanations": "EnableExplanations: explainers are not supported yet",
    "x-amzn-sagemaker-session-id": "SessionId: stateful sessions are not supported yet",
    "x-amzn-sagemaker-prefix-aware-id": "PrefixAwareId: prefix-aware routing is not supported yet",
}


def match(method: str, raw_path: str) -> str | None:
    """Return the endpoint's name, decoded, if this is an invocation; ``raw_path`` has no query."""
    return _name(method, raw_path, _SUFFIX)


def match_stream(method: str, raw_path: str) -> str | None:
    """Return the endpoint's name, decoded, if this asks for a stream of events."""
    return _name(method, raw_path, _STREAM_SUFFIX)


def _name(method: str, raw_path: str, suffix: str) -> str | None:
    if method != "POST" or not raw_path.startswith(_PREFIX) or not raw_path.endswith(suffix):
        return None
    name = raw_path[len(_PREFIX) : -len(suffix)]
    if not name or "/" in name:
        return None
    return unquote(name) if "%" in name else name


def invocation(
    name: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    request: RequestId,
    started_s: float,
    key: str | None,
    is_stream: bool = False,
) -> Invocation:
    """Turn a request into an invocation. ``headers`` has lower-case names.

    Where events are asked for, Accept has a name of its own.

    Raises InvalidRequest for a header that is too long, or that asks for what is not done here.
    """
    passed: list[tuple[str, str]] = []
    variant: str | None = None
    component: str | None = None
    for word, value in headers.items():
        if not word.startswith(_HEADER):
            continue
        if word in _REFUSED:
            raise InvalidRequest(f"{_REFUSED[word]}. Leave it out of the request.", field=word)
        if word == _VARIANT:
            variant = value
        elif word == _COMPONENT:
            component = value
        elif word in _PASSED:
            _check_length(word, value, _PASSED[word])
            passed.append((word, value))
    if component is not None and variant is not None:
        raise InvalidRequest(
            f"TargetVariant '{variant[:63]}' does not go with InferenceComponentName, which says"
            " already who answers. Leave it out of the request.",
            field=_VARIANT,
        )
    named = variant if component is None else component
    return Invocation(
        endpoint=EndpointName(name),
        variant=None if named is None else VariantName(named),
        is_component=component is not None,
        target=_text(headers.get(_TARGET)),
        content_type=headers.get("content-type"),
        accept=headers.get(_STREAM_ACCEPT if is_stream else "accept"),
        headers=tuple(passed),
        body=body,
        key=key,
        started_s=started_s,
        request=request,
    )


def _text(value: str | None) -> str | None:
    """Return a header's text: clients write UTF-8 where a key has letters beyond ASCII."""
    if value is None or value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _check_length(word: str, value: str, length_max: int) -> None:
    if len(value) > length_max:
        raise InvalidRequest(
            f"1 validation error detected: Value at '{word}' failed to satisfy constraint: "
            f"Member must have length less than or equal to {length_max}, not {len(value)}",
            field=word,
        )


def stream_headers(
    request: RequestId,
    variant: VariantName | None,
    replica_headers: Sequence[tuple[str, str]],
) -> list[tuple[str, str]]:
    """Return the headers of a stream of events; the container's content type has its own name."""
    return [
        ("X-Amzn-SageMaker-Content-Type", value) if name == "Content-Type" else (name, value)
        for name, value in reply_headers(request, variant, replica_headers)
    ] + [("Content-Type", event_stream.CONTENT_TYPE)]


def reply_headers(
    request: RequestId,
    variant: VariantName | None,
    replica_headers: Sequence[tuple[str, str]],
) -> list[tuple[str, str]]:
    """Return the headers of a successful reply: AWS's own, and what a container may say."""
    headers: list[tuple[str, str]] = [("x-amzn-RequestId", request)]
    if variant is not None:
        headers.append(("x-Amzn-Invoked-Production-Variant", variant))
    for name, value in replica_headers:
        known = _PASSED_BACK.get(name.lower())
        if known is not None:
            headers.append((known, value))
    return headers
