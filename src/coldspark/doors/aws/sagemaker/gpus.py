"""Which GPU a variant asks for. AWS's API has no field for it, so there are four places.

In order of precedence (the first that is set names the GPU; two that disagree are an error):

1. ``InstanceType`` of the variant: ``ml.g5.xlarge``, or shortly ``A10G``, ``A100:2``
2. ``AcceleratorType`` of the variant: ``nvidia-t4``
3. the model's variable ``COLDSPARK_GPU``: ``T4``, ``A10G:2``, ``A100/0.5``, ``L4,A10G``
4. the tag ``coldspark:gpu`` of the endpoint, its config or the model

An instance type means all of its GPUs, also next to a ServerlessConfig: ``ml.p4d.24xlarge`` is
``A100:8``. A CPU instance type says that there shall be no GPU.
"""

from dataclasses import dataclass

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.platform.catalogue import Catalogue, InstanceType
from coldspark.spec.types import GpuRequest

TAG = "coldspark:gpu"

_SHOWN_MAX = 24


@dataclass(frozen=True, slots=True)
class Selector:
    """One place that names a GPU."""

    place: str
    text: str
    gpus: tuple[GpuRequest, ...]


def of_instance(text: str, catalogue: Catalogue) -> Selector:
    """Read an InstanceType: one of AWS's, or a GPU's name."""
    instance = catalogue.instance(text)
    if instance is not None:
        return Selector("InstanceType", text, _gpus_in(instance))
    try:
        return Selector("InstanceType", text, catalogue.parse_gpu(text))
    except ValueError:
        known = ", ".join(_shown_types(catalogue))
        invalid(
            f"1 validation error detected: Value '{text}' at 'instanceType' failed to satisfy "
            f"constraint: Member must satisfy enum value set: [{known}]",
            field="InstanceType",
        )


def named(place: str, text: str, catalogue: Catalogue) -> Selector:
    """Read a GPU's name from any other place."""
    try:
        return Selector(place, text, catalogue.parse_gpu(text))
    except ValueError as error:
        invalid(f"{place} '{text}' names no GPU: {error}.", field=place)


def choose(selectors: list[Selector]) -> tuple[GpuRequest, ...]:
    """Return what the selectors agree on, in their order; none means CPU."""
    if not selectors:
        return ()
    first = selectors[0]
    for other in selectors[1:]:
        if other.gpus != first.gpus:
            invalid(
                f"{first.place} '{first.text}' asks for {_written(first)} but {other.place} "
                f"'{other.text}' asks for {_written(other)}. Remove one of the two.",
                field=other.place,
            )
    return first.gpus


def _gpus_in(instance: InstanceType) -> tuple[GpuRequest, ...]:
    if instance.gpu is None:
        return ()
    return (GpuRequest(type=instance.gpu, count=instance.gpu_count),)


def _written(selector: Selector) -> str:
    return " or ".join(map(str, selector.gpus)) or "no GPU"


def _shown_types(catalogue: Catalogue) -> list[str]:
    """Return GPU types that may be asked for, then the first AWS types: 200 would help nobody."""
    short = [gpu.name for gpu in catalogue.gpus if gpu.is_recommended]
    families: dict[str, str] = {}
    for instance in catalogue.instances:
        families.setdefault(instance.name.rsplit(".", 1)[0], instance.name)
    return [*list(families.values())[:_SHOWN_MAX], *short]
