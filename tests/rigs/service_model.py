"""botocore's own service model as an oracle: what may a response of SageMaker look like?

Stricter than boto3, which reads what it knows and drops the rest: required members, types, enums,
patterns, bounds, no unknown member, and no null, ``{}`` or ``[]`` where a member is optional.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel, Shape

# Echoes of what coldspark takes beyond AWS: GPU names, more memory, files on this machine.
EXTENDED = {
    "Url",
    "S3ModelUri",
    "ProductionVariantInstanceType",
    "ProductionVariantAcceleratorType",
    "ServerlessMemorySizeInMB",
    "ServerlessMaxConcurrency",
    "ServerlessProvisionedConcurrency",
}


# Lists that clients index without asking whether they are there: given, and empty.
LISTED = {
    ("AddTagsOutput", "Tags"),
    ("ListTagsOutput", "Tags"),
    ("DescribeAlarmHistoryOutput", "AlarmHistoryItems"),
    ("DescribeAlarmsForMetricOutput", "MetricAlarms"),
    ("DescribeAlarmsOutput", "CompositeAlarms"),
    ("DescribeAlarmsOutput", "MetricAlarms"),
    ("DescribeScalableTargetsResponse", "ScalableTargets"),
    ("DescribeScalingActivitiesResponse", "ScalingActivities"),
    ("DescribeScalingPoliciesResponse", "ScalingPolicies"),
    ("DescribeScheduledActionsResponse", "ScheduledActions"),
    ("GetMetricDataOutput", "MetricDataResults"),
    ("GetMetricStatisticsOutput", "Datapoints"),
    ("DescribeLogGroupsResponse", "logGroups"),
    ("DescribeLogStreamsResponse", "logStreams"),
    ("FilterLogEventsResponse", "events"),
    ("FilterLogEventsResponse", "searchedLogStreams"),
    ("GetLogEventsResponse", "events"),
    ("ListMetricsOutput", "Metrics"),
    ("ListTagsForResourceOutput", "Tags"),
    ("ListTagsForResourceResponse", "tags"),
    ("ListTagsLogGroupResponse", "tags"),
    ("ListTagsForResourceResponse", "Tags"),
    ("PutScalingPolicyResponse", "Alarms"),
    ("Metric", "Dimensions"),
    ("MetricAlarm", "AlarmActions"),
    ("MetricAlarm", "Dimensions"),
    ("MetricAlarm", "InsufficientDataActions"),
    ("MetricAlarm", "OKActions"),
    ("MetricDataResult", "Timestamps"),
    ("MetricDataResult", "Values"),
}

# Characters of two halves, as Java's patterns write them, and as Python's do.
_ABOVE_THE_PLANE = (r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")

# Errors that any AWS service may give: they stand in no service's model.
COMMON_ERRORS = {
    "AccessDeniedException",
    "IncompleteSignature",
    "InternalFailure",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "ServiceUnavailable",
    "ThrottlingException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "ValidationError",
    "ValidationException",
}


VALIDATED: set[tuple[str, str]] = set()
"""Services and operations of which an answer was held against its model in this run."""


@cache
def model(service: str = "sagemaker") -> ServiceModel:
    """Return SageMaker's model as this botocore has it."""
    return botocore.session.get_session().get_service_model(service)


def problems(operation: str, response: object, service: str = "sagemaker") -> list[str]:
    """Return what is wrong with a JSON response."""
    VALIDATED.add((service, operation))
    shape = model(service).operation_model(operation).output_shape
    if shape is None:
        return [] if response is None else [f"{operation} must have no body, not {response!r}"]
    return list(_walk(shape, response, operation))


def error_problems(service: str, response: Any) -> list[str]:
    """Return what is wrong with an error: its code, its status, or a member of its body."""
    body = json.loads(response.content)
    code = response.headers.get("x-amzn-errortype") or body.pop("__type", None)
    shapes = {shape.error_code: shape for shape in model(service).error_shapes}
    shape = shapes.get(code)
    if shape is None:
        told = body.get("Message") or body.get("message")
        wrong = [] if code in COMMON_ERRORS else [f"{code} is no error of {service}"]
        return wrong if set(map(str.lower, body)) == {"message"} and told else [*wrong, str(body)]
    status = shape.metadata.get("error", {}).get("httpStatusCode", 400)
    wrong = list(_walk(shape, _in_shape(shape, body), code))
    return wrong if status == response.status_code else [*wrong, f"{code} has status {status}"]


def _in_shape(shape: Shape, body: dict[str, object]) -> dict[str, object]:
    """Spell ``message`` as the shape does, if it does: botocore reads either, and always."""
    spelt = {name.lower(): name for name in shape.members}
    return {
        spelt["message"] if name.lower() == "message" else name: value
        for name, value in body.items()
        if name.lower() != "message" or "message" in spelt
    }


def _walk(shape: Shape, value: object, path: str) -> Iterator[str]:
    check = {
        "structure": _structure,
        "list": _list,
        "map": _map,
        "string": _string,
        "boolean": _boolean,
    }.get(shape.type_name, _number)
    yield from check(shape, value, path)


def _structure(shape: Shape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} must be a structure, not {value!r}"
        return
    for name in shape.required_members:
        if name not in value:
            yield f"{path}.{name} is required"
    for name, member in value.items():
        if name not in shape.members:
            yield f"{path}.{name} is unknown"
        elif member is None or (
            member in ({}, [])
            and name not in shape.required_members
            and (shape.name, name) not in LISTED
        ):
            yield f"{path}.{name} is empty: {member!r}"
        elif member != {}:
            # A map that is listed may be empty whatever its least length.
            yield from _walk(shape.members[name], member, f"{path}.{name}")


def _list(shape: Shape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path} must be a list, not {value!r}"
        return
    yield from _bounds(shape, len(value), path)
    for index, member in enumerate(value):
        yield from _walk(shape.member, member, f"{path}[{index}]")


def _map(shape: Shape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path} must be a map, not {value!r}"
        return
    yield from _bounds(shape, len(value), path)
    for name, member in value.items():
        yield from _walk(shape.key, name, f"{path} key")
        yield from _walk(shape.value, member, f"{path}.{name}")


def _string(shape: Shape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{path} must be a string, not {value!r}"
        return
    yield from _bounds(shape, len(value), path)
    if shape.name in EXTENDED:
        return
    if shape.enum and value not in shape.enum:
        yield f"{path} = {value!r} is not in {shape.name}'s enum"
    pattern = shape.metadata.get("pattern", "").replace(*_ABOVE_THE_PLANE)
    if pattern and "\\p{" not in pattern and not re.fullmatch(pattern, value):
        yield f"{path} = {value!r} does not match {pattern}"


def _boolean(shape: Shape, value: object, path: str) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"{path} must be a boolean, not {value!r}"


def _number(shape: Shape, value: object, path: str) -> Iterator[str]:
    wanted = int if shape.type_name in ("integer", "long") else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted):
        yield f"{path} must be {shape.type_name}, not {value!r}"
        return
    yield from _bounds(shape, value, path)


def _bounds(shape: Shape, size: float, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield f"{path}: {size} is under {least}"
    if most is not None and size > most and shape.name not in EXTENDED:
        yield f"{path}: {size} is over {most}"
