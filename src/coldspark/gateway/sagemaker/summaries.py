"""One variant as DescribeEndpoint shows it."""

from coldspark.core.types import EndpointStatus
from coldspark.gateway.sagemaker.calls import Body
from coldspark.gateway.sagemaker.deployments import EndpointNote, VariantNote
from coldspark.gateway.sagemaker.images import COMMAND_IMAGE, HANDLER_IMAGE
from coldspark.gateway.sagemaker.records import ManagedScaling, ServerlessConfig
from coldspark.gateway.sagemaker.variants import is_managed
from coldspark.runtime.ports import VariantView

_MESSAGE_CHARS_MAX = 1_024


def variant_summary(view: VariantView, note: EndpointNote | None, since_s: float) -> Body:
    """Return a ProductionVariantSummary; ``since_s`` is when the variant became what it is."""
    summary: Body = {
        "VariantName": view.name,
        "CurrentWeight": view.weight,
        "DesiredWeight": view.weight,
    }
    own = None if note is None else note.variants.get(view.name)
    summary |= _bounds(view, own)
    if own is not None and own.image is not None:
        summary["DeployedImages"] = [_image(own.image, view, since_s)]
    if own is not None and own.routing is not None:
        summary["RoutingConfig"] = own.routing
    if view.status is EndpointStatus.UPDATING:
        summary["VariantStatus"] = [_progress(view, since_s)]
    return summary


def _bounds(view: VariantView, own: VariantNote | None) -> Body:
    """Return the concurrency of a serverless variant, or else the count of instances."""
    if own is not None and own.serverless is not None:
        config = _serverless(own.serverless)
        return {"CurrentServerlessConfig": config, "DesiredServerlessConfig": config}
    count = sum(replica.state != "parked" for replica in view.replicas)
    desired = view.revision.spec.scale.replicas_min
    if own is None or not is_managed(own.scaling):
        return {"CurrentInstanceCount": count, "DesiredInstanceCount": desired}
    assert own.scaling is not None
    return {
        "CurrentInstanceCount": count,
        "DesiredInstanceCount": max(count, desired),
        "ManagedInstanceScaling": _scaling(own.scaling),
    }


def _serverless(config: ServerlessConfig) -> Body:
    body: Body = {
        "MemorySizeInMB": config.memory_size_in_mb,
        "MaxConcurrency": config.max_concurrency,
    }
    if config.provisioned_concurrency is not None:
        body["ProvisionedConcurrency"] = config.provisioned_concurrency
    return body


def _scaling(scaling: ManagedScaling) -> Body:
    body: Body = {"Status": scaling.status}
    if scaling.min_instance_count is not None:
        body["MinInstanceCount"] = scaling.min_instance_count
    if scaling.max_instance_count is not None:
        body["MaxInstanceCount"] = scaling.max_instance_count
    return body


def _image(image: str, view: VariantView, since_s: float) -> Body:
    """Return the image that was asked for, and what runs in its place."""
    is_handler = view.revision.spec.handler is not None
    return {
        "SpecifiedImage": image,
        "ResolvedImage": HANDLER_IMAGE if is_handler else COMMAND_IMAGE,
        "ResolutionTime": since_s,
    }


def _progress(view: VariantView, since_s: float) -> Body:
    status: Body = {"Status": "Updating", "StartTime": since_s}
    if view.decisions:
        latest = view.decisions[-1]
        status["StatusMessage"] = f"{latest.what}: {latest.reason}"[:_MESSAGE_CHARS_MAX]
    return status
