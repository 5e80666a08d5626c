"""One call, and what all operations share: errors, moments, tokens."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Never

from coldspark.doors.aws.protocol.errors import DEFAULT_TYPES, AwsError
from coldspark.doors.aws.protocol.names import from_namespace
from coldspark.doors.aws.protocol.page_tokens import read_token, write_token
from coldspark.platform.metric_ports import Dimensions, Metric
from coldspark.platform.ports import DocumentStore
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.metric_service import MetricService

DOOR = "cloudwatch"
TYPES: Mapping[str, str] = {
    **DEFAULT_TYPES,
    "InvalidRequest": "ValidationError",
    "NotFound": "ResourceNotFound",
    "Conflict": "ResourceConflict",
    "BodyTooLarge": "RequestEntityTooLarge",
}

Body = dict[str, Any]
"""A checked body, or an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWatchRequest:
    """One call with its checked body."""

    metrics: MetricService
    alarms: AlarmService
    documents: DocumentStore
    now_ms: int
    region: str
    body: Body


def bad_value(message: str) -> Never:
    """Refuse a value that its shape allows."""
    raise AwsError("InvalidParameterValue", message)


def bad_combination(message: str) -> Never:
    """Refuse members that do not go together."""
    raise AwsError("InvalidParameterCombination", message)


def not_valid(message: str) -> Never:
    """Refuse what newer operations call a ValidationError."""
    raise AwsError("ValidationError", message)


def metric_of(body: Body) -> Metric:
    """Return the metric that a structure names."""
    return Metric(
        namespace=from_namespace(str(body.get("Namespace", ""))),
        name=str(body.get("MetricName", "")),
        dimensions=dimensions_of(body),
    )


def dimensions_of(body: Body) -> Dimensions:
    """Return its dimensions, sorted by name. Raises AwsError for one that comes twice."""
    pairs = sorted((str(one["Name"]), str(one["Value"])) for one in body.get("Dimensions", ()))
    if len({name for name, _ in pairs}) < len(pairs):
        bad_value("The parameter Dimensions names one dimension twice.")
    return tuple(pairs)


def render_dimensions(dimensions: Dimensions) -> list[Body]:
    """Return dimensions as AWS lists them; where there are none, clients expect an empty list."""
    return [{"Name": name, "Value": value} for name, value in dimensions]


def milliseconds(seconds: float) -> int:
    """Return a moment in a body, to the millisecond."""
    return round(seconds * 1_000)


def page_token(body: Body, place: object) -> str:
    """Return the token of the page after ``place``, which fits the same question alone."""
    return write_token((_asked(body), place))


def page_position(body: Body) -> Any:
    """Return where the last page ended, or None. Raises AwsError for a token of another list."""
    text = body.get("NextToken")
    if text is None:
        return None
    asked, place = read_token(str(text), tuple[str, Any]) or ("", None)
    if asked != _asked(body) or place is None:
        raise AwsError("InvalidNextToken", "Request parameter NextToken is invalid")
    return place


def _asked(body: Body) -> str:
    rest = {name: value for name, value in body.items() if name != "NextToken"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16]
