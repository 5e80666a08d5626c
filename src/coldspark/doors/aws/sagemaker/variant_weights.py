"""UpdateEndpointWeightsAndCapacities: other shares of traffic and other bounds, the same models."""

from dataclasses import replace

import msgspec

from coldspark.config import AwsLimits
from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.sagemaker.annotations import (
    EndpointAnnotations,
    VariantAnnotations,
    with_annotations,
)
from coldspark.doors.aws.sagemaker.endpoints import NOUN, changeable
from coldspark.doors.aws.sagemaker.records import DesiredVariant, DesiredVariants, read
from coldspark.doors.aws.sagemaker.request import SageMakerRequest
from coldspark.doors.aws.sagemaker.variants import check_serverless, is_managed, serverless_bounds
from coldspark.platform.ports import EndpointView
from coldspark.spec.types import VariantDefinition


async def update(call: SageMakerRequest) -> Body:
    """Change the variants that are named; the others stay. All of it happens, or nothing."""
    wanted = read(DesiredVariants, call.body)
    view, note = changeable(call, wanted.endpoint_name)
    if view.shift is not None:
        # As AWS: which weights would it be, those that go or those that come?
        invalid(f'Cannot update in-progress endpoint "{call.arn(NOUN, wanted.endpoint_name)}".')
    if view.definition.has_components:
        invalid(
            f"Endpoint '{wanted.endpoint_name}' has inference components, which no weights choose:"
            " use UpdateInferenceComponentRuntimeConfig for copies, and UpdateEndpoint for"
            " instances."
        )
    desired = _by_name(wanted.desired_weights_and_capacities, note)
    variants: list[VariantDefinition] = []
    notes = dict(note.variants)
    for variant in view.definition.variants:
        change = desired.get(variant.name)
        if change is not None:
            notes[variant.name] = _changed_note(change, notes[variant.name], call.limits)
            before, variant = variant, _changed(variant, change, notes[variant.name])
            _refuse_without_effect(change, before, variant, view)
        variants.append(variant)
    if not any(variant.weight > 0 for variant in variants):
        invalid("At least one variant must keep a weight over 0.", field="DesiredWeight")
    note = msgspec.structs.replace(note, variants=notes)
    await call.platform.deploy(with_annotations(view.definition, tuple(variants), note))
    return {"EndpointArn": call.arn(NOUN, wanted.endpoint_name)}


def _by_name(
    wanted: tuple[DesiredVariant, ...], note: EndpointAnnotations
) -> dict[str, DesiredVariant]:
    desired: dict[str, DesiredVariant] = {}
    for change in wanted:
        if change.variant_name in desired:
            invalid(f'The variant name "{change.variant_name}" was non-unique within the request.')
        desired[change.variant_name] = change
    absent = ", ".join(f'"{name}"' for name in desired if name not in note.variants)
    if absent:
        invalid(
            f"The variant name(s) {absent} is/are not present within endpoint configuration "
            f'"{note.config}".'
        )
    return desired


def _changed_note(
    change: DesiredVariant, note: VariantAnnotations, limits: AwsLimits
) -> VariantAnnotations:
    """Return the variant's bounds after the change. Raises a ValidationException."""
    name = change.variant_name
    update = change.serverless_update_config
    if update is not None:
        if note.serverless is None:
            invalid(f"Variant '{name}' is not serverless: use DesiredInstanceCount.")
        given = {key: value for key, value in msgspec.structs.asdict(update).items() if value}
        serverless = msgspec.structs.replace(note.serverless, **given)
        check_serverless(serverless, limits)
        note = msgspec.structs.replace(note, serverless=serverless)
    if change.desired_instance_count is not None:
        _check_count(name, change.desired_instance_count, note)
        note = msgspec.structs.replace(note, instances=change.desired_instance_count)
    return note


def _check_count(name: str, count: int, note: VariantAnnotations) -> None:
    if note.serverless is not None:
        invalid(f"Variant '{name}' is serverless: use ServerlessUpdateConfig.")
    if is_managed(note.scaling):
        invalid(
            f"Variant '{name}' has ManagedInstanceScaling, which sets the count by itself: "
            "update the endpoint to a config with other bounds."
        )
    if count < 1:
        invalid(
            f"Variant '{name}' cannot have 0 instances: for zero, use a ServerlessConfig, or "
            "ManagedInstanceScaling with MinInstanceCount 0."
        )


def _refuse_without_effect(
    change: DesiredVariant, before: VariantDefinition, after: VariantDefinition, view: EndpointView
) -> None:
    """Refuse a count that the variant has of its own already, where another one holds."""
    update = change.serverless_update_config
    is_asked = change.desired_instance_count is not None or (
        update is not None and update.provisioned_concurrency is not None
    )
    floor = next(one.floor for one in view.variants if one.name == before.name)
    least = after.revision.spec.scale.replicas_min
    if not is_asked or after.revision != before.revision or floor.min == least:
        return
    invalid(
        f"Variant '{before.name}' has this count of its own already; now it has another one"
        f" ({floor.reason}): change the bounds or the schedule that say so."
    )


def _changed(
    variant: VariantDefinition, change: DesiredVariant, note: VariantAnnotations
) -> VariantDefinition:
    """Return the variant with its new weight and bounds.

    The revision's id stays: its replicas serve on, and only as many as are missing are started.
    """
    spec = variant.revision.spec
    least, most = spec.scale.replicas_min, spec.scale.replicas_max
    if note.serverless is not None:
        least, most = serverless_bounds(note.serverless, spec.scale.concurrency)
    elif change.desired_instance_count is not None:
        least = most = change.desired_instance_count
    scale = replace(spec.scale, replicas_min=least, replicas_max=most)
    return replace(
        variant,
        weight=variant.weight if change.desired_weight is None else change.desired_weight,
        revision=replace(variant.revision, spec=replace(spec, scale=scale)),
    )
