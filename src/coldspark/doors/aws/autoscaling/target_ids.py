"""Resource ids and names: which target a request is about, and how AWS calls what is made of it."""

import re
from collections.abc import Iterator
from typing import Never

from coldspark.autoscaling.replica_capacity import endpoint_of_component
from coldspark.autoscaling.scalable_target import (
    ScalableDimension,
    ScalableTarget,
    ScalingPolicy,
    ScheduledAction,
    TargetId,
)
from coldspark.doors.aws.protocol.credential_scope import ACCOUNT
from coldspark.doors.aws.protocol.errors import AwsError, invalid
from coldspark.doors.aws.protocol.operations import Body
from coldspark.platform.ports import Platform
from coldspark.spec.types import EndpointName, VariantName

NAMESPACE = "sagemaker"
_RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")
_COMPONENT = re.compile(r"inference-component/([^/]+)")
_NOWHERE = EndpointName("")
"""Of a component that there is not: nothing is found there."""


def is_served(body: Body) -> bool:
    """Return whether a question is about what may be registered here."""
    return body["ServiceNamespace"] == NAMESPACE


def target_id_of(body: Body, platform: Platform) -> TargetId:
    """Return which target a change is about. Raises a ValidationException."""
    namespace, resource = str(body["ServiceNamespace"]), str(body["ResourceId"])
    dimension = str(body["ScalableDimension"])
    if namespace != NAMESPACE:
        invalid(
            f"ServiceNamespace '{namespace}' is not served here: endpoint variants and inference"
            f" components of {NAMESPACE} are what can be scaled.",
            field="ServiceNamespace",
        )
    if not dimension.startswith(f"{namespace}:"):
        invalid(
            "Unsupported service namespace, resource type or scalable dimension:"
            f" {dimension} is not of {namespace}.",
            field="ScalableDimension",
        )
    if ScalableDimension(dimension) is ScalableDimension.COPIES:
        return _component_place(resource, platform)
    match = _RESOURCE.fullmatch(resource)
    if match is None:
        _misnamed(resource, "endpoint/<endpoint>/variant/<variant>")
    return TargetId(
        endpoint=EndpointName(match[1]),
        variant=VariantName(match[2]),
        dimension=ScalableDimension(dimension),
    )


def _component_place(resource: str, platform: Platform) -> TargetId:
    match = _COMPONENT.fullmatch(resource)
    if match is None:
        _misnamed(resource, "inference-component/<component>")
    return TargetId(
        endpoint=endpoint_of_component(platform, match[1]) or _NOWHERE,
        variant=VariantName(match[1]),
        dimension=ScalableDimension.COPIES,
    )


def _misnamed(resource: str, wanted: str) -> Never:
    invalid(
        "Unsupported service namespace, resource type or scalable dimension: ResourceId"
        f" '{resource}' must be {wanted}.",
        field="ResourceId",
    )


def names_in(platform: Platform, body: Body) -> Iterator[str]:
    """Yield every endpoint and component that a checked request mentions, and whose these are."""
    sent = body.get("ResourceIds", [])
    assert isinstance(sent, list)
    for resource in [*sent, *([body["ResourceId"]] if "ResourceId" in body else [])]:
        component = _COMPONENT.fullmatch(str(resource))
        match = _RESOURCE.fullmatch(str(resource)) or component
        if match is not None:
            yield match[1]
        endpoint = None if component is None else endpoint_of_component(platform, component[1])
        if endpoint is not None:
            yield endpoint


def render_target_id(place: TargetId) -> Body:
    """Return the three members by which AWS says which target it is."""
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": place.resource,
        "ScalableDimension": place.dimension,
    }


def target_arn(target: ScalableTarget, region: str) -> str:
    """Return a target's ARN."""
    return f"arn:aws:application-autoscaling:{region}:{ACCOUNT}:scalable-target/{target.id}"


def target_id(arn: str) -> str:
    """Return the id in a target's ARN, which the shape has checked."""
    return arn.rpartition("/")[2]


def policy_arn(place: TargetId, policy: ScalingPolicy, region: str) -> str:
    """Return a policy's ARN: what an alarm names as its action."""
    head = f"arn:aws:autoscaling:{region}:{ACCOUNT}:scalingPolicy:{policy.id}"
    return f"{head}:resource/{NAMESPACE}/{place.resource}:policyName/{policy.name}"


def action_arn(place: TargetId, action: ScheduledAction, region: str) -> str:
    """Return a scheduled action's ARN."""
    head = f"arn:aws:autoscaling:{region}:{ACCOUNT}:scheduledAction:{action.id}"
    return f"{head}:resource/{NAMESPACE}/{place.resource}:scheduledActionName/{action.name}"


def alarm_arn(name: str, region: str) -> str:
    """Return an alarm's ARN."""
    return f"arn:aws:cloudwatch:{region}:{ACCOUNT}:alarm:{name}"


def unknown_resource(arn: str) -> AwsError:
    """Return the error for an ARN of nothing."""
    return AwsError("ResourceNotFoundException", f"ResourceNotFoundException: {arn} is not there")
