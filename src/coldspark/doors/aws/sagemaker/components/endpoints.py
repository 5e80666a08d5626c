"""Endpoints whose variants have no model: their components, as a config makes and changes them."""

from collections.abc import Mapping

import msgspec

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.sagemaker.annotations import (
    ComponentAnnotations,
    EndpointAnnotations,
    annotations_of,
)
from coldspark.doors.aws.sagemaker.components.records import Specification
from coldspark.doors.aws.sagemaker.components.specs import (
    component_definition,
    pool_of,
    refuse_over_capacity,
)
from coldspark.doors.aws.sagemaker.gpus import TAG
from coldspark.doors.aws.sagemaker.records import EndpointConfig, read
from coldspark.doors.aws.sagemaker.request import SageMakerRequest
from coldspark.platform.catalogue import Catalogue
from coldspark.spec.types import EndpointDefinition, VariantDefinition


def is_of_components(config: EndpointConfig) -> bool:
    """Return whether a config makes an endpoint for inference components."""
    return all(
        variant.model_name is None and variant.serverless_config is None
        for variant in config.production_variants
    )


def check_pools(config: EndpointConfig, own_tag: str | None, catalogue: Catalogue) -> None:
    """Refuse what does not go with variants without a model."""
    for variant in config.production_variants:
        pool_of(variant, catalogue)
    for member, given in (
        ("ShadowProductionVariants", config.shadow_production_variants),
        ("AsyncInferenceConfig", config.async_inference_config),
    ):
        if given:
            invalid(
                f"{member} does not go with variants that have no ModelName: their models are"
                " inference components. Leave it out, or name models.",
                field=member,
            )
    _refuse_tags({"endpoint config": own_tag})


def components_of(
    call: SageMakerRequest,
    name: str,
    places: Mapping[str, str | None],
    note: EndpointAnnotations,
    known: EndpointDefinition | None,
) -> tuple[EndpointAnnotations, tuple[VariantDefinition, ...]]:
    """Return an endpoint's note with its components, and these on the instances that it has now."""
    _refuse_tags(places)
    before = None if known is None else annotations_of(known)
    if known is None or before is None:
        return note, ()
    for component, one in before.components.items():
        if one.variant not in note.variants:
            invalid(
                f"Endpoint '{name}' has the inference component '{component}' on variant"
                f" '{one.variant}', which the new config lacks: delete the component first.",
                field="EndpointConfigName",
            )
    note = msgspec.structs.replace(note, components=before.components)
    variants = tuple(
        variant_of(
            call,
            str(variant.name),
            note.components[variant.name],
            note,
            variant.revision.spec.scale.replicas_min,
        )
        for variant in known.variants
    )
    refuse_overcommitted(call, note, variants)
    return note, variants


def variant_of(
    call: SageMakerRequest,
    name: str,
    component: ComponentAnnotations,
    note: EndpointAnnotations,
    copies: int,
) -> VariantDefinition:
    """Return a component as it runs. Raises a ValidationException."""
    pool = pool_of(note.variants[component.variant].pool(component.variant), call.catalogue)
    specification = read(Specification, component.specification)
    return component_definition(
        name, specification, component.container, component.gpu_tags, pool, copies, call
    )


def refuse_overcommitted(
    call: SageMakerRequest, note: EndpointAnnotations, variants: tuple[VariantDefinition, ...]
) -> None:
    """Refuse copies that the instances of their variant do not hold together."""
    for pool_name, pool_note in note.variants.items():
        names = {key for key, one in note.components.items() if one.variant == pool_name}
        mine = [
            (one, read(Specification, note.components[one.name].specification))
            for one in variants
            if one.name in names
        ]
        refuse_over_capacity(pool_of(pool_note.pool(pool_name), call.catalogue), mine)


def _refuse_tags(places: Mapping[str, str | None]) -> None:
    for place, text in places.items():
        if text is not None:
            invalid(
                f"Tag {TAG} '{text}' of the {place}: an endpoint for inference components has the"
                " GPUs of its InstanceType. Tag the component or its model.",
                field="Tags",
            )
