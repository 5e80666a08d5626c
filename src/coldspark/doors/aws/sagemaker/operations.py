"""The control plane as a service: ``X-Amz-Target: SageMaker.<Op>``, JSON 1.1.

A caller needs the scope ``deploy`` for every name that the request mentions, also to look: a
model's environment may hold secrets. A list needs ``deploy`` without a name.
"""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from coldspark.autoscaling.replica_capacity import endpoint_of_component
from coldspark.config import NO_LIMITS, AwsLimits
from coldspark.doors.aws.protocol.operations import OperationRequest, Service, operations
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.sagemaker import (
    endpoint_configs,
    endpoints,
    models,
    tags,
    variant_weights,
)
from coldspark.doors.aws.sagemaker.arns import parse_resource
from coldspark.doors.aws.sagemaker.asynchronous.jobs import AsyncJobs
from coldspark.doors.aws.sagemaker.components import operations as components
from coldspark.doors.aws.sagemaker.endpoint_configs import CONFIGS
from coldspark.doors.aws.sagemaker.errors import TYPES
from coldspark.doors.aws.sagemaker.images import ImageCatalogue
from coldspark.doors.aws.sagemaker.model_data import ModelData
from coldspark.doors.aws.sagemaker.models import MODELS
from coldspark.doors.aws.sagemaker.request import SageMakerRequest
from coldspark.doors.aws.sagemaker.shapes import OVERLAY
from coldspark.doors.door import DoorDependencies
from coldspark.platform.catalogue import Catalogue
from coldspark.platform.metric_ports import Alarms
from coldspark.platform.ports import DocumentStore, Platform

_NAMES = ("ModelName", "EndpointConfigName", "EndpointName", "InferenceComponentName")
_VARIANTS = ("ProductionVariants", "ShadowProductionVariants")

Run = Callable[[SageMakerRequest], Awaitable[Body | None]]

_READS: dict[str, Run] = {
    "DescribeModel": models.describe,
    "ListModels": MODELS.list_page,
    "DescribeEndpointConfig": CONFIGS.describe,
    "ListEndpointConfigs": CONFIGS.list_page,
    "DescribeEndpoint": endpoints.describe,
    "ListEndpoints": endpoints.list_page,
    "DescribeInferenceComponent": components.describe,
    "ListInferenceComponents": components.list_page,
    "ListTags": tags.list_tags,
}
_CHANGES: dict[str, Run] = {
    "CreateModel": models.create,
    "DeleteModel": MODELS.delete,
    "CreateEndpointConfig": endpoint_configs.create,
    "DeleteEndpointConfig": CONFIGS.delete,
    "CreateEndpoint": endpoints.create,
    "UpdateEndpoint": endpoints.update,
    "DeleteEndpoint": endpoints.delete,
    "UpdateEndpointWeightsAndCapacities": variant_weights.update,
    "CreateInferenceComponent": components.create,
    "UpdateInferenceComponent": components.update,
    "UpdateInferenceComponentRuntimeConfig": components.update_copies,
    "DeleteInferenceComponent": components.delete,
    "AddTags": tags.add_tags,
    "DeleteTags": tags.delete_tags,
}


def sagemaker(
    platform: Platform,
    documents: DocumentStore,
    catalogue: Catalogue,
    alarms: Alarms | None = None,
    jobs: AsyncJobs | None = None,
    limits: AwsLimits = NO_LIMITS,
    images: ImageCatalogue | None = None,
    data: ModelData | None = None,
) -> Service:
    """Return the service over its neighbours. ``limits``: of what models may ask for."""
    known = images or ImageCatalogue()

    def call_of(asked: OperationRequest) -> SageMakerRequest:
        return SageMakerRequest(
            platform=platform,
            documents=documents,
            catalogue=catalogue,
            alarms=alarms,
            jobs=jobs,
            images=known,
            data=data,
            region=asked.region,
            body=asked.body,
            limits=limits,
        )

    return Service(
        signing_name="sagemaker",
        target="SageMaker.",
        operations=operations(_READS, _CHANGES, OVERLAY.shapes, call_of, partial(_names, platform)),
        types=TYPES,
    )


def open_sagemaker(dependencies: DoorDependencies) -> Service:
    """Return the service of a server."""
    return sagemaker(
        dependencies.platform,
        dependencies.documents,
        dependencies.catalogue,
        dependencies.alarms,
        AsyncJobs.of(dependencies),
        dependencies.config.aws_limits,
        ImageCatalogue(dependencies.config.images),
        dependencies.services.artifacts,
    )


def _names(platform: Platform, body: Body) -> Iterator[str]:
    """Yield every name of a resource that a checked request mentions.

    Who changes a component changes its endpoint, so that one's name counts too.
    """
    for member in _NAMES:
        if member in body:
            yield str(body[member])
    for member in _VARIANTS:
        variants = body.get(member, [])
        assert isinstance(variants, list)
        for variant in variants:
            if "ModelName" in variant:
                yield str(variant["ModelName"])
    specification = body.get("Specification", {})
    assert isinstance(specification, dict)
    if "ModelName" in specification:
        yield str(specification["ModelName"])
    resource = parse_resource(str(body.get("ResourceArn", "")))
    named = [body["InferenceComponentName"]] if "InferenceComponentName" in body else []
    if resource is not None:
        yield resource.name
        named += [resource.name] if resource.noun == components.NOUN else []
    for component in named:
        endpoint = endpoint_of_component(platform, str(component))
        if endpoint is not None:
            yield endpoint
