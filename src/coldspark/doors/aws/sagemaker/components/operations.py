"""Inference components: parts of an endpoint that share its instances, each with its own copies.

A component is a variant of the platform's endpoint that requests ask for by its name. All that is
kept of it lies in the endpoint's definition and note, which change together (see ``deployments``),
so kill -9 parts nothing.

- A change reaches callers copy by copy, in place, or as its DeploymentConfig says. While one goes
  by steps, no other component of the endpoint can change: the platform knows one change at a time.
- An endpoint is deleted after its components, as on AWS.
"""

from dataclasses import replace
from typing import NamedTuple

import msgspec

from coldspark import clock
from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.sagemaker import pages, tags
from coldspark.doors.aws.sagemaker.annotations import (
    ComponentAnnotations,
    EndpointAnnotations,
    annotations_of,
    with_annotations,
)
from coldspark.doors.aws.sagemaker.arns import Resource
from coldspark.doors.aws.sagemaker.components.endpoints import refuse_overcommitted, variant_of
from coldspark.doors.aws.sagemaker.components.records import (
    ComponentChange,
    ComponentDeployment,
    NewComponent,
    Specification,
)
from coldspark.doors.aws.sagemaker.deployment_configs import component_deployment_policy
from coldspark.doors.aws.sagemaker.endpoints import changeable
from coldspark.doors.aws.sagemaker.errors import already_exists, not_found
from coldspark.doors.aws.sagemaker.gpus import TAG
from coldspark.doors.aws.sagemaker.models import MODELS, load
from coldspark.doors.aws.sagemaker.records import ListRequest, read
from coldspark.doors.aws.sagemaker.request import SageMakerRequest, seconds
from coldspark.doors.aws.sagemaker.variant_summaries import resolved_image
from coldspark.errors import ColdsparkError
from coldspark.fleet.deployment import DeploymentPhase
from coldspark.platform.ports import EndpointView, VariantView
from coldspark.spec.types import EndpointDefinition, EndpointStatus, VariantDefinition, VariantName

NOUN = "inference-component"
_WORDS = "inference component"
_REASON_CHARS_MAX = 1_024
_SERVING = ("ready", "busy")
_STATUSES = {
    EndpointStatus.READY: "InService",
    EndpointStatus.UPDATING: "Updating",
    EndpointStatus.FAILED: "Failed",
    EndpointStatus.RETIRING: "Deleting",
}


class ComponentLocation(NamedTuple):
    """A component where it is."""

    view: EndpointView
    annotations: EndpointAnnotations
    component: ComponentAnnotations
    variant: VariantView


async def create(call: SageMakerRequest) -> Body:
    """CreateInferenceComponent."""
    asked = read(NewComponent, call.body)
    name = asked.inference_component_name
    if _find(call, name) is not None:
        already_exists(_WORDS, call.arn(NOUN, name))
    view, note = changeable(call, asked.endpoint_name)
    if not view.definition.has_components:
        invalid(
            f"Endpoint '{asked.endpoint_name}' runs the models that its variants name: an endpoint"
            " config whose variants have no ModelName makes one for inference components.",
            field="EndpointName",
        )
    if asked.runtime_config is None:
        invalid(f"Component '{name}' needs RuntimeConfig.", field="RuntimeConfig")
    own_tag = next((tag.value for tag in asked.tags if tag.key == TAG), None)
    now_ms = clock.wall_ms()
    component = await _component(
        call,
        ComponentAnnotations(
            variant=_pool_name(asked.variant_name, note),
            specification=asked.specification or {},
            created_ms=now_ms,
            updated_ms=now_ms,
        ),
        own_tag,
    )
    variant = variant_of(call, name, component, note, asked.runtime_config.copy_count)
    resource = Resource(NOUN, name)
    await tags.put_tags(call.documents, resource, asked.tags)
    try:
        await _deploy(call, view, note, name, component, variant)
    except ColdsparkError:
        await tags.remove_tags(call.documents, resource)
        raise
    return {"InferenceComponentArn": call.arn(NOUN, name)}


async def update(call: SageMakerRequest) -> Body:
    """UpdateInferenceComponent: another specification, another count of copies, or both."""
    change = read(ComponentChange, call.body)
    found = _changeable(call, change.inference_component_name)
    if change.specification is None and change.runtime_config is None:
        invalid("Give a Specification or a RuntimeConfig: there is nothing to update.")
    copies = None if change.runtime_config is None else change.runtime_config.copy_count
    return await _update(call, found, change, copies)


async def update_copies(call: SageMakerRequest) -> Body:
    """UpdateInferenceComponentRuntimeConfig."""
    change = read(ComponentChange, call.body)
    found = _changeable(call, change.inference_component_name)
    assert change.desired_runtime_config is not None
    return await _update(call, found, change, change.desired_runtime_config.copy_count)


async def _update(
    call: SageMakerRequest, found: ComponentLocation, change: ComponentChange, copies: int | None
) -> Body:
    name, component, own = change.inference_component_name, found.component, _own(found)
    before = own.revision.spec.scale.replicas_min
    count = before if copies is None else copies
    component = msgspec.structs.replace(component, updated_ms=clock.wall_ms())
    if change.deployment_config is not None:
        component = msgspec.structs.replace(component, deployment=change.deployment_config)
    if change.specification is None:
        scale = replace(own.revision.spec.scale, replicas_min=count, replicas_max=max(1, count))
        # The revision's id stays: its copies serve on, and only those that are missing start.
        spec = replace(own.revision.spec, scale=scale)
        variant = replace(own, revision=replace(own.revision, spec=spec))
    else:
        merged = _merged(component.specification, change.specification)
        component = msgspec.structs.replace(component, specification=merged)
        own_tag = await tags.gpu_tag(call.documents, Resource(NOUN, name))
        if {"ModelName", "Container"} & change.specification.keys():
            component = await _component(call, component, own_tag)
        variant = variant_of(call, name, component, found.annotations, count)
    floor = found.variant.floor
    if copies is not None and variant == own and floor.min != before:
        invalid(
            f"Component '{name}' has {before} copies of its own already; now it has {floor.min}"
            f" ({floor.reason}): change the bounds or the schedule that say so."
        )
    await _deploy(
        call, found.view, found.annotations, name, component, variant, change.deployment_config
    )
    return {"InferenceComponentArn": call.arn(NOUN, name)}


async def delete(call: SageMakerRequest) -> None:
    """DeleteInferenceComponent: what waits is answered, what runs may finish."""
    name = call.name("InferenceComponentName")
    found = _changeable(call, name)
    _refuse_in_progress(call, found.view)
    components = {key: one for key, one in found.annotations.components.items() if key != name}
    variants = tuple(one for one in found.view.definition.variants if one.name != name)
    note = msgspec.structs.replace(found.annotations, components=components)
    await call.platform.deploy(_definition(found.view.definition, variants, note))
    await tags.remove_tags(call.documents, Resource(NOUN, name))


async def describe(call: SageMakerRequest) -> Body:
    """DescribeInferenceComponent."""
    name = call.name("InferenceComponentName")
    found = _find(call, name)
    if found is None:
        not_found(_WORDS, call.arn(NOUN, name))
    component, ready = found.component, _ready(found.variant)
    answer: Body = {
        **_summary(call, name, found),
        "Specification": _specification(component, found.variant),
        "RuntimeConfig": {
            "DesiredCopyCount": found.variant.floor.min,
            "CurrentCopyCount": ready,
        },
    }
    if component.deployment is not None:
        answer["LastDeploymentConfig"] = component.deployment
    failure = found.variant.failure or dict(found.view.taken_back).get(found.variant.name)
    if _status(found) == "Failed" or failure is not None:
        answer["FailureReason"] = (failure or "The reason is not known.")[:_REASON_CHARS_MAX]
    return answer


async def list_page(call: SageMakerRequest) -> Body:
    """ListInferenceComponents."""
    listing = read(ListRequest, call.body)
    everything = {
        name: found
        for view in call.platform.endpoints()
        for name, found in _components(view).items()
        if listing.endpoint_name_equals in (None, view.name)
        and listing.variant_name_equals in (None, found.component.variant)
    }
    rows = [
        pages.ListedResource(
            name=name,
            created_ms=found.component.created_ms,
            updated_ms=found.component.updated_ms,
            status=_status(found),
        )
        for name, found in everything.items()
    ]
    shown, token = pages.page(rows, listing)
    summaries = [_summary(call, row.name, everything[row.name]) for row in shown]
    return {"InferenceComponents": summaries} | ({} if token is None else {"NextToken": token})


# --- where components are ---------------------------------------------------------------------


def _components(view: EndpointView) -> dict[str, ComponentLocation]:
    """Return an endpoint's components by name."""
    if not view.definition.has_components:
        return {}
    note = annotations_of(view.definition)
    if note is None:
        return {}
    variants = {str(variant.name): variant for variant in view.variants}
    for variant in () if view.shift is None else view.shift.variants:
        variants.setdefault(str(variant.name), variant)
    return {
        name: ComponentLocation(view, note, component, variants[name])
        for name, component in note.components.items()
        if name in variants
    }


def _find(call: SageMakerRequest, name: str) -> ComponentLocation | None:
    found = (_components(view).get(name) for view in call.platform.endpoints())
    return next((one for one in found if one is not None), None)


def _changeable(call: SageMakerRequest, name: str) -> ComponentLocation:
    """Return a component that can be changed now. Raises a ValidationException."""
    found = _find(call, name)
    if found is None:
        not_found(_WORDS, call.arn(NOUN, name))
    changeable(call, found.view.name)
    return found


def _refuse_in_progress(call: SageMakerRequest, view: EndpointView) -> None:
    """Refuse a change beside one that goes by steps: it would end that at once."""
    if view.shift is not None:
        invalid(
            f'Cannot update in-progress endpoint "{call.arn("endpoint", view.name)}": a change of'
            " one of its components goes by steps. Wait until it is done."
        )


def _own(found: ComponentLocation) -> VariantDefinition:
    name = found.variant.name
    return next(one for one in found.view.definition.variants if one.name == name)


def _pool_name(asked: str | None, note: EndpointAnnotations) -> str:
    if asked is None:
        if len(note.variants) > 1:
            invalid(
                f"VariantName is needed: the endpoint has {', '.join(note.variants)}.",
                field="VariantName",
            )
        return next(iter(note.variants))
    if asked not in note.variants:
        invalid(
            f'The variant name(s) "{asked}" is/are not present within endpoint configuration '
            f'"{note.config}".'
        )
    return asked


# --- what runs --------------------------------------------------------------------------------


async def _component(
    call: SageMakerRequest, component: ComponentAnnotations, own_tag: str | None
) -> ComponentAnnotations:
    """Return a component with what its specification runs, as it is now."""
    specification = read(Specification, component.specification)
    if (specification.model_name is None) == (specification.container is None):
        invalid("A Specification needs either ModelName or Container.", field="Specification")
    places = {"component": own_tag}
    if specification.model_name is not None:
        container = (await load(call, specification.model_name)).container
        places["model"] = await MODELS.gpu_tag(call, specification.model_name)
    else:
        assert specification.container is not None
        container = specification.container.container
    gpu_tags = {place: text for place, text in places.items() if text is not None}
    return msgspec.structs.replace(component, container=container, gpu_tags=gpu_tags)


def _merged(before: Body, sent: Body) -> Body:
    """Return a specification after an update: what is not sent stays as it was.

    A model takes the place of a container, and the other way round.
    """
    kept = dict(before)
    if "ModelName" in sent:
        kept.pop("Container", None)
    container = sent.get("Container")
    if not isinstance(container, dict):
        return kept | sent
    former = {} if "ModelName" in kept else kept.get("Container", {})
    assert isinstance(former, dict)
    kept.pop("ModelName", None)
    return kept | sent | {"Container": former | container}


async def _deploy(
    call: SageMakerRequest,
    view: EndpointView,
    note: EndpointAnnotations,
    name: str,
    component: ComponentAnnotations,
    variant: VariantDefinition,
    deployment: Body | None = None,
) -> None:
    _refuse_in_progress(call, view)
    note = msgspec.structs.replace(note, components={**note.components, name: component})
    others = [one for one in view.definition.variants if one.name != name]
    variants = tuple(sorted([*others, variant], key=lambda one: one.name))
    refuse_overcommitted(call, note, variants)
    definition = _definition(view.definition, variants, note)
    if deployment is not None:
        asked = read(ComponentDeployment, deployment)
        copies = variant.revision.spec.scale.replicas_min
        definition = replace(
            definition, shift=component_deployment_policy(asked, copies, call.alarms)
        )
    await call.platform.deploy(definition)


def _definition(
    before: EndpointDefinition, variants: tuple[VariantDefinition, ...], note: EndpointAnnotations
) -> EndpointDefinition:
    """Return an endpoint with other components; a former change's policy is over with it."""
    definition = with_annotations(before, variants, note)
    return replace(definition, shift=None, previous=None, changed_ms=None)


# --- what is told -----------------------------------------------------------------------------


def _summary(call: SageMakerRequest, name: str, found: ComponentLocation) -> Body:
    component = found.component
    return {
        "InferenceComponentName": name,
        "InferenceComponentArn": call.arn(NOUN, name),
        "EndpointName": found.view.name,
        "EndpointArn": call.arn("endpoint", found.view.name),
        "VariantName": component.variant,
        "InferenceComponentStatus": _status(found),
        "CreationTime": seconds(component.created_ms),
        "LastModifiedTime": seconds(component.updated_ms),
    }


def _status(found: ComponentLocation) -> str:
    component, variant, shift = found.component, found.variant, found.view.shift
    if shift is not None and any(_differs(found, one) for one in shift.variants):
        return "Updating"
    is_new = component.created_ms == component.updated_ms
    if variant.status is EndpointStatus.UPDATING and is_new:
        return "Creating"
    return _STATUSES[variant.status]


def _differs(found: ComponentLocation, new: VariantView) -> bool:
    is_over = found.view.shift is not None and found.view.shift.phase in (
        DeploymentPhase.DONE,
        DeploymentPhase.REVERTED,
    )
    mine = VariantName(found.variant.name)
    return not is_over and new.name == mine and new.revision.id != found.variant.revision.id


def _ready(view: VariantView) -> int:
    return sum(replica.state in _SERVING for replica in view.replicas)


def _specification(component: ComponentAnnotations, view: VariantView) -> Body:
    """Return an InferenceComponentSpecificationSummary: as it was sent, and the image's meaning."""
    told: Body = dict(component.specification)
    sent = told.get("Container")
    container: Body = dict(sent) if isinstance(sent, dict) else {}
    container.pop("Image", None)
    image = component.container.image
    if image is not None:
        since_s = seconds(component.updated_ms)
        container["DeployedImage"] = resolved_image(image, view, since_s)
    return told | ({"Container": container} if container else {})
