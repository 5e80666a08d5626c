"""From an endpoint config to the definition that the platform runs; see also ``notes``."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.sagemaker import models
from coldspark.doors.aws.sagemaker.annotations import (
    EndpointAnnotations,
    VariantAnnotations,
    annotation_labels,
)
from coldspark.doors.aws.sagemaker.components.endpoints import components_of, is_of_components
from coldspark.doors.aws.sagemaker.deployment_configs import deployment_policy
from coldspark.doors.aws.sagemaker.endpoint_configs import CONFIGS
from coldspark.doors.aws.sagemaker.model_data import with_data_stamp
from coldspark.doors.aws.sagemaker.models import MODELS
from coldspark.doors.aws.sagemaker.records import (
    AsyncConfig,
    DataCapture,
    EndpointChange,
    EndpointConfig,
    ProductionVariant,
    read,
)
from coldspark.doors.aws.sagemaker.request import DOOR, SageMakerRequest
from coldspark.doors.aws.sagemaker.variants import is_managed, variant_definition
from coldspark.spec.types import CaptureRule, EndpointDefinition, EndpointName, VariantDefinition


def capture_rule(asked: DataCapture | None) -> CaptureRule | None:
    """Return what is captured; None when it is switched off."""
    if asked is None or not asked.enable_capture:
        return None
    modes = {option.capture_mode for option in asked.capture_options}
    types = asked.capture_content_type_header
    return CaptureRule(
        percent=asked.initial_sampling_percentage,
        destination=asked.destination_s3_uri,
        has_input=bool(modes & {"Input", "InputAndOutput"}),
        has_output=bool(modes & {"Output", "InputAndOutput"}),
        csv_types=tuple(media.lower() for media in types.csv_content_types),
        json_types=tuple(media.lower() for media in types.json_content_types),
    )


def capture_summary(asked: DataCapture, rule: CaptureRule | None) -> Body:
    """Return a DataCaptureConfigSummary."""
    return {
        "EnableCapture": asked.enable_capture,
        "CaptureStatus": "Stopped" if rule is None else "Started",
        "CurrentSamplingPercentage": asked.initial_sampling_percentage,
        "DestinationS3Uri": asked.destination_s3_uri,
        # Required by AWS's model; nothing is encrypted with a key of the caller's.
        "KmsKeyId": "",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What an update keeps of what runs: weights and instance counts by name, data capture."""

    weights: Mapping[str, float]
    instances: Mapping[str, int]
    has_capture: bool = False
    """Whether ``capture`` is kept, also where it is None."""
    capture: DataCapture | None = None


NOTHING_RETAINED = Retained(weights={}, instances={})


async def definition_of(
    call: SageMakerRequest,
    change: EndpointChange,
    own_tag: str | None,
    retained: Retained = NOTHING_RETAINED,
    deployment: Body | None = None,
    known: EndpointDefinition | None = None,
) -> EndpointDefinition:
    """Return what a create or update asks the platform for. Raises a ValidationException.

    ``known`` is what an update changes.
    """
    body = (await CONFIGS.load(call, change.endpoint_config_name)).body
    config = read(EndpointConfig, body)
    config_tag = await CONFIGS.gpu_tag(call, change.endpoint_config_name)
    places = {"endpoint": own_tag, "endpoint config": config_tag}
    kept = [_with_retained(variant, retained) for variant in config.production_variants]
    jobs = config.async_inference_config
    sent = body.get("ProductionVariants")
    if known is not None and known.has_components is not is_of_components(config):
        invalid(
            f"Endpoint '{change.endpoint_name}' cannot change between models of its variants and"
            " inference components: create another endpoint.",
            field="EndpointConfigName",
        )
    variants: tuple[VariantDefinition, ...] = ()
    notes = _pool_notes(kept, sent)
    if not is_of_components(config):
        variants, notes = await _variants(call, kept, sent, places, jobs)
    shadows, shadow_notes = await _variants(
        call, config.shadow_production_variants, body.get("ShadowProductionVariants"), places, jobs
    )
    asynchronous = body.get("AsyncInferenceConfig")
    capture = retained.capture if retained.has_capture else config.data_capture_config
    note = EndpointAnnotations(
        config=change.endpoint_config_name,
        variants=notes,
        shadows=shadow_notes,
        deployment=deployment,
        capture=capture,
        asynchronous=asynchronous if isinstance(asynchronous, dict) else None,
    )
    if is_of_components(config):
        note, variants = components_of(call, change.endpoint_name, places, note, known)
    try:
        return EndpointDefinition(
            name=EndpointName(change.endpoint_name),
            variants=variants,
            source=DOOR,
            labels=annotation_labels(note),
            shadows=shadows,
            capture=capture_rule(capture),
            shift=deployment_policy(deployment, call.alarms),
            jobs_only=note.asynchronous is not None,
            has_components=is_of_components(config),
        )
    except ValueError as error:
        invalid(f"Endpoint '{change.endpoint_name}' is not valid: {error}.")


def _pool_notes(asked: Sequence[ProductionVariant], sent: object) -> dict[str, VariantAnnotations]:
    """Return the notes of variants without a model."""
    bodies = sent if isinstance(sent, list) else []
    return {
        variant.variant_name: _variant_note(variant, None, body)
        for body, variant in zip(bodies, asked, strict=True)
    }


async def _variants(
    call: SageMakerRequest,
    asked: Sequence[ProductionVariant],
    sent: object,
    places: Mapping[str, str | None],
    asynchronous: AsyncConfig | None,
) -> tuple[tuple[VariantDefinition, ...], dict[str, VariantAnnotations]]:
    """Return variants and their notes; ``sent`` are their bodies as they came."""
    definitions: list[VariantDefinition] = []
    notes: dict[str, VariantAnnotations] = {}
    bodies = sent if isinstance(sent, list) else []
    for body, variant in zip(bodies, asked, strict=True):
        definition, image = await _variant(call, variant, places, asynchronous)
        definitions.append(definition)
        notes[variant.variant_name] = _variant_note(variant, image, body)
    # At a time: a store that does not answer is waited for once, not once for each variant.
    return tuple(
        await asyncio.gather(*(with_data_stamp(call.data, one) for one in definitions))
    ), notes


async def _variant(
    call: SageMakerRequest,
    variant: ProductionVariant,
    places: Mapping[str, str | None],
    asynchronous: AsyncConfig | None,
) -> tuple[VariantDefinition, str | None]:
    """Return a variant's definition, and its model's image."""
    assert variant.model_name is not None
    model = await models.load(call, variant.model_name)
    model_tag = await MODELS.gpu_tag(call, variant.model_name)
    gpu_tags = {
        place: text for place, text in {**places, "model": model_tag}.items() if text is not None
    }
    definition = variant_definition(
        variant,
        model.container,
        gpu_tags,
        call.catalogue,
        call.limits,
        asynchronous,
        images=call.images,
    )
    return definition, model.container.image


def _with_retained(variant: ProductionVariant, retained: Retained) -> ProductionVariant:
    name = variant.variant_name
    count = variant.initial_instance_count
    if count is not None and not is_managed(variant.managed_instance_scaling):
        count = retained.instances.get(name, count)
    return msgspec.structs.replace(
        variant,
        initial_variant_weight=retained.weights.get(name, variant.initial_variant_weight),
        initial_instance_count=count,
    )


def _variant_note(variant: ProductionVariant, image: str | None, sent: Body) -> VariantAnnotations:
    routing = sent.get("RoutingConfig")
    return VariantAnnotations(
        instance_type=variant.instance_type if variant.model_name is None else None,
        image=image,
        serverless=variant.serverless_config,
        instances=variant.initial_instance_count,
        scaling=variant.managed_instance_scaling,
        routing=routing if isinstance(routing, dict) else None,
    )
