"""Endpoint configs: which models an endpoint runs, on what, and for how many at a time."""

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.sagemaker import models
from coldspark.doors.aws.sagemaker.asynchronous.jobs import check_async
from coldspark.doors.aws.sagemaker.components.endpoints import check_pools, is_of_components
from coldspark.doors.aws.sagemaker.gpus import TAG
from coldspark.doors.aws.sagemaker.models import MODELS
from coldspark.doors.aws.sagemaker.records import (
    AsyncConfig,
    EndpointConfig,
    ProductionVariant,
    read,
)
from coldspark.doors.aws.sagemaker.request import SageMakerRequest
from coldspark.doors.aws.sagemaker.resources import ResourceKind
from coldspark.doors.aws.sagemaker.variants import variant_definition

CONFIGS = ResourceKind(
    noun="endpoint-config", title="endpoint configuration", member="EndpointConfig"
)


async def create(call: SageMakerRequest) -> Body:
    """CreateEndpointConfig: each variant is tried out on paper, so that errors come early."""
    config = read(EndpointConfig, call.body)
    await CONFIGS.refuse_taken(call, config.endpoint_config_name)
    _check_names(config)
    if config.async_inference_config is not None:
        check_async(call.jobs, config.async_inference_config)
    own_tag = next((tag.value for tag in config.tags if tag.key == TAG), None)
    if is_of_components(config):
        check_pools(config, own_tag, call.catalogue)
        return await CONFIGS.store(call, config.endpoint_config_name, config.tags)
    for variant in (*config.production_variants, *config.shadow_production_variants):
        await _try_out(call, variant, own_tag, config.async_inference_config)
    return await CONFIGS.store(call, config.endpoint_config_name, config.tags)


def _check_names(config: EndpointConfig) -> None:
    variants, shadows = config.production_variants, config.shadow_production_variants
    if shadows and len(variants) != 1:
        invalid(
            f"A shadow variant goes beside one production variant, not beside {len(variants)}.",
            field="ShadowProductionVariants",
        )
    names = [variant.variant_name for variant in (*variants, *shadows)]
    for name in names:
        if names.count(name) > 1:
            invalid(f'The variant name "{name}" was non-unique within the request.')
    if not any(variant.initial_variant_weight > 0 for variant in variants):
        invalid("At least one variant needs an InitialVariantWeight over 0.")


async def _try_out(
    call: SageMakerRequest,
    variant: ProductionVariant,
    own_tag: str | None,
    asynchronous: AsyncConfig | None,
) -> None:
    if variant.model_name is None:
        invalid(f"Variant '{variant.variant_name}' needs a ModelName.")
    model = await models.load(call, variant.model_name)
    model_tag = await MODELS.gpu_tag(call, variant.model_name)
    places = {"endpoint config": own_tag, "model": model_tag}
    gpu_tags = {place: text for place, text in places.items() if text is not None}
    variant_definition(
        variant,
        model.container,
        gpu_tags,
        call.catalogue,
        call.limits,
        asynchronous,
        images=call.images,
    )
