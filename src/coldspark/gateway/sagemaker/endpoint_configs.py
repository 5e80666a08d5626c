"""Endpoint configs: which models an endpoint runs, on what, and for how many at a time."""

from coldspark.gateway.aws.errors import invalid
from coldspark.gateway.sagemaker import models
from coldspark.gateway.sagemaker.calls import Body, Call
from coldspark.gateway.sagemaker.gpus import TAG
from coldspark.gateway.sagemaker.models import MODELS
from coldspark.gateway.sagemaker.records import EndpointConfig, ProductionVariant, read
from coldspark.gateway.sagemaker.stored import Stored
from coldspark.gateway.sagemaker.variants import variant_definition

CONFIGS = Stored(noun="endpoint-config", words="endpoint configuration", member="EndpointConfig")


async def create(call: Call) -> Body:
    """CreateEndpointConfig: each variant is tried out on paper, so that errors come early."""
    config = read(EndpointConfig, call.body)
    await CONFIGS.refuse_taken(call, config.endpoint_config_name)
    _check_names(config.production_variants)
    own_tag = next((tag.value for tag in config.tags if tag.key == TAG), None)
    for variant in config.production_variants:
        await _try_out(call, variant, own_tag)
    return await CONFIGS.keep(call, config.endpoint_config_name, config.tags)


def _check_names(variants: tuple[ProductionVariant, ...]) -> None:
    names = [variant.variant_name for variant in variants]
    for name in names:
        if names.count(name) > 1:
            invalid(f'The variant name "{name}" was non-unique within the request.')
    if not any(variant.initial_variant_weight > 0 for variant in variants):
        invalid("At least one variant needs an InitialVariantWeight over 0.")


async def _try_out(call: Call, variant: ProductionVariant, own_tag: str | None) -> None:
    if variant.model_name is None:
        invalid(f"Variant '{variant.variant_name}' needs a ModelName.")
    model = await models.load(call, variant.model_name)
    model_tag = await MODELS.gpu_tag(call, variant.model_name)
    places = {"endpoint config": own_tag, "model": model_tag}
    gpu_tags = {place: text for place, text in places.items() if text is not None}
    variant_definition(variant, model.container, gpu_tags, call.catalogue, images=call.images)
