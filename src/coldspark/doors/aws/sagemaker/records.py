"""Requests as typed records: what ``shapes`` has checked, under names of our own.

The stored document keeps AWS's body as it came, for Describe; these are read from it.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct, field

_Record = TypeVar("_Record")


class S3DataSource(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Where model data lies, and whether as one gzipped archive or under a prefix."""

    s3_uri: str
    s3_data_type: str
    compression_type: str


class ModelDataSource(Struct, frozen=True, kw_only=True, rename="pascal"):
    """The wrapper that AWS puts around it."""

    s3_data_source: S3DataSource | None = None


class MultiModelConfig(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Whether models stay loaded after their requests."""

    model_cache_setting: str = "Enabled"


class Container(Struct, frozen=True, kw_only=True, rename="pascal"):
    """What a model runs: an image, its data and its environment."""

    image: str | None = None
    model_data_url: str | None = None
    model_data_source: ModelDataSource | None = None
    environment: Mapping[str, str] = {}
    mode: str = "SingleModel"
    multi_model_config: MultiModelConfig | None = None

    @property
    def has_many(self) -> bool:
        """Return whether its model data is a prefix of many models."""
        return self.mode == "MultiModel"


class Tag(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A key and its value."""

    key: str
    value: str


class TagList(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Tags of any body that has some."""

    tags: tuple[Tag, ...] = ()


class Model(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A model's request: one container, under either of its two names."""

    model_name: str
    primary_container: Container | None = None
    containers: tuple[Container, ...] = ()
    tags: tuple[Tag, ...] = ()

    @property
    def container(self) -> Container:
        """Return the one container."""
        return self.primary_container or self.containers[0]


class ServerlessConfig(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A variant that starts capacity when requests come."""

    memory_size_in_mb: int = field(name="MemorySizeInMB")
    max_concurrency: int
    provisioned_concurrency: int | None = None


class ServerlessUpdate(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A change of a serverless variant's bounds."""

    max_concurrency: int | None = None
    provisioned_concurrency: int | None = None


class ManagedScaling(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Bounds between which the number of instances follows the traffic."""

    status: str = "DISABLED"
    min_instance_count: int | None = None
    max_instance_count: int | None = None


class ProductionVariant(Struct, frozen=True, kw_only=True, rename="pascal"):
    """One variant of an endpoint config."""

    variant_name: str
    model_name: str | None = None
    initial_instance_count: int | None = None
    instance_type: str | None = None
    initial_variant_weight: float = 1.0
    accelerator_type: str | None = None
    serverless_config: ServerlessConfig | None = None
    model_data_download_timeout_in_seconds: int | None = None
    container_startup_health_check_timeout_in_seconds: int | None = None
    managed_instance_scaling: ManagedScaling | None = None


class CaptureOption(Struct, frozen=True, kw_only=True, rename="pascal"):
    """One side that is captured, or both."""

    capture_mode: str


class CaptureTypes(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Content types whose bodies are captured as text."""

    csv_content_types: tuple[str, ...] = ()
    json_content_types: tuple[str, ...] = ()


class DataCapture(Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """What of an endpoint's traffic is written down."""

    initial_sampling_percentage: int
    destination_s3_uri: str = field(name="DestinationS3Uri")
    capture_options: tuple[CaptureOption, ...]
    enable_capture: bool = False
    """As AWS: it has to be said."""
    capture_content_type_header: CaptureTypes = CaptureTypes()


class Notifications(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Who is told how an asynchronous invocation ended."""

    success_topic: str | None = None
    error_topic: str | None = None
    include_inference_response_in: tuple[str, ...] = ()


class AsyncOutput(Struct, frozen=True, kw_only=True, rename="pascal"):
    """Where the answers of asynchronous invocations go."""

    s3_output_path: str
    s3_failure_path: str | None = None
    notification_config: Notifications = Notifications()


class AsyncClient(Struct, frozen=True, kw_only=True, rename="pascal"):
    """How many invocations an instance works on at a time."""

    max_concurrent_invocations_per_instance: int | None = None


class AsyncConfig(Struct, frozen=True, kw_only=True, rename="pascal"):
    """What makes an endpoint take asynchronous invocations."""

    output_config: AsyncOutput
    client_config: AsyncClient = AsyncClient()


class EndpointConfig(Struct, frozen=True, kw_only=True, rename="pascal"):
    """An endpoint config's request."""

    endpoint_config_name: str
    production_variants: tuple[ProductionVariant, ...]
    shadow_production_variants: tuple[ProductionVariant, ...] = ()
    data_capture_config: DataCapture | None = None
    async_inference_config: AsyncConfig | None = None
    tags: tuple[Tag, ...] = ()


class ExcludedProperty(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A property that an update shall not retain."""

    variant_property_type: str


class CapacitySize(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A part of an endpoint's capacity."""

    type: str
    value: int


class TrafficRouting(Struct, frozen=True, kw_only=True, rename="pascal"):
    """In which steps requests move."""

    type: str
    wait_interval_in_seconds: int
    canary_size: CapacitySize | None = None
    linear_step_size: CapacitySize | None = None


class BlueGreenUpdate(Struct, frozen=True, kw_only=True, rename="pascal"):
    """New replicas beside the old ones, which stay until the end."""

    traffic_routing_configuration: TrafficRouting
    termination_wait_in_seconds: int = 0
    maximum_execution_timeout_in_seconds: int | None = None


class RollingUpdate(Struct, frozen=True, kw_only=True, rename="pascal"):
    """New replicas in the place of old ones, batch by batch."""

    maximum_batch_size: CapacitySize
    wait_interval_in_seconds: int
    maximum_execution_timeout_in_seconds: int | None = None
    rollback_maximum_batch_size: CapacitySize | None = None


class RollbackAlarm(Struct, frozen=True, kw_only=True, rename="pascal"):
    """An alarm that takes a change back."""

    alarm_name: str


class AutoRollback(Struct, frozen=True, kw_only=True, rename="pascal"):
    """What takes a change back."""

    alarms: tuple[RollbackAlarm, ...] = ()


class Deployment(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A DeploymentConfig."""

    blue_green_update_policy: BlueGreenUpdate | None = None
    rolling_update_policy: RollingUpdate | None = None
    auto_rollback_configuration: AutoRollback = AutoRollback()


class EndpointChange(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A CreateEndpoint or UpdateEndpoint request."""

    endpoint_name: str
    endpoint_config_name: str
    tags: tuple[Tag, ...] = ()
    retain_all_variant_properties: bool = False
    exclude_retained_variant_properties: tuple[ExcludedProperty, ...] = ()
    retain_deployment_config: bool = False
    deployment_config: dict[str, object] | None = None


class DesiredVariant(Struct, frozen=True, kw_only=True, rename="pascal"):
    """What one variant's weight and bounds shall be."""

    variant_name: str
    desired_weight: float | None = None
    desired_instance_count: int | None = None
    serverless_update_config: ServerlessUpdate | None = None


class DesiredVariants(Struct, frozen=True, kw_only=True, rename="pascal"):
    """An UpdateEndpointWeightsAndCapacities request."""

    endpoint_name: str
    desired_weights_and_capacities: tuple[DesiredVariant, ...]


class ListRequest(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A List request, of any noun."""

    sort_by: str = "CreationTime"
    sort_order: str = "Descending"
    next_token: str | None = None
    max_results: int = 100
    name_contains: str = ""
    creation_time_before: float | None = None
    creation_time_after: float | None = None
    last_modified_time_before: float | None = None
    last_modified_time_after: float | None = None
    status_equals: str | None = None
    endpoint_name_equals: str | None = None
    variant_name_equals: str | None = None


def read(kind: type[_Record], body: object) -> _Record:
    """Read a checked body; members that the record does not have are left to the document."""
    return msgspec.convert(body, kind)
