"""Endpoint configs: which models an endpoint runs, on what, and for how many at a time."""

from coldspark.gateway.sagemaker import models, pages, tags
from coldspark.gateway.sagemaker.arns import Resource
from coldspark.gateway.sagemaker.calls import DOOR, Body, Call, seconds
from coldspark.gateway.sagemaker.errors import already_exists, invalid, not_found
from coldspark.gateway.sagemaker.gpus import TAG
from coldspark.gateway.sagemaker.records import EndpointConfig, Listing, ProductionVariant, read
from coldspark.gateway.sagemaker.variants import variant_definition

NOUN = "endpoint-config"
_WORDS = "endpoint configuration"


async def create(call: Call) -> Body:
    """CreateEndpointConfig: each variant is tried out on paper, so that errors come early."""
    config = read(EndpointConfig, call.body)
    name = config.endpoint_config_name
    if await call.documents.get(DOOR, NOUN, name) is not None:
        already_exists(_WORDS, call.arn(NOUN, name))
    _check_names(config.production_variants)
    own_tag = next((tag.value for tag in config.tags if tag.key == TAG), None)
    for variant in config.production_variants:
        await _try_out(call, variant, own_tag)
    await tags.put_tags(call.documents, Resource(NOUN, name), config.tags)
    kept: Body = {name: value for name, value in call.body.items() if name != "Tags"}
    await call.documents.create(DOOR, NOUN, name, kept)
    return {"EndpointConfigArn": call.arn(NOUN, name)}


async def describe(call: Call) -> Body:
    """DescribeEndpointConfig: what was sent, as it was sent."""
    name = call.name("EndpointConfigName")
    document = await call.documents.get(DOOR, NOUN, name)
    if document is None:
        not_found(_WORDS, call.arn(NOUN, name))
    return {
        **document.body,
        "EndpointConfigArn": call.arn(NOUN, name),
        "CreationTime": seconds(document.created_ms),
    }


async def list_page(call: Call) -> Body:
    """ListEndpointConfigs."""
    documents = await call.documents.find(DOOR, NOUN)
    rows = [
        pages.Row(name=one.name, created_ms=one.created_ms, updated_ms=one.updated_ms)
        for one in documents
    ]
    shown, token = pages.page(rows, read(Listing, call.body))
    summaries = [
        {
            "EndpointConfigName": row.name,
            "EndpointConfigArn": call.arn(NOUN, row.name),
            "CreationTime": seconds(row.created_ms),
        }
        for row in shown
    ]
    return {"EndpointConfigs": summaries} | ({} if token is None else {"NextToken": token})


async def delete(call: Call) -> None:
    """DeleteEndpointConfig: endpoints that were made from it stay as they are."""
    name = call.name("EndpointConfigName")
    if not await call.documents.delete(DOOR, NOUN, name):
        not_found(_WORDS, call.arn(NOUN, name))
    await tags.drop_tags(call.documents, Resource(NOUN, name))


async def load(call: Call, name: str) -> Body:
    """Return a stored config's body. Raises a ValidationException if there is none."""
    document = await call.documents.get(DOOR, NOUN, name)
    if document is None:
        not_found(_WORDS, call.arn(NOUN, name))
    return document.body


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
    model_tag = await tags.gpu_tag(call.documents, Resource(models.NOUN, variant.model_name))
    places = {"endpoint config": own_tag, "model": model_tag}
    gpu_tags = {place: text for place, text in places.items() if text is not None}
    variant_definition(variant, model.container, gpu_tags, call.catalogue)
