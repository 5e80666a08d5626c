"""Asynchronous invocations as jobs: what an endpoint config says of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.protocol.topics import Topics
from coldspark.doors.aws.sagemaker.model_env import ModelEnvSettings
from coldspark.doors.aws.sagemaker.records import AsyncConfig
from coldspark.doors.door import DoorDependencies
from coldspark.jobs.ports import JobsAtWork

REQUEST_TIMEOUT_S = 3_600.0
"""The longest InvocationTimeoutSeconds of AWS, and so the limit where no other is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncJobs:
    """What runs the jobs, and who may be told of them."""

    runner: JobsAtWork
    topics: Topics

    @classmethod
    def of(cls, dependencies: DoorDependencies) -> "AsyncJobs | None":
        """Return what the server has; None: it runs no jobs."""
        topics = Topics.of(dependencies)
        if dependencies.jobs is None or topics is None:
            return None
        return cls(runner=dependencies.jobs, topics=topics)


def topics_of(config: AsyncConfig) -> Iterable[str]:
    """Return the topics that a config names, each once."""
    given = config.output_config.notification_config
    topics = (given.success_topic, given.error_topic)
    return dict.fromkeys(topic for topic in topics if topic is not None)


def check_async(jobs: AsyncJobs | None, config: AsyncConfig) -> None:
    """Refuse a config that could not be carried out. Raises a ValidationException."""
    if jobs is None or not jobs.runner.has_storage:
        invalid(
            "'asyncInferenceConfig' is not supported by this server: it runs no jobs.",
            field="AsyncInferenceConfig",
        )
    for topic in topics_of(config):
        jobs.topics.url_of(topic)


def settings_for_jobs(knobs: ModelEnvSettings, config: AsyncConfig) -> ModelEnvSettings:
    """Return a variant's settings with what its asynchronous config adds."""
    most = config.client_config.max_concurrent_invocations_per_instance
    if most is not None and knobs.concurrency not in (None, most):
        invalid(
            f"MaxConcurrentInvocationsPerInstance {most} and the model's COLDSPARK_CONCURRENCY "
            f"{knobs.concurrency} say the same thing differently: leave one of them out.",
            field="MaxConcurrentInvocationsPerInstance",
        )
    timeout_s = knobs.request_timeout_s
    return replace(
        knobs,
        concurrency=knobs.concurrency or most,
        request_timeout_s=REQUEST_TIMEOUT_S if timeout_s is None else timeout_s,
    )
