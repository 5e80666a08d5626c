"""One call, and what all operations share: metrics, moments, pages."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from coldspark.doors.aws.cloudwatch.errors import bad_token, bad_value
from coldspark.doors.aws.protocol.names import from_namespace
from coldspark.doors.aws.protocol.pages import page, read_place, write_token
from coldspark.doors.aws.protocol.request import AwsRequest
from coldspark.platform.metric_ports import Dimensions, Metric
from coldspark.platform.ports import DocumentStore
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.metric_service import MetricService

DOOR = "cloudwatch"

Row = TypeVar("Row")
Body = dict[str, Any]
"""A checked body, or an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWatchRequest(AwsRequest):
    """One call of CloudWatch."""

    metrics: MetricService
    alarms: AlarmService
    documents: DocumentStore
    now_ms: int
    body: Body


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


def page_of(
    rows: Iterable[Row], place: Callable[[Row], Any], kind: Any, body: Body, count: int
) -> tuple[list[Row], Body]:
    """Return a page of rows, and the member that names the next one, if there is one."""
    shown, token = page(
        rows,
        place,
        kind,
        of=_asked(body),
        token=body.get("NextToken"),
        count=count,
        refuse=bad_token,
    )
    return shown, {} if token is None else {"NextToken": token}


def page_token(body: Body, place: object) -> str:
    """Return the token of the page after ``place``, which fits the same question alone."""
    return write_token((_asked(body), place))


def page_position(body: Body, kind: Any) -> Any:
    """Return where the last page ended, or None. Raises AwsError for a token of another list."""
    token = body.get("NextToken")
    return None if token is None else read_place(str(token), _asked(body), kind, bad_token)


def _asked(body: Body) -> str:
    rest = {name: value for name, value in body.items() if name != "NextToken"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:16]
