"""What AWS's words say of an endpoint beyond what runs: kept in its definition's labels, as JSON.

So it changes together with what runs, in the platform's one write: no crash can part the two, and
an endpoint has no document of its own.
"""

from dataclasses import replace

import msgspec

from coldspark.doors.aws.sagemaker.records import (
    Container,
    DataCapture,
    ManagedScaling,
    ProductionVariant,
    ServerlessConfig,
)
from coldspark.spec.types import EndpointDefinition, VariantDefinition

_LABEL = "sagemaker"


class VariantAnnotations(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What AWS's words say of a variant beyond its spec."""

    image: str | None = None
    serverless: ServerlessConfig | None = None
    instances: int | None = None
    scaling: ManagedScaling | None = None
    routing: dict[str, object] | None = None
    instance_type: str | None = None
    """Of a variant without a model, whose instances components share."""

    def pool(self, name: str) -> ProductionVariant:
        """Return a variant without a model as it was sent, with the instances it has now."""
        return ProductionVariant(
            variant_name=name,
            instance_type=self.instance_type,
            initial_instance_count=self.instances,
            managed_instance_scaling=self.scaling,
        )


class ComponentAnnotations(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What AWS's words say of an inference component beyond its spec."""

    variant: str
    """Whose instances it shares."""
    specification: dict[str, object]
    """As it was sent."""
    container: Container = Container()
    """What it runs: a model may change or go."""
    gpu_tags: dict[str, str] = {}
    created_ms: int
    updated_ms: int
    deployment: dict[str, object] | None = None
    """The DeploymentConfig of its last update that had one."""


class EndpointAnnotations(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What AWS's words say of an endpoint: the value of its label."""

    config: str
    variants: dict[str, VariantAnnotations]
    shadows: dict[str, VariantAnnotations] = {}
    deployment: dict[str, object] | None = None
    capture: DataCapture | None = None
    asynchronous: dict[str, object] | None = None
    """Its AsyncInferenceConfig, as it was sent."""
    components: dict[str, ComponentAnnotations] = {}


def annotations_of(definition: EndpointDefinition) -> EndpointAnnotations | None:
    """Return the note that this door left, or None for an endpoint of another door."""
    text = dict(definition.labels).get(_LABEL)
    return None if text is None else msgspec.json.decode(text, type=EndpointAnnotations)


def with_annotations(
    definition: EndpointDefinition,
    variants: tuple[VariantDefinition, ...],
    note: EndpointAnnotations,
) -> EndpointDefinition:
    """Return the definition with other variants and the note that goes with them."""
    return replace(definition, variants=variants, labels=annotation_labels(note))


def annotation_labels(note: EndpointAnnotations) -> tuple[tuple[str, str], ...]:
    """Return the labels that hold a note."""
    return ((_LABEL, msgspec.json.encode(note).decode()),)
