"""From a component's specification to the variant that runs, on its share of an instance. Pure.

A component's copies are replicas, and each holds what ComputeResourceRequirements say. A variant
without a ModelName is a pool: its instance type names the GPUs that copies take, and its count of
instances bounds what all copies together may ask for.

A component of CopyCount 0 keeps no copy ready, and wakes one for a request: AWS fails it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.sagemaker import gpus
from coldspark.doors.aws.sagemaker.components.records import Requirements, Specification
from coldspark.doors.aws.sagemaker.model_env import ModelEnvSettings, read_model_env
from coldspark.doors.aws.sagemaker.records import Container, ProductionVariant
from coldspark.doors.aws.sagemaker.request import SageMakerRequest
from coldspark.doors.aws.sagemaker.variants import (
    host_share,
    instance_bounds,
    revision,
    scale_within,
    spec_of,
)
from coldspark.platform.catalogue import Catalogue
from coldspark.spec.types import MIB, GpuRequest, Resources, VariantDefinition, VariantName


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What the components of one variant share."""

    variant: str
    instance_type: str
    instances_max: int
    gpus: tuple[GpuRequest, ...]
    """Of one instance; none: it has no GPU."""
    memory_bytes: int
    """Of one instance."""
    vcpus: float

    @property
    def gpu_count(self) -> int:
        """Return how many GPUs an instance has."""
        return self.gpus[0].count if self.gpus else 0


def pool_of(variant: ProductionVariant, catalogue: Catalogue) -> Pool:
    """Return what a variant without a model has to share. Raises a ValidationException."""
    name = variant.variant_name
    if variant.instance_type is None or variant.initial_instance_count is None:
        invalid(f"Variant '{name}' needs a ModelName.")
    for member, value in (
        ("AcceleratorType", variant.accelerator_type),
        ("ServerlessConfig", variant.serverless_config),
        ("ModelDataDownloadTimeoutInSeconds", variant.model_data_download_timeout_in_seconds),
        (
            "ContainerStartupHealthCheckTimeoutInSeconds",
            variant.container_startup_health_check_timeout_in_seconds,
        ),
    ):
        if value is not None:
            invalid(
                f"Variant '{name}' has no ModelName, so its models are inference components:"
                f" {member} does not go with it. Say it with the component, or name a model.",
                field=member,
            )
    asks = gpus.of_instance(variant.instance_type, catalogue).gpus
    memory_bytes, vcpus = host_share(variant.instance_type, asks, catalogue)
    return Pool(
        variant=name,
        instance_type=variant.instance_type,
        instances_max=instance_bounds(variant)[1],
        gpus=asks,
        memory_bytes=memory_bytes,
        vcpus=vcpus,
    )


def component_definition(
    name: str,
    specification: Specification,
    container: Container,
    gpu_tags: Mapping[str, str],
    pool: Pool,
    copies: int,
    call: SageMakerRequest,
) -> VariantDefinition:
    """Return a component as the platform runs it. Raises a ValidationException."""
    asked = specification.compute_resource_requirements
    if asked is None:
        invalid(
            f"Component '{name}' needs ComputeResourceRequirements.",
            field="ComputeResourceRequirements",
        )
    startup = specification.startup_parameters
    variant = ProductionVariant(
        variant_name=name,
        model_name=specification.model_name or name,
        model_data_download_timeout_in_seconds=startup.model_data_download_timeout_in_seconds,
        container_startup_health_check_timeout_in_seconds=(
            startup.container_startup_health_check_timeout_in_seconds
        ),
    )
    knobs = read_model_env(container.environment)
    try:
        resources = _resources(asked, knobs, gpu_tags, pool, call.catalogue)
        scale = scale_within(copies, max(1, copies), knobs)
    except ValueError as error:
        invalid(f"Component '{name}' is not valid: {error}.")
    spec = spec_of(variant, container, knobs, call.images, call.limits, resources, scale)
    return VariantDefinition(name=VariantName(name), revision=revision(spec))


def refuse_over_capacity(
    pool: Pool, components: Iterable[tuple[VariantDefinition, Specification]]
) -> None:
    """Refuse more copies than a pool's instances hold together.

    Four copies of one GPU each fill one instance of four; a fifth needs a second instance. Cores
    count where they are asked for.
    """
    used = {"GPUs": 0.0, "MiB of memory": 0.0, "vCPUs": 0.0}
    for variant, specification in components:
        asked = specification.compute_resource_requirements
        cores = None if asked is None else asked.number_of_cpu_cores_required
        spec = variant.revision.spec
        copies, resources = spec.scale.replicas_min, spec.resources
        gpu = next(iter(resources.gpus), None)
        used["GPUs"] += copies * (0.0 if gpu is None else gpu.count * gpu.fraction)
        used["MiB of memory"] += copies * resources.memory_bytes / MIB
        used["vCPUs"] += copies * (cores or 0.0)
    one = {
        "GPUs": float(pool.gpu_count),
        "MiB of memory": pool.memory_bytes / MIB,
        "vCPUs": pool.vcpus,
    }
    for what, need in used.items():
        has = one[what] * pool.instances_max
        if need > has + 1e-6:
            invalid(
                f"The copies of all components on variant '{pool.variant}' would ask for {need:g}"
                f" {what}, and its {pool.instances_max} instance(s) of {pool.instance_type} have"
                f" {has:g}. Ask for fewer copies or less for each, or update the endpoint to a"
                " config with more instances.",
                field="CopyCount",
            )


def _resources(
    asked: Requirements,
    knobs: ModelEnvSettings,
    gpu_tags: Mapping[str, str],
    pool: Pool,
    catalogue: Catalogue,
) -> Resources:
    least = asked.min_memory_required_in_mb
    most = least if asked.max_memory_required_in_mb is None else asked.max_memory_required_in_mb
    if most < least:
        invalid(
            f"MaxMemoryRequiredInMb {most} must not be less than MinMemoryRequiredInMb {least}.",
            field="MaxMemoryRequiredInMb",
        )
    cores = asked.number_of_cpu_cores_required
    vcpus = min(Resources().vcpus, pool.vcpus) if cores is None else cores
    for member, need, has in (
        ("MaxMemoryRequiredInMb", most, pool.memory_bytes / MIB),
        ("NumberOfCpuCoresRequired", vcpus, pool.vcpus),
    ):
        if need > has:
            invalid(
                f"{member} {need:g} is more than the {has:g} that one instance of"
                f" {pool.instance_type} has.",
                field=member,
            )
    return Resources(
        gpus=_gpus(asked.number_of_accelerator_devices_required, knobs, gpu_tags, pool, catalogue),
        gpu_memory_bytes=knobs.gpu_memory_bytes,
        memory_bytes=most * MIB,
        vcpus=vcpus,
    )


def _gpus(
    count: float | None,
    knobs: ModelEnvSettings,
    gpu_tags: Mapping[str, str],
    pool: Pool,
    catalogue: Catalogue,
) -> tuple[GpuRequest, ...]:
    """Return what a copy takes of an instance's GPUs: whole ones, a share of one, or none."""
    selectors = [
        gpus.named(f"tag {gpus.TAG} of the {place}", text, catalogue)
        for place, text in gpu_tags.items()
    ]
    if knobs.gpu is not None:
        place = "environment variable COLDSPARK_GPU"
        selectors.insert(0, gpus.named(place, knobs.gpu, catalogue))
    named = gpus.choose(selectors)
    ask = _counted(count, pool)
    if selectors:
        ask = _narrowed(ask, named, selectors[0], pool)
    if ask is None:
        return ()
    if ask.count > pool.gpu_count:
        invalid(
            f"A copy asks for {ask.count} GPUs, and one instance of {pool.instance_type} has"
            f" {pool.gpu_count}.",
            field="NumberOfAcceleratorDevicesRequired",
        )
    return (ask,)


def _counted(count: float | None, pool: Pool) -> GpuRequest | None:
    """Return what NumberOfAcceleratorDevicesRequired asks for."""
    if not count:
        return None
    if not pool.gpus:
        invalid(
            f"NumberOfAcceleratorDevicesRequired {count:g}: {pool.instance_type} has no GPU. Leave"
            " it out, or take another InstanceType.",
            field="NumberOfAcceleratorDevicesRequired",
        )
    if count > 1 and count != int(count):
        invalid(
            f"NumberOfAcceleratorDevicesRequired {count:g} must be a whole number, or under 1 for"
            " a share of one GPU.",
            field="NumberOfAcceleratorDevicesRequired",
        )
    type = pool.gpus[0].type
    return (
        GpuRequest(type=type, fraction=count)
        if count < 1
        else GpuRequest(type=type, count=int(count))
    )


def _narrowed(
    ask: GpuRequest | None, named: tuple[GpuRequest, ...], selector: gpus.Selector, pool: Pool
) -> GpuRequest | None:
    """Return the share that a GPU's name asks for of what the count asks for."""
    own = pool.gpus[0].type if pool.gpus else "none"
    if len(named) > 1 or (named and named[0].type != own):
        invalid(
            f"{selector.place} '{selector.text}' must name the GPU that {pool.instance_type} has,"
            f" {own}, such as {own}/0.5.",
            field=selector.place,
        )
    wanted = next(iter(named), None)
    if ask is None or ask == wanted:
        return wanted
    if wanted is None or ask.fraction < 1.0 or (ask.count, wanted.count) != (1, 1):
        invalid(
            f"NumberOfAcceleratorDevicesRequired asks for {ask} but {selector.place}"
            f" '{selector.text}' asks for {wanted or 'no GPU'}. Remove one of the two.",
            field="NumberOfAcceleratorDevicesRequired",
        )
    return wanted
