"""One variant as DescribeEndpoint shows it."""

from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.sagemaker.annotations import EndpointAnnotations, VariantAnnotations
from coldspark.doors.aws.sagemaker.images import COMMAND_IMAGE, HANDLER_IMAGE
from coldspark.doors.aws.sagemaker.records import ManagedScaling, ServerlessConfig
from coldspark.doors.aws.sagemaker.request import seconds
from coldspark.doors.aws.sagemaker.variants import is_managed
from coldspark.fleet.deployment import DeploymentPhase
from coldspark.platform.ports import DeploymentView, VariantView
from coldspark.spec.types import GIB, EndpointStatus

_MESSAGE_CHARS_MAX = 1_024
_WITHOUT_ROOM = "placing"
"""The state of a replica that waits for its share of the machine."""
_PHASES = {
    DeploymentPhase.STARTING: "Creating",
    DeploymentPhase.REPLACING: "Updating",
    DeploymentPhase.SHIFTING: "ActivatingTraffic",
    DeploymentPhase.BAKING: "Baking",
    DeploymentPhase.REVERTING: "Updating",
    DeploymentPhase.DONE: "Updating",
    DeploymentPhase.REVERTED: "Updating",
}


def variant_summary(
    view: VariantView,
    note: EndpointAnnotations | None,
    since_s: float,
    shift: DeploymentView | None = None,
) -> Body:
    """Return a ProductionVariantSummary; ``since_s`` is when the variant became what it is.

    ``shift`` is the change that the variant is in.
    """
    summary: Body = {
        "VariantName": view.name,
        "CurrentWeight": view.weight,
        "DesiredWeight": view.weight,
    }
    own = None if note is None else note.variants.get(view.name, note.shadows.get(view.name))
    summary |= _bounds(view, own)
    if own is not None and own.image is not None:
        summary["DeployedImages"] = [resolved_image(own.image, view, since_s)]
    if own is not None and own.routing is not None:
        summary["RoutingConfig"] = own.routing
    if shift is not None:
        summary["VariantStatus"] = [_shifting(shift)]
    elif view.status is EndpointStatus.UPDATING:
        summary["VariantStatus"] = [_progress("Updating", view, since_s)]
    elif own is not None and own.serverless is None and not view.has_started:
        summary["VariantStatus"] = [_progress("Creating", view, since_s)]
    return summary


def pool_summary(name: str, own: VariantAnnotations) -> Body:
    """Return the summary of a variant whose instances components share.

    Its instances are a bound of what components may ask for, so they are there at once.
    """
    summary: Body = {
        "VariantName": name,
        "CurrentWeight": 1.0,
        "DesiredWeight": 1.0,
        "CurrentInstanceCount": own.instances,
        "DesiredInstanceCount": own.instances,
    }
    if own.scaling is not None:
        summary["ManagedInstanceScaling"] = _scaling(own.scaling)
    if own.routing is not None:
        summary["RoutingConfig"] = own.routing
    return summary


def _bounds(view: VariantView, own: VariantAnnotations | None) -> Body:
    """Return the concurrency of a serverless variant, or else the count of instances."""
    if own is not None and own.serverless is not None:
        config = _serverless(own.serverless, view)
        return {"CurrentServerlessConfig": config, "DesiredServerlessConfig": config}
    count = sum(replica.state != "parked" for replica in view.replicas)
    desired = view.floor.min
    if own is None or not is_managed(own.scaling):
        return {"CurrentInstanceCount": count, "DesiredInstanceCount": desired}
    assert own.scaling is not None
    return {
        "CurrentInstanceCount": count,
        "DesiredInstanceCount": max(count, desired),
        "ManagedInstanceScaling": _scaling(own.scaling),
    }


def _serverless(config: ServerlessConfig, view: VariantView) -> Body:
    """Return the config, with the concurrency that is held ready where something else set it."""
    body: Body = {
        "MemorySizeInMB": config.memory_size_in_mb,
        "MaxConcurrency": config.max_concurrency,
    }
    provisioned = config.provisioned_concurrency
    if view.floor.reason is not None:
        provisioned = view.floor.min * view.revision.spec.scale.concurrency
    if provisioned:
        body["ProvisionedConcurrency"] = provisioned
    return body


def _scaling(scaling: ManagedScaling) -> Body:
    body: Body = {"Status": scaling.status}
    if scaling.min_instance_count is not None:
        body["MinInstanceCount"] = scaling.min_instance_count
    if scaling.max_instance_count is not None:
        body["MaxInstanceCount"] = scaling.max_instance_count
    return body


def resolved_image(image: str, view: VariantView, since_s: float) -> Body:
    """Return the image that was asked for, and what runs in its place."""
    is_handler = view.revision.spec.handler is not None
    return {
        "SpecifiedImage": image,
        "ResolvedImage": HANDLER_IMAGE if is_handler else COMMAND_IMAGE,
        "ResolutionTime": since_s,
    }


def _shifting(shift: DeploymentView) -> Body:
    """Say where a change is, in AWS's word and a sentence."""
    return {
        "Status": _PHASES[shift.phase],
        "StatusMessage": deployment_message(shift)[:_MESSAGE_CHARS_MAX],
        "StartTime": seconds(shift.since_ms),
    }


def deployment_message(shift: DeploymentView) -> str:
    """Say where a change is."""
    match shift.phase:
        case DeploymentPhase.STARTING:
            return "the new replicas start; the old ones serve all requests"
        case DeploymentPhase.REPLACING:
            return f"replaced in place, requests wait meanwhile: {shift.reason}"
        case DeploymentPhase.SHIFTING:
            step = f"step {shift.step} of {shift.steps}"
            return f"{step}: the new replicas get {shift.share:.0%} of the requests"
        case DeploymentPhase.BAKING if shift.is_in_place:
            return f"watched before it is done; replaced in place: {shift.reason}"
        case DeploymentPhase.BAKING:
            return "the new replicas get all requests; the old ones are kept for a while"
        case _:
            return f"taken back: {shift.reason}"


def _progress(word: str, view: VariantView, since_s: float) -> Body:
    status: Body = {"Status": word, "StartTime": since_s}
    waiting = sum(replica.state == _WITHOUT_ROOM for replica in view.replicas)
    if waiting:
        status["StatusMessage"] = _wait_for_room(waiting, view)[:_MESSAGE_CHARS_MAX]
    elif view.decisions:
        latest = view.decisions[-1]
        status["StatusMessage"] = f"{latest.what}: {latest.reason}"[:_MESSAGE_CHARS_MAX]
    return status


def _wait_for_room(count: int, view: VariantView) -> str:
    """Say what new replicas wait for: others hold it, and may do so for as long as they like."""
    wanted = view.revision.spec.resources
    needs = " or ".join(map(str, wanted.gpus))
    memory = f"{wanted.memory_bytes / GIB:.3g} GiB of memory"
    each = f"{needs} and {memory}" if needs else memory
    return (
        f"{count} new replica(s) wait for room: each needs {each}, which other replicas hold. "
        "Delete an endpoint, lower its count, or update to a config that asks for less."
    )
