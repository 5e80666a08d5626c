"""Application Auto Scaling as a service: ``X-Amz-Target: AnyScaleFrontendService.<Op>``, JSON 1.1.

A caller needs the scope ``deploy`` for every endpoint that the request mentions, also to look.
"""

from collections.abc import Awaitable, Callable, Iterable

from coldspark.autoscaling.service import AutoscalingService
from coldspark.doors.aws.autoscaling import activities, policies, scheduled_actions, targets
from coldspark.doors.aws.autoscaling.errors import TYPES, worded
from coldspark.doors.aws.autoscaling.request import AutoscalingRequest
from coldspark.doors.aws.autoscaling.shapes import OVERLAY
from coldspark.doors.aws.autoscaling.target_ids import names_in
from coldspark.doors.aws.protocol.operations import OperationRequest, Service, operations
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.door import DoorDependencies

Run = Callable[[AutoscalingRequest], Awaitable[Body]]

_READS: dict[str, Run] = {
    "DescribeScalableTargets": targets.describe,
    "DescribeScalingPolicies": policies.describe,
    "DescribeScheduledActions": scheduled_actions.describe,
    "DescribeScalingActivities": activities.describe,
    "ListTagsForResource": targets.list_tags,
}
_CHANGES: dict[str, Run] = {
    "RegisterScalableTarget": targets.register,
    "DeregisterScalableTarget": targets.deregister,
    "PutScalingPolicy": policies.put,
    "DeleteScalingPolicy": policies.delete,
    "PutScheduledAction": scheduled_actions.put,
    "DeleteScheduledAction": scheduled_actions.delete,
    "TagResource": targets.tag,
    "UntagResource": targets.untag,
}


def application_autoscaling(scaling: AutoscalingService) -> Service:
    """Return the service over the targets."""

    def call_of(asked: OperationRequest) -> AutoscalingRequest:
        return AutoscalingRequest(scaling=scaling, region=asked.region, body=asked.body)

    def names(body: Body) -> Iterable[str]:
        return names_in(scaling.platform, body)

    changes = {name: worded(run) for name, run in _CHANGES.items()}
    return Service(
        signing_name="application-autoscaling",
        target="AnyScaleFrontendService.",
        operations=operations(_READS, changes, OVERLAY.shapes, call_of, names),
        types=TYPES,
    )


def open_autoscaling(dependencies: DoorDependencies) -> Service | None:
    """Return the service of a server; None: its targets are another process's."""
    return None if dependencies.scaling is None else application_autoscaling(dependencies.scaling)
