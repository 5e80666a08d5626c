"""SNS's envelope around a message: what a webhook gets that stands for a topic.

SNS signs with a certificate of Amazon's, which nobody else has: the envelope has no ``Signature``
members, and the request has a signature of this server's in a header (``runtime/webhooks``).
"""

import json

from coldspark.doors.aws.protocol.operations import Timestamp
from coldspark.jobs.ports import WebhookMessage


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
