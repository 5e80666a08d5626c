"""Asynchronous invocations as jobs: what an endpoint config says of them, and where topics lead.

AWS takes an SNS topic where somebody is to be told. Here a topic is the URL of a webhook, or the
ARN of a topic whose name the server's configuration maps to one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.sagemaker.model_env import ModelEnvSettings
from coldspark.doors.aws.sagemaker.records import AsyncConfig
from coldspark.errors import InvalidRequest
from coldspark.jobs.ports import JobsAtWork, WebhookOutbox
from coldspark.jobs.webhook_client import AddressPolicy, check_url

REQUEST_TIMEOUT_S = 3_600.0
"""The longest InvocationTimeoutSeconds of AWS, and so the limit where no other is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncJobs:
    """What runs the jobs, and who may be told of them."""

    runner: JobsAtWork
    notifier: WebhookOutbox
    policy: AddressPolicy = field(default_factory=AddressPolicy)
    topics: Mapping[str, str] = field(default_factory=dict)
    """From the names of SNS topics to the URLs that they stand for."""

    def url_of(self, topic: str) -> str:
        """Return where a topic leads. Raises a ValidationException."""
        url = topic
        if topic.startswith("arn:"):
            name = topic.rpartition(":")[2]
            found = self.topics.get(name)
            if found is None:
                known = ", ".join(sorted(self.topics)) or "none"
                invalid(
                    f"Topic '{topic}' leads nowhere: map its name to the URL of a webhook in the "
                    f"server's configuration, [server.webhooks.topics] {name} = 'https://…' "
                    f"(known are: {known}), or give the URL itself.",
                    field="NotificationConfig",
                )
            url = found
        try:
            check_url(url, self.policy)
        except InvalidRequest as error:
            invalid(f"Topic '{topic}': {error.message}.", field="NotificationConfig")
        return url


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
        jobs.url_of(topic)


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
