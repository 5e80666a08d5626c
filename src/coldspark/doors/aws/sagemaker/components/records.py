"""Requests about inference components as typed records; see ``records``."""

from collections.abc import Mapping

from msgspec import Struct

from coldspark.doors.aws.sagemaker.records import AutoRollback, CapacitySize, Container, Tag


class ComponentContainer(Struct, frozen=True, kw_only=True, rename="pascal"):
    """What a component runs, where no model says it."""

    image: str | None = None
    artifact_url: str | None = None
    environment: Mapping[str, str] = {}

    @property
    def container(self) -> Container:
        """Return it as a model has it."""
        return Container(
            image=self.image, model_data_url=self.artifact_url, environment=self.environment
        )


class StartupParameters(Struct, frozen=True, kw_only=True, rename="pascal"):
    """How long a copy may take to start."""

    model_data_download_timeout_in_seconds: int | None = None
    container_startup_health_check_timeout_in_seconds: int | None = None


class Requirements(Struct, frozen=True, kw_only=True, rename="pascal"):
    """What of an instance one copy takes."""

    number_of_cpu_cores_required: float | None = None
    number_of_accelerator_devices_required: float | None = None
    min_memory_required_in_mb: int
    max_memory_required_in_mb: int | None = None


class Specification(Struct, frozen=True, kw_only=True, rename="pascal"):
    """What a component is."""

    model_name: str | None = None
    container: ComponentContainer | None = None
    startup_parameters: StartupParameters = StartupParameters()
    compute_resource_requirements: Requirements | None = None


class CopyConfig(Struct, frozen=True, kw_only=True, rename="pascal"):
    """How many copies there shall be."""

    copy_count: int


class NewComponent(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A CreateInferenceComponent request."""

    inference_component_name: str
    endpoint_name: str
    variant_name: str | None = None
    specification: dict[str, object] | None = None
    runtime_config: CopyConfig | None = None
    tags: tuple[Tag, ...] = ()


class ComponentChange(Struct, frozen=True, kw_only=True, rename="pascal"):
    """An UpdateInferenceComponent request, or one of its copies alone."""

    inference_component_name: str
    specification: dict[str, object] | None = None
    runtime_config: CopyConfig | None = None
    desired_runtime_config: CopyConfig | None = None
    deployment_config: dict[str, object] | None = None


class ComponentRolling(Struct, frozen=True, kw_only=True, rename="pascal"):
    """New copies in the place of old ones, batch by batch."""

    maximum_batch_size: CapacitySize
    wait_interval_in_seconds: int
    maximum_execution_timeout_in_seconds: int | None = None
    rollback_maximum_batch_size: CapacitySize | None = None


class ComponentDeployment(Struct, frozen=True, kw_only=True, rename="pascal"):
    """A component's DeploymentConfig."""

    rolling_update_policy: ComponentRolling
    auto_rollback_configuration: AutoRollback = AutoRollback()
