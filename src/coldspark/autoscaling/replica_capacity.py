"""Between capacity and replicas: what a variant has, and the bounds that a capacity makes."""

import math

from coldspark.autoscaling.scalable_target import ScalableDimension, ScalableTarget, TargetId
from coldspark.errors import NotFound
from coldspark.platform.ports import EndpointView, Platform, VariantView
from coldspark.spec.types import EndpointName, EndpointStatus, VariantName

_SERVING = ("ready", "busy")


def endpoint_of_component(platform: Platform, component: str) -> EndpointName | None:
    """Return which endpoint has a component; their names are one's own among all endpoints."""
    for view in platform.endpoints():
        if view.definition.has_components and any(
            one.name == component for one in view.definition.variants
        ):
            return view.name
    return None


def find(platform: Platform, place: TargetId) -> tuple[EndpointView, VariantView] | None:
    """Return a place's endpoint and variant, or None where there is no such thing."""
    try:
        endpoint = platform.endpoint(EndpointName(place.endpoint))
    except NotFound:
        return None
    if endpoint.status is EndpointStatus.RETIRING:
        return None
    if endpoint.definition.has_components is not (place.dimension is ScalableDimension.COPIES):
        return None
    named = (one for one in endpoint.variants if one.name == VariantName(place.variant))
    variant = next(named, None)
    return None if variant is None else (endpoint, variant)


def own_counts(view: VariantView) -> tuple[int, int]:
    """Return the variant's own fewest and most replicas."""
    scale = view.revision.spec.scale
    return scale.replicas_min, scale.replicas_max


def capacity_of(place: TargetId, view: VariantView, replicas: int) -> int:
    """Return what so many replicas come to."""
    if place.dimension.is_replicas:
        return replicas
    return replicas * view.revision.spec.scale.concurrency


def replicas_of(target: ScalableTarget, view: VariantView) -> tuple[int, int | None]:
    """Return the bounds that a target's capacity makes. 5 of 4 slots each are 2 replicas."""
    if target.place.dimension.is_replicas:
        return target.capacity, max(1, target.capacity)
    return math.ceil(target.capacity / view.revision.spec.scale.concurrency), None


def is_reached(target: ScalableTarget, view: VariantView) -> bool:
    """Return whether the variant has what was asked for, ready."""
    floor, ceiling = replicas_of(target, view)
    ready = sum(one.state in _SERVING for one in view.replicas)
    return floor <= ready and (ceiling is None or ready <= ceiling)
