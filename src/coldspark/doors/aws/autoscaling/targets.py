"""Scalable targets and their tags."""

from coldspark.autoscaling import operations
from coldspark.autoscaling.operations import TargetChange
from coldspark.autoscaling.scalable_target import ScalableTarget
from coldspark.doors.aws.autoscaling.replies import page
from coldspark.doors.aws.autoscaling.request import AutoscalingRequest
from coldspark.doors.aws.autoscaling.target_ids import (
    render_target_id,
    target_arn,
    target_id,
    unknown_resource,
)
from coldspark.doors.aws.protocol.arns import arn
from coldspark.doors.aws.protocol.errors import AwsError, invalid
from coldspark.doors.aws.protocol.operations import Timestamp
from coldspark.doors.aws.protocol.request import Body, member, structure, text_list
from coldspark.errors import Conflict, NotFound

_ROLE = (
    "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
_SUSPENDED = {
    "DynamicScalingInSuspended": "going_in",
    "DynamicScalingOutSuspended": "going_out",
    "ScheduledScalingSuspended": "scheduled",
}


async def register(call: AutoscalingRequest) -> Body:
    """RegisterScalableTarget: what is not given stays as it is."""
    body = call.body
    suspended = structure(body, "SuspendedState")
    tags = {key: str(value) for key, value in structure(body, "Tags").items()}
    if tags and call.scaling.targets.find(call.target_id) is not None:
        invalid("Tags can be given when a target is registered first: use TagResource.")
    target = await operations.register(
        call.scaling,
        call.target_id,
        TargetChange(
            least=member(body, "MinCapacity", int),
            most=member(body, "MaxCapacity", int),
            role=member(body, "RoleARN", str),
            suspended={
                field: bool(suspended[name])
                for name, field in _SUSPENDED.items()
                if name in suspended
            },
            tags=tags,
        ),
    )
    return {"ScalableTargetARN": target_arn(target, call.region)}


async def deregister(call: AutoscalingRequest) -> Body:
    """DeregisterScalableTarget."""
    await operations.deregister(call.scaling, call.target_id)
    return {}


async def describe(call: AutoscalingRequest) -> Body:
    """DescribeScalableTargets."""
    return page(
        "ScalableTargets",
        await call.targets(),
        lambda target: (0, target.place.key),
        lambda target: _shown(target, call.region),
        call,
    )


async def list_tags(call: AutoscalingRequest) -> Body:
    """ListTagsForResource."""
    resource = str(call.body["ResourceARN"])
    for target in call.scaling.targets.all():
        if target.id == target_id(resource):
            return {"Tags": dict(target.tags)}
    raise unknown_resource(resource)


async def tag(call: AutoscalingRequest) -> Body:
    """TagResource: a key that is there gets the new value."""
    tags = {key: str(value) for key, value in structure(call.body, "Tags").items()}
    return await _set_tags(call, dict(tags))


async def untag(call: AutoscalingRequest) -> Body:
    """UntagResource: keys that are not there are no error."""
    return await _set_tags(call, dict.fromkeys(text_list(call.body, "TagKeys")))


async def _set_tags(call: AutoscalingRequest, tags: "dict[str, str | None]") -> Body:
    resource = str(call.body["ResourceARN"])
    try:
        await operations.set_tags(call.scaling, target_id(resource), tags)
    except NotFound:
        raise unknown_resource(resource) from None
    except Conflict as error:
        raise AwsError("TooManyTagsException", error.message) from None
    return {}


def _shown(target: ScalableTarget, region: str) -> Body:
    suspended = target.suspended
    return {
        **render_target_id(target.place),
        "ScalableTargetARN": target_arn(target, region),
        "MinCapacity": target.bounds.least,
        "MaxCapacity": target.bounds.most,
        "RoleARN": target.role or arn("iam", "", f"role/{_ROLE}"),
        "CreationTime": Timestamp(target.created_ms),
        "SuspendedState": {
            name: bool(getattr(suspended, field)) for name, field in _SUSPENDED.items()
        },
    }
