"""PutMetricData."""

import math
from collections.abc import Iterator

from coldspark.doors.aws.cloudwatch.errors import bad_combination, bad_value
from coldspark.doors.aws.cloudwatch.request import (
    Body,
    CloudWatchRequest,
    dimensions_of,
    milliseconds,
)
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.names import NAMESPACES
from coldspark.platform.metric_ports import REPLICA_NAMESPACE, Metric

_PAST_MS = 14 * 86_400_000
_FUTURE_MS = 2 * 3_600_000
_SIZE_MAX = 2.0**360
_MACHINE = NAMESPACES[REPLICA_NAMESPACE]
_OWN = ("AWS/", _MACHINE)


async def put_metric_data(call: CloudWatchRequest) -> None:
    """Take measurements: all of a call, or none."""
    namespace = str(call.body["Namespace"])
    if namespace.startswith(_OWN):
        bad_value(
            f"The value {namespace} for parameter Namespace is invalid: what begins with AWS/, and"
            f" {_MACHINE}, is measured by the platform itself."
        )
    data = call.body.get("MetricData", [])
    for place, datum in enumerate(data, start=1):
        _check(datum, f"MetricData.member.{place}", call.now_ms)
    await call.metrics.refuse_if_full()
    for datum in data:
        _take(call, namespace, datum)


def _check(datum: Body, path: str, now_ms: int) -> None:
    given = [name for name in ("Value", "Values", "StatisticValues") if name in datum]
    if not given:
        raise AwsError("MissingParameter", f"The parameter {path}.Value is required.")
    if len(given) > 1:
        refuse = bad_value if "Values" in given else bad_combination
        refuse(
            f"The parameters {path}.{given[0]} and {path}.{given[1]} are mutually exclusive and"
            " you have specified both."
        )
    for name, value in _numbers(datum):
        _check_number(value, f"{path}.{name}")
    counts = datum.get("Counts")
    if counts is not None:
        if len(counts) != len(datum.get("Values", ())):
            bad_value(f"The parameters {path}.Values and {path}.Counts must be of the same size.")
        for count in counts:
            if count <= 0:
                bad_value(f"The value {count} for parameter {path}.Counts must be over 0.")
    _check_summary(datum.get("StatisticValues"), path)
    _check_moment(datum, path, now_ms)
    if datum.get("StorageResolution", 60) not in (1, 60):
        bad_value(
            f"The value {datum['StorageResolution']} for parameter {path}.StorageResolution is"
            " invalid: use 1 or 60."
        )


def _numbers(datum: Body) -> Iterator[tuple[str, object]]:
    if "Value" in datum:
        yield "Value", datum["Value"]
    for name in ("Values", "Counts"):
        for place, value in enumerate(datum.get(name, ()), start=1):
            yield f"{name}.member.{place}", value
    for name, value in datum.get("StatisticValues", {}).items():
        yield f"StatisticValues.{name}", value


def _check_number(value: object, path: str) -> None:
    if isinstance(value, str) or not math.isfinite(float(str(value))):
        bad_value(f"The value {value} for parameter {path} is invalid.")
    if abs(float(str(value))) > _SIZE_MAX:
        bad_value(f"The value {value} for parameter {path} must lie in -2^360..2^360.")


def _check_summary(summary: Body | None, path: str) -> None:
    if summary is None:
        return
    if summary["SampleCount"] <= 0:
        bad_value(f"The parameter {path}.StatisticValues.SampleCount must be greater than 0.")
    if summary["Minimum"] > summary["Maximum"]:
        bad_value(
            f"The parameter {path}.StatisticValues.Maximum must not be less than"
            f" {path}.StatisticValues.Minimum."
        )


def _check_moment(datum: Body, path: str, now_ms: int) -> None:
    if "Timestamp" not in datum:
        return
    at_ms = milliseconds(datum["Timestamp"])
    if at_ms > now_ms + _FUTURE_MS:
        bad_value(
            f"The parameter {path}.Timestamp must specify a time no more than two hours in the"
            " future."
        )
    if at_ms < now_ms - _PAST_MS:
        bad_value(f"The parameter {path}.Timestamp must specify a time within the past two weeks.")


def _take(call: CloudWatchRequest, namespace: str, datum: Body) -> None:
    metric = Metric(
        namespace=namespace, name=str(datum["MetricName"]), dimensions=dimensions_of(datum)
    )
    at_ms = milliseconds(datum["Timestamp"]) if "Timestamp" in datum else call.now_ms
    unit, resolution_s = str(datum.get("Unit", "None")), datum.get("StorageResolution", 60)
    if "StatisticValues" in datum:
        told = datum["StatisticValues"]
        summary = (told["SampleCount"], told["Sum"], told["Minimum"], told["Maximum"])
        call.metrics.add_summary(
            metric, at_ms, unit=unit, summary=summary, resolution_s=resolution_s
        )
        return
    values = datum.get("Values", [datum.get("Value")])
    counts = datum.get("Counts", [1.0] * len(values))
    for value, count in zip(values, counts, strict=True):
        call.metrics.add(metric, value, at_ms, unit=unit, count=count, resolution_s=resolution_s)
