"""SNS's topics: where one leads, and the envelope around a message to it.

AWS takes a topic where somebody is to be told. Here a topic is the URL of a webhook, or the ARN of
a topic whose name the server's configuration maps to one. SNS signs with a certificate of Amazon's,
which nobody else has: the envelope has no ``Signature`` members, and the request has a signature of
this server's in a header (``jobs/webhook_client``).
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from coldspark import clock
from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.protocol.operations import Timestamp
from coldspark.doors.door import DoorDependencies
from coldspark.errors import InvalidRequest
from coldspark.jobs.ports import WebhookEvent, WebhookMessage, WebhookOutbox
from coldspark.jobs.webhook_client import AddressPolicy, check_url
from coldspark.spec.types import EndpointName


def envelope(
    url: str, topic: str, id: str, at_ms: int, message: str, subject: str | None = None
) -> WebhookMessage:
    """Return the request that tells a topic's webhook a message."""
    body = {
        "Type": "Notification",
        "MessageId": id,
        "TopicArn": topic,
        **({} if subject is None else {"Subject": subject}),
        "Message": message,
        "Timestamp": str(Timestamp(at_ms)),
    }
    headers = (
        ("Content-Type", "text/plain; charset=UTF-8"),
        ("x-amz-sns-message-type", "Notification"),
        ("x-amz-sns-message-id", id),
        ("x-amz-sns-topic-arn", topic),
    )
    return WebhookMessage(url=url, headers=headers, body=json.dumps(body).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Topics:
    """The topics of a server, and what sends messages to their webhooks."""

    outbox: WebhookOutbox
    policy: AddressPolicy = field(default_factory=AddressPolicy)
    urls: Mapping[str, str] = field(default_factory=dict)
    """From the names of topics to the URLs that they stand for."""

    @classmethod
    def of(cls, dependencies: DoorDependencies) -> "Topics | None":
        """Return those of the configuration, where webhooks are called."""
        if dependencies.webhooks is None:
            return None
        config = dependencies.config
        policy = AddressPolicy.of(config)
        return cls(outbox=dependencies.webhooks, policy=policy, urls=config.webhooks.topics)

    def url_of(self, topic: str) -> str:
        """Return where a topic leads. Raises a ValidationException."""
        url = topic
        if topic.startswith("arn:"):
            name = topic.rpartition(":")[2]
            found = self.urls.get(name)
            if found is None:
                known = ", ".join(sorted(self.urls)) or "none"
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

    async def publish(
        self, topic: str, endpoint: EndpointName, message: str, subject: str | None = None
    ) -> None:
        """Send a topic's webhook a message: durable, signed and tried again."""
        id, now_ms = str(uuid.uuid4()), clock.wall_ms()
        request = envelope(self.url_of(topic), topic, id, now_ms, message, subject)
        await self.outbox.publish(
            WebhookEvent(
                id=id,
                endpoint=endpoint,
                url=request.url,
                headers=request.headers,
                body=request.body,
                created_ms=now_ms,
                due_ms=now_ms,
            )
        )
