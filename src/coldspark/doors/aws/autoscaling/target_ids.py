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
from coldspark.doors.aws.protocol.arns import arn
from coldspark.doors.aws.protocol.errors import AwsError, invalid
from coldspark.doors.aws.protocol.request import Body
from coldspark.platform.ports import Platform
from coldspark.spec.types import EndpointName, VariantName

NAMESPACE = "sagemaker"
DIMENSIONS = {
    ScalableDimension.CONCURRENCY: "sagemaker:variant:DesiredProvisionedConcurrency",
    ScalableDimension.REPLICAS: "sagemaker:variant:DesiredInstanceCount",
    ScalableDimension.COPIES: "sagemaker:inference-component:DesiredCopyCount",
}
POLICY_MARK = ":scalingPolicy:"
"""What stands in every policy's ARN, before its id."""
_DIMENSION_OF = {name: dimension for dimension, name in DIMENSIONS.items()}
_POLICY = re.compile(rf"{POLICY_MARK}([^:]+):")
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
    if _DIMENSION_OF[dimension] is ScalableDimension.COPIES:
        return _component_place(resource, platform)
    match = _RESOURCE.fullmatch(resource)
    if match is None:
        _misnamed(resource, "endpoint/<endpoint>/variant/<variant>")
    return TargetId(
        endpoint=EndpointName(match[1]),
        variant=VariantName(match[2]),
        dimension=_DIMENSION_OF[dimension],
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
        "ResourceId": str(place),
        "ScalableDimension": DIMENSIONS[place.dimension],
    }


def target_arn(target: ScalableTarget, region: str) -> str:
    """Return a target's ARN."""
    return arn("application-autoscaling", region, f"scalable-target/{target.id}")


def target_id(arn: str) -> str:
    """Return the id in a target's ARN, which the shape has checked."""
    return arn.rpartition("/")[2]


def policy_arn(place: TargetId, policy: ScalingPolicy, region: str) -> str:
    """Return a policy's ARN: what an alarm names as its action."""
    tail = f"resource/{NAMESPACE}/{place}:policyName/{policy.name}"
    return arn("autoscaling", region, f"scalingPolicy:{policy.id}:{tail}")


def policy_of(address: str) -> str | None:
    """Return the id in a policy's ARN, in whatever region; None for what is none."""
    match = _POLICY.search(address)
    return None if match is None else match[1]


def action_arn(place: TargetId, action: ScheduledAction, region: str) -> str:
    """Return a scheduled action's ARN."""
    tail = f"resource/{NAMESPACE}/{place}:scheduledActionName/{action.name}"
    return arn("autoscaling", region, f"scheduledAction:{action.id}:{tail}")


def unknown_resource(arn: str) -> AwsError:
    """Return the error for an ARN of nothing."""
    return AwsError("ResourceNotFoundException", f"ResourceNotFoundException: {arn} is not there")
