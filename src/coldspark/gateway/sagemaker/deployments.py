"""From an endpoint config to the definition that the platform runs, and what Describe needs of it.

What AWS's clients want to read back of an endpoint lies in the definition's labels, as JSON. So it
changes together with what runs, in the platform's one write: no crash can part the two, and an
endpoint has no document of its own.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from coldspark.core.types import EndpointDefinition, EndpointName, VariantDefinition
from coldspark.gateway.aws.errors import invalid
from coldspark.gateway.sagemaker import models
from coldspark.gateway.sagemaker.calls import DOOR, Body, Call
from coldspark.gateway.sagemaker.capturing import capture_rule
from coldspark.gateway.sagemaker.data_stamps import stamped
from coldspark.gateway.sagemaker.endpoint_configs import CONFIGS
from coldspark.gateway.sagemaker.models import MODELS
from coldspark.gateway.sagemaker.records import (
    AsyncConfig,
    DataCapture,
    EndpointChange,
    EndpointConfig,
    ManagedScaling,
    ProductionVariant,
    ServerlessConfig,
    read,
)
from coldspark.gateway.sagemaker.shifting import shift_policy
from coldspark.gateway.sagemaker.variants import is_managed, variant_definition

_LABEL = "sagemaker"


class VariantNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What AWS's words say of a variant beyond its spec."""

    image: str | None = None
    serverless: ServerlessConfig | None = None
    instances: int | None = None
    scaling: ManagedScaling | None = None
    routing: dict[str, object] | None = None


class EndpointNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What AWS's words say of an endpoint: the value of its label."""

    config: str
    variants: dict[str, VariantNote]
    shadows: dict[str, VariantNote] = {}
    deployment: dict[str, object] | None = None
    capture: DataCapture | None = None
    asynchronous: dict[str, object] | None = None
    """Its AsyncInferenceConfig, as it was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What an update keeps of what runs: weights and instance counts by name, data capture."""

    weights: Mapping[str, float]
    instances: Mapping[str, int]
    has_capture: bool = False
    """Whether ``capture`` is kept, also where it is None."""
    capture: DataCapture | None = None


NOTHING_RETAINED = Retained(weights={}, instances={})


def note_of(definition: EndpointDefinition) -> EndpointNote | None:
    """Return the note that this door left, or None for an endpoint of another door."""
    text = dict(definition.labels).get(_LABEL)
    return None if text is None else msgspec.json.decode(text, type=EndpointNote)


def with_note(
    definition: EndpointDefinition, variants: tuple[VariantDefinition, ...], note: EndpointNote
) -> EndpointDefinition:
    """Return the definition with other variants and the note that goes with them."""
    return replace(definition, variants=variants, labels=_labels(note))


async def definition_of(
    call: Call,
    change: EndpointChange,
    own_tag: str | None,
    retained: Retained = NOTHING_RETAINED,
    deployment: Body | None = None,
) -> EndpointDefinition:
    """Return what a create or update asks the platform for. Raises a ValidationException."""
    body = (await CONFIGS.load(call, change.endpoint_config_name)).body
    config = read(EndpointConfig, body)
    config_tag = await CONFIGS.gpu_tag(call, change.endpoint_config_name)
    places = {"endpoint": own_tag, "endpoint config": config_tag}
    kept = [_with_retained(variant, retained) for variant in config.production_variants]
    jobs = config.async_inference_config
    variants, notes = await _variants(call, kept, body.get("ProductionVariants"), places, jobs)
    shadows, shadow_notes = await _variants(
        call, config.shadow_production_variants, body.get("ShadowProductionVariants"), places, jobs
    )
    asynchronous = body.get("AsyncInferenceConfig")
    capture = retained.capture if retained.has_capture else config.data_capture_config
    note = EndpointNote(
        config=change.endpoint_config_name,
        variants=notes,
        shadows=shadow_notes,
        deployment=deployment,
        capture=capture,
        asynchronous=asynchronous if isinstance(asynchronous, dict) else None,
    )
    try:
        return EndpointDefinition(
            name=EndpointName(change.endpoint_name),
            variants=variants,
            source=DOOR,
            labels=_labels(note),
            shadows=shadows,
            capture=capture_rule(capture),
            shift=shift_policy(deployment, call.alarms),
            jobs_only=note.asynchronous is not None,
        )
    except ValueError as error:
        invalid(f"Endpoint '{change.endpoint_name}' is not valid: {error}.")


async def _variants(
    call: Call,
    asked: Sequence[ProductionVariant],
    sent: object,
    places: Mapping[str, str | None],
    asynchronous: AsyncConfig | None,
) -> tuple[tuple[VariantDefinition, ...], dict[str, VariantNote]]:
    """Return variants and their notes; ``sent`` are their bodies as they came."""
    definitions: list[VariantDefinition] = []
    notes: dict[str, VariantNote] = {}
    bodies = sent if isinstance(sent, list) else []
    for body, variant in zip(bodies, asked, strict=True):
        definition, image = await _variant(call, variant, places, asynchronous)
        definitions.append(definition)
        notes[variant.variant_name] = _variant_note(variant, image, body)
    # At a time: a store that does not answer is waited for once, not once for each variant.
    return tuple(await asyncio.gather(*(stamped(call.data, one) for one in definitions))), notes


async def _variant(
    call: Call,
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


def _labels(note: EndpointNote) -> tuple[tuple[str, str], ...]:
    return ((_LABEL, msgspec.json.encode(note).decode()),)


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


def _variant_note(variant: ProductionVariant, image: str | None, sent: Body) -> VariantNote:
    routing = sent.get("RoutingConfig")
    return VariantNote(
        image=image,
        serverless=variant.serverless_config,
        instances=variant.initial_instance_count,
        scaling=variant.managed_instance_scaling,
        routing=routing if isinstance(routing, dict) else None,
    )
