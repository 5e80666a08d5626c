"""Application Auto Scaling as a service: ``X-Amz-Target: AnyScaleFrontendService.<Op>``, JSON 1.1.

A caller needs the scope ``deploy`` for every endpoint that the request mentions, also to look.
"""

from collections.abc import Awaitable, Callable, Iterable

from coldspark.autoscaling.service import AutoscalingService
from coldspark.doors.aws.autoscaling import activities, policies, scheduled_actions, shapes, targets
from coldspark.doors.aws.autoscaling.errors import TYPES, worded
from coldspark.doors.aws.autoscaling.request import AutoscalingRequest
from coldspark.doors.aws.autoscaling.target_ids import names_in
from coldspark.doors.aws.protocol.operations import OperationRequest, Service, operations
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.protocol.shapes import Structure
from coldspark.doors.door import DoorDependencies

Run = Callable[[AutoscalingRequest], Awaitable[Body]]

_READS: dict[str, tuple[Run, Structure]] = {
    "DescribeScalableTargets": (targets.describe, shapes.TARGETS_LISTED),
    "DescribeScalingPolicies": (policies.describe, shapes.POLICIES_LISTED),
    "DescribeScheduledActions": (scheduled_actions.describe, shapes.ACTIONS_LISTED),
    "DescribeScalingActivities": (activities.describe, shapes.ACTIVITIES_LISTED),
    "ListTagsForResource": (targets.list_tags, shapes.TAGS_LISTED),
}
_CHANGES: dict[str, tuple[Run, Structure]] = {
    "RegisterScalableTarget": (targets.register, shapes.REGISTER),
    "DeregisterScalableTarget": (targets.deregister, shapes.TARGET_NAMED),
    "PutScalingPolicy": (policies.put, shapes.PUT_POLICY),
    "DeleteScalingPolicy": (policies.delete, shapes.POLICY_NAMED),
    "PutScheduledAction": (scheduled_actions.put, shapes.PUT_ACTION),
    "DeleteScheduledAction": (scheduled_actions.delete, shapes.ACTION_NAMED),
    "TagResource": (targets.tag, shapes.TAG),
    "UntagResource": (targets.untag, shapes.UNTAG),
}


def application_autoscaling(scaling: AutoscalingService) -> Service:
    """Return the service over the targets."""

    def call_of(asked: OperationRequest) -> AutoscalingRequest:
        return AutoscalingRequest(scaling=scaling, region=asked.region, body=asked.body)

    def names(body: Body) -> Iterable[str]:
        return names_in(scaling.platform, body)

    changes = {name: (worded(run), shape) for name, (run, shape) in _CHANGES.items()}
    return Service(
        signing_name="application-autoscaling",
        target="AnyScaleFrontendService.",
        operations=operations(_READS, changes, call_of, names),
        types=TYPES,
    )


def open_autoscaling(dependencies: DoorDependencies) -> Service | None:
    """Return the service of a server; None: its targets are another process's."""
    return None if dependencies.scaling is None else application_autoscaling(dependencies.scaling)
