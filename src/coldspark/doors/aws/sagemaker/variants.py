"""From a production variant and its model to the spec that runs. Pure.

A serverless variant has one slot per replica, so ``MaxConcurrency`` is its most replicas and
``ProvisionedConcurrency`` its fewest; with ``COLDSPARK_CONCURRENCY`` slots each, both are divided.
Over that, AWS throttles; here requests wait in the queue first (``Limits.queue_max``). A real-time
variant keeps ``InitialInstanceCount`` replicas, or between the bounds of its managed scaling.
"""

import math
from collections.abc import Mapping

from coldspark.config import NO_LIMITS, AwsLimits
from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.sagemaker import gpus
from coldspark.doors.aws.sagemaker.asynchronous.jobs import settings_for_jobs
from coldspark.doors.aws.sagemaker.images import ImageCatalogue
from coldspark.doors.aws.sagemaker.model_data import model_url, multi_model
from coldspark.doors.aws.sagemaker.model_env import (
    ModelEnvSettings,
    code_url,
    read_model_env,
    replica_environment,
)
from coldspark.doors.aws.sagemaker.records import (
    AsyncConfig,
    Container,
    ManagedScaling,
    ProductionVariant,
    ServerlessConfig,
)
from coldspark.platform.catalogue import Catalogue
from coldspark.platform.spec_json import spec_json
from coldspark.spec.types import (
    GIB,
    MIB,
    Command,
    GpuRequest,
    HandlerProgram,
    Limits,
    Resources,
    Revision,
    ScalePolicy,
    Spec,
    VariantDefinition,
    VariantName,
    revision_id,
    slots_of,
)

_AWS_MEMORY_MB = (1024, 2048, 3072, 4096, 5120, 6144)
_STAGE_TIMEOUT_S = Limits().start_timeout_s / 2
"""For each of download and start-up, where only the other is given."""
_ASYNC_BODY_BYTES = GIB
"""As much as AWS lets an asynchronous invocation's input have."""

Tags = Mapping[str, str]
"""Where tags lie, such as ``model``, to the value of ``coldspark:gpu`` there."""


def variant_definition(
    variant: ProductionVariant,
    container: Container,
    gpu_tags: Tags,
    catalogue: Catalogue,
    limits: AwsLimits = NO_LIMITS,
    asynchronous: AsyncConfig | None = None,
    *,
    images: ImageCatalogue | None = None,
) -> VariantDefinition:
    """Return the variant as the platform runs it. Raises a ValidationException."""
    _check_kind(variant, limits)
    knobs = read_model_env(container.environment)
    if asynchronous is not None:
        knobs = settings_for_jobs(knobs, asynchronous)
    asks = gpus.choose(_selectors(variant, knobs, gpu_tags, catalogue))
    try:
        resources = _resources(variant, asks, knobs, catalogue)
        scale = scale_policy(variant, knobs)
    except ValueError as error:
        invalid(f"Variant '{variant.variant_name}' is not valid: {error}.")
    spec = spec_of(
        variant,
        container,
        knobs,
        images or ImageCatalogue(),
        limits,
        resources,
        scale,
        is_async=asynchronous is not None,
    )
    return VariantDefinition(
        name=VariantName(variant.variant_name),
        revision=revision(spec),
        weight=variant.initial_variant_weight,
    )


def spec_of(
    variant: ProductionVariant,
    container: Container,
    knobs: ModelEnvSettings,
    images: ImageCatalogue,
    limits: AwsLimits,
    resources: Resources,
    scale: ScalePolicy,
    *,
    is_async: bool = False,
) -> Spec:
    """Return what runs of a container. Raises a ValidationException."""
    runtime = images.runtime_of(container.image, container.environment)
    code = code_url(container.environment)
    many = multi_model(container)
    model = None if many is not None else model_url(container)
    if model is None and code is None and many is None and isinstance(runtime, HandlerProgram):
        invalid(f"Model '{variant.model_name}' needs ModelDataUrl: its handler lies in there.")
    try:
        return Spec(
            handler=runtime if isinstance(runtime, HandlerProgram) else None,
            command=runtime if isinstance(runtime, Command) else None,
            code=code,
            model=model,
            multi_model=many,
            environment=replica_environment(container.environment),
            resources=resources,
            scale=scale,
            limits=_limits(variant, knobs, limits, is_async=is_async),
        )
    except ValueError as error:
        invalid(f"Variant '{variant.variant_name}' is not valid: {error}.")


def revision(spec: Spec) -> Revision:
    """Put a spec under its id."""
    return Revision(id=revision_id(spec_json(spec)), spec=spec)


def _selectors(
    variant: ProductionVariant, knobs: ModelEnvSettings, gpu_tags: Tags, catalogue: Catalogue
) -> list[gpus.Selector]:
    """Return every place that names a GPU, by precedence."""
    found: list[gpus.Selector] = []
    if variant.instance_type is not None:
        found.append(gpus.of_instance(variant.instance_type, catalogue))
    if variant.accelerator_type is not None:
        found.append(gpus.named("AcceleratorType", variant.accelerator_type, catalogue))
    if knobs.gpu is not None:
        found.append(gpus.named("environment variable COLDSPARK_GPU", knobs.gpu, catalogue))
    for place, text in gpu_tags.items():
        found.append(gpus.named(f"tag {gpus.TAG} of the {place}", text, catalogue))
    return found


def _check_kind(variant: ProductionVariant, limits: AwsLimits) -> None:
    """A variant is either serverless or real-time, and says no more than its kind takes."""
    name = variant.variant_name
    if variant.model_name is None:
        invalid(f"Variant '{name}' needs a ModelName.")
    if variant.serverless_config is None:
        if variant.initial_instance_count is None or variant.instance_type is None:
            invalid(
                f"Variant '{name}' needs either a ServerlessConfig, or InitialInstanceCount and "
                "InstanceType."
            )
        return
    if variant.initial_instance_count is not None:
        invalid(f"Variant '{name}': InitialInstanceCount does not go with ServerlessConfig.")
    if variant.managed_instance_scaling is not None:
        invalid(f"Variant '{name}': ManagedInstanceScaling does not go with ServerlessConfig.")
    check_serverless(variant.serverless_config, limits)


def check_serverless(config: ServerlessConfig, limits: AwsLimits) -> None:
    """Check what AWS checks with sentences of their own."""
    _check_memory(config.memory_size_in_mb, limits.memory_mb_max)
    most = limits.concurrency_max
    if most is not None and config.max_concurrency > most:
        invalid(
            f"1 validation error detected: Value '{config.max_concurrency}' at 'MaxConcurrency' "
            f"failed to satisfy constraint: Member must have value less than or equal to {most}",
            field="MaxConcurrency",
        )
    provisioned = config.provisioned_concurrency or 0
    if provisioned > config.max_concurrency:
        invalid(
            f"ProvisionedConcurrency {provisioned} must be less than or equal to MaxConcurrency "
            f"{config.max_concurrency}.",
            field="ProvisionedConcurrency",
        )


def _check_memory(memory_mb: int, most_mb: int | None) -> None:
    if memory_mb >= 1024 and not memory_mb % 1024 and (most_mb is None or memory_mb <= most_mb):
        return
    sizes = _AWS_MEMORY_MB if most_mb is None else range(1024, most_mb + 1, 1024)
    more = " (here also any larger multiple of 1024)" if most_mb is None else ""
    invalid(
        f"1 validation error detected: Value '{memory_mb}' at 'MemorySizeInMB' failed to satisfy "
        f"constraint: Member must satisfy enum value set: [{', '.join(map(str, sizes))}]{more}",
        field="MemorySizeInMB",
    )


def scale_policy(variant: ProductionVariant, knobs: ModelEnvSettings) -> ScalePolicy:
    """Return between how many replicas the variant moves. Raises ValueError."""
    if variant.serverless_config is not None:
        concurrency = slots_of(knobs.concurrency, knobs.batch_size_max or 1)
        least, most = serverless_bounds(variant.serverless_config, concurrency)
    else:
        least, most = instance_bounds(variant)
    return scale_within(least, most, knobs)


def scale_within(least: int, most: int, knobs: ModelEnvSettings) -> ScalePolicy:
    """Return the policy of so many replicas. Raises ValueError."""
    batch_size_max = knobs.batch_size_max or 1
    return ScalePolicy(
        replicas_min=least,
        replicas_max=most,
        concurrency=slots_of(knobs.concurrency, batch_size_max),
        batch_size_max=batch_size_max,
        batch_wait_s=knobs.batch_wait_s,
        idle_timeout_s=knobs.idle_timeout_s,
        park_timeout_s=knobs.park_timeout_s,
    )


def serverless_bounds(config: ServerlessConfig, concurrency: int) -> tuple[int, int]:
    """Return the fewest and the most replicas. MaxConcurrency 10 at 4 slots each is 3."""
    least = math.ceil((config.provisioned_concurrency or 0) / concurrency)
    return least, math.ceil(config.max_concurrency / concurrency)


def is_managed(scaling: ManagedScaling | None) -> bool:
    """Return whether the number of instances follows the traffic."""
    return scaling is not None and scaling.status == "ENABLED"


def instance_bounds(variant: ProductionVariant) -> tuple[int, int]:
    """Return between how many instances a real-time variant moves."""
    count = variant.initial_instance_count
    assert count is not None
    scaling = variant.managed_instance_scaling
    if scaling is None or not is_managed(scaling):
        return count, count
    least = count if scaling.min_instance_count is None else scaling.min_instance_count
    most = max(count, least) if scaling.max_instance_count is None else scaling.max_instance_count
    if not least <= count <= most:
        invalid(
            f"Variant '{variant.variant_name}': InitialInstanceCount {count} must lie between "
            f"MinInstanceCount {least} and MaxInstanceCount {most}."
        )
    return least, most


def _resources(
    variant: ProductionVariant,
    asks: tuple[GpuRequest, ...],
    knobs: ModelEnvSettings,
    catalogue: Catalogue,
) -> Resources:
    """Return what one replica holds: as its instance type has, or as its GPU type suggests."""
    memory_bytes, vcpus = host_share(variant.instance_type, asks, catalogue)
    if variant.serverless_config is not None:
        memory_bytes = variant.serverless_config.memory_size_in_mb * MIB
    return Resources(
        gpus=asks, gpu_memory_bytes=knobs.gpu_memory_bytes, memory_bytes=memory_bytes, vcpus=vcpus
    )


def host_share(
    instance_type: str | None, asks: tuple[GpuRequest, ...], catalogue: Catalogue
) -> tuple[int, float]:
    """Return the host memory and the vCPUs that go with an instance type or with GPUs."""
    instance = catalogue.instance(instance_type or "")
    if instance is not None:
        return instance.memory_bytes, instance.vcpus
    gpu = catalogue.gpu(asks[0].type) if asks else None
    if gpu is None:
        return Resources().memory_bytes, Resources().vcpus
    share = asks[0].count * asks[0].fraction
    return int(gpu.host_memory_bytes * share), gpu.vcpus * share


def _bounded(name: str, asked: float | None, default: float, most: float | None) -> float:
    """Return what is asked for, or the default, within the door's bound."""
    if most is None:
        return default if asked is None else asked
    if asked is not None and asked > most:
        invalid(
            f"Environment variable {name} asks for {asked:.15g}; this server's limit is {most:.15g}"
            " ([server.aws], --strict-aws). Ask for less, raise the limit, or use"
            " InvokeEndpointAsync.",
            field=name,
        )
    return min(default, most) if asked is None else asked


def _limits(
    variant: ProductionVariant, knobs: ModelEnvSettings, limits: AwsLimits, *, is_async: bool
) -> Limits:
    default = Limits()
    body_bytes, timeout_s = default.body_bytes_max, limits.request_timeout_s
    body_bytes_max = limits.serverless_body_bytes_max
    if variant.serverless_config is None:
        body_bytes_max = limits.realtime_body_bytes_max
    if is_async:
        # Bounds of requests that are held open. A job's input lies in object storage.
        body_bytes, body_bytes_max, timeout_s = _ASYNC_BODY_BYTES, None, None
    stages = (
        variant.model_data_download_timeout_in_seconds,
        variant.container_startup_health_check_timeout_in_seconds,
    )
    start_timeout_s = default.start_timeout_s
    if any(stage is not None for stage in stages):
        start_timeout_s = sum(_STAGE_TIMEOUT_S if stage is None else stage for stage in stages)
    return Limits(
        body_bytes_max=int(
            _bounded(
                "COLDSPARK_BODY_LIMIT",
                knobs.body_bytes_max,
                body_bytes,
                body_bytes_max,
            )
        ),
        request_timeout_s=_bounded(
            "COLDSPARK_REQUEST_TIMEOUT",
            knobs.request_timeout_s,
            default.request_timeout_s,
            timeout_s,
        ),
        start_timeout_s=start_timeout_s,
    )
