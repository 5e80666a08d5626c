"""Endpoints: what the platform runs, told in AWS's words.

Rules:
- A serverless endpoint is InService when the call returns: there is nothing to start yet. One that
  keeps instances is Creating until the first of them serves, so that who waits hears of a model
  that cannot start.
- What the platform refuses (no device holds it) is refused at once. AWS would accept it and show
  status Failed minutes later.
- An update of an endpoint that still updates is taken, and the last one wins; AWS refuses it, and
  a rollout that hangs then cannot be mended. Only an endpoint that is going away refuses.
- Endpoints of other doors are listed and described, read-only: their own door changes them.
"""

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.sagemaker import pages, tags
from coldspark.doors.aws.sagemaker.annotations import EndpointAnnotations, annotations_of
from coldspark.doors.aws.sagemaker.arns import Resource
from coldspark.doors.aws.sagemaker.asynchronous import webhook_events
from coldspark.doors.aws.sagemaker.definitions import (
    NOTHING_RETAINED,
    Retained,
    capture_summary,
    definition_of,
)
from coldspark.doors.aws.sagemaker.errors import already_exists, not_found
from coldspark.doors.aws.sagemaker.gpus import TAG
from coldspark.doors.aws.sagemaker.records import EndpointChange, ListRequest, read
from coldspark.doors.aws.sagemaker.request import SageMakerRequest, seconds
from coldspark.doors.aws.sagemaker.variant_summaries import pool_summary, variant_summary
from coldspark.doors.aws.sagemaker.variants import is_managed
from coldspark.errors import ColdsparkError, NotFound
from coldspark.fleet.deployment import DeploymentPhase
from coldspark.platform.ports import DeploymentView, EndpointView
from coldspark.spec.types import EndpointDefinition, EndpointName, EndpointStatus

NOUN = "endpoint"

_STATUSES = {
    EndpointStatus.READY: "InService",
    EndpointStatus.UPDATING: "Updating",
    EndpointStatus.FAILED: "Failed",
    EndpointStatus.RETIRING: "Deleting",
}
_REASON_CHARS_MAX = 1_024


async def create(call: SageMakerRequest) -> Body:
    """CreateEndpoint."""
    change = read(EndpointChange, call.body)
    name = change.endpoint_name
    if _view(call, name) is not None:
        already_exists(NOUN, call.arn(NOUN, name))
    own_tag = next((tag.value for tag in change.tags if tag.key == TAG), None)
    definition = await definition_of(call, change, own_tag, deployment=change.deployment_config)
    resource = Resource(NOUN, name)
    await tags.put_tags(call.documents, resource, change.tags)
    try:
        await call.platform.deploy(definition)
    except ColdsparkError:
        await tags.remove_tags(call.documents, resource)
        raise
    await webhook_events.send_test_notifications(call, definition)
    return {"EndpointArn": call.arn(NOUN, name)}


async def update(call: SageMakerRequest) -> Body:
    """UpdateEndpoint: the new revision takes over without a gap."""
    change = read(EndpointChange, call.body)
    view, note = changeable(call, change.endpoint_name)
    own_tag = await tags.gpu_tag(call.documents, Resource(NOUN, change.endpoint_name))
    deployment = change.deployment_config
    if deployment is None and change.retain_deployment_config:
        deployment = note.deployment
    definition = await definition_of(
        call,
        change,
        own_tag,
        _retained(change, view.definition, note),
        deployment,
        known=view.definition,
    )
    await call.platform.deploy(definition)
    await webhook_events.send_test_notifications(call, definition)
    return {"EndpointArn": call.arn(NOUN, change.endpoint_name)}


async def delete(call: SageMakerRequest) -> None:
    """DeleteEndpoint."""
    name = call.name("EndpointName")
    _, note = changeable(call, name)
    if note.components:
        invalid(
            f'Cannot delete endpoint "{call.arn(NOUN, name)}" while it has inference components:'
            f" delete {', '.join(sorted(note.components))} first."
        )
    await call.platform.remove(EndpointName(name))
    await tags.remove_tags(call.documents, Resource(NOUN, name))


async def describe(call: SageMakerRequest) -> Body:
    """DescribeEndpoint."""
    name = call.name("EndpointName")
    view = _view(call, name)
    if view is None:
        not_found(NOUN, call.arn(NOUN, name))
    # While a change is under way, what still serves is what the endpoint is.
    note = annotations_of(view.definition.previous or view.definition)
    since_s = seconds(view.updated_ms)
    answer: Body = {
        "EndpointName": name,
        "EndpointArn": call.arn(NOUN, name),
        "ProductionVariants": _variants(view, note, since_s),
        "EndpointStatus": _status(view),
        "CreationTime": seconds(view.created_ms),
        "LastModifiedTime": seconds(view.updated_ms),
    }
    answer |= _members(view, note, since_s)
    has_failed = _status(view) == "Failed" or view.failure is not None
    if has_failed and not view.definition.has_components:
        answer["FailureReason"] = _failure(view)[:_REASON_CHARS_MAX]
    return answer


def _variants(view: EndpointView, note: EndpointAnnotations | None, since_s: float) -> list[Body]:
    """Return the variants; where components share their instances, as the note has them."""
    if note is not None and view.definition.has_components:
        return [pool_summary(name, one) for name, one in note.variants.items()]
    return [variant_summary(variant, note, since_s, view.shift) for variant in view.variants]


def _members(view: EndpointView, note: EndpointAnnotations | None, since_s: float) -> Body:
    """Return what only some endpoints have."""
    members: Body = {}
    newest = annotations_of(view.definition)
    if view.shadows:
        members["ShadowProductionVariants"] = [
            variant_summary(variant, newest, since_s) for variant in view.shadows
        ]
    if note is None or newest is None:
        return members
    members["EndpointConfigName"] = note.config
    if newest.deployment is not None:
        members["LastDeploymentConfig"] = newest.deployment
    if note.asynchronous is not None:
        members["AsyncInferenceConfig"] = note.asynchronous
    if newest.capture is not None:
        members["DataCaptureConfig"] = capture_summary(newest.capture, view.definition.capture)
    if view.shift is not None and view.definition.previous is not None:
        members["PendingDeploymentSummary"] = _pending(view.shift, newest, since_s)
    return members


def _pending(shift: DeploymentView, note: EndpointAnnotations, since_s: float) -> Body:
    """Return a PendingDeploymentSummary; in place there are no variants beside those that serve."""
    pending: Body = {"EndpointConfigName": note.config, "StartTime": since_s}
    if shift.variants:
        pending["ProductionVariants"] = [
            variant_summary(variant, note, since_s, shift) for variant in shift.variants
        ]
    return pending


async def list_page(call: SageMakerRequest) -> Body:
    """ListEndpoints: those of every door."""
    rows = [
        pages.ListedResource(
            name=view.name,
            created_ms=view.created_ms,
            updated_ms=view.updated_ms,
            status=_status(view),
        )
        for view in call.platform.endpoints()
    ]
    shown, token = pages.page(rows, read(ListRequest, call.body))
    summaries = [
        {
            "EndpointName": row.name,
            "EndpointArn": call.arn(NOUN, row.name),
            "CreationTime": seconds(row.created_ms),
            "LastModifiedTime": seconds(row.updated_ms),
            "EndpointStatus": row.status,
        }
        for row in shown
    ]
    return {"Endpoints": summaries} | ({} if token is None else {"NextToken": token})


def changeable(call: SageMakerRequest, name: str) -> tuple[EndpointView, EndpointAnnotations]:
    """Return an endpoint that this door may change. Raises a ValidationException."""
    view = _view(call, name)
    if view is None:
        not_found(NOUN, call.arn(NOUN, name))
    if view.status is EndpointStatus.RETIRING:
        invalid(f'Cannot update in-progress endpoint "{call.arn(NOUN, name)}".')
    note = annotations_of(view.definition)
    if note is None:
        invalid(
            f"Endpoint '{name}' was made through the door '{view.definition.source}': "
            "change or delete it there."
        )
    return view, note


def _view(call: SageMakerRequest, name: str) -> EndpointView | None:
    try:
        return call.platform.endpoint(EndpointName(name))
    except NotFound:
        return None


def _status(view: EndpointView) -> str:
    """Return AWS's word. What components are is told of each, as on AWS."""
    if view.definition.has_components and view.status is not EndpointStatus.RETIRING:
        return "InService"
    if view.shift is not None:
        return "RollingBack" if view.shift.phase is DeploymentPhase.REVERTING else "Updating"
    is_ready = view.status is EndpointStatus.READY and not _awaits_instances(view)
    if is_ready or view.status not in (EndpointStatus.READY, EndpointStatus.UPDATING):
        return _STATUSES[view.status]
    return "Creating" if view.created_ms == view.updated_ms else "Updating"


def _awaits_instances(view: EndpointView) -> bool:
    """Return whether a variant that keeps instances has never had one that serves."""
    note = annotations_of(view.definition)
    notes = {} if note is None else note.variants
    return any(
        not variant.has_started
        and variant.floor.min > 0
        and variant.name in notes
        and notes[variant.name].serverless is None
        for variant in view.variants
    )


def _failure(view: EndpointView) -> str:
    """Return the root cause: the endpoint's, or else that of the first variant that has one."""
    reasons = [view.failure, *(variant.failure for variant in view.variants)]
    return next((reason for reason in reasons if reason), "The reason is not known.")


def _retained(
    change: EndpointChange, definition: EndpointDefinition, note: EndpointAnnotations
) -> Retained:
    """Return what RetainAllVariantProperties keeps, less what is excluded from it."""
    if not change.retain_all_variant_properties:
        return NOTHING_RETAINED
    excluded = {one.variant_property_type for one in change.exclude_retained_variant_properties}
    weights: dict[str, float] = {one.name: one.weight for one in definition.variants}
    instances = {
        name: variant.instances
        for name, variant in note.variants.items()
        if variant.instances is not None and not is_managed(variant.scaling)
    }
    return Retained(
        weights={} if "DesiredWeight" in excluded else weights,
        instances={} if "DesiredInstanceCount" in excluded else instances,
        has_capture="DataCaptureConfig" not in excluded,
        capture=note.capture,
    )
