"""How asynchronous invocations ended, in AWS's words: SageMaker's message to a topic."""

import base64
import json

from coldspark.doors.aws.protocol.operations import Timestamp
from coldspark.doors.aws.protocol.topics import envelope
from coldspark.doors.aws.sagemaker.annotations import annotations_of
from coldspark.doors.aws.sagemaker.asynchronous.jobs import topics_of
from coldspark.doors.aws.sagemaker.records import AsyncConfig, read
from coldspark.doors.aws.sagemaker.request import SageMakerRequest
from coldspark.jobs.messages import JobState
from coldspark.jobs.ports import EndedJob, WebhookMessage
from coldspark.spec.types import EndpointDefinition

_OWN = {"eventVersion": "1.0", "eventSource": "aws:sagemaker"}
_REASON_CHARS_MAX = 4_096


class AsyncJobDoor:
    """Implements ``JobDoor``."""

    def render_failure(self, ended: EndedJob) -> tuple[str, bytes]:
        """Say what a container answered, or why nothing did."""
        result = ended.result
        lines = [result.message or "", *result.log_tail]
        media = result.content_type if result.status is not None else None
        return media or "text/plain; charset=utf-8", "\n".join(lines).encode()

    def render_webhook(self, ended: EndedJob, notice_id: str) -> WebhookMessage | None:
        """Return the notification, where its topic was given."""
        order = ended.job.order
        is_good = ended.state is JobState.COMPLETED
        url = order.success_url if is_good else order.error_url
        if url is None:
            return None
        kind = "success" if is_good else "error"
        message = _message(ended, is_included=kind in order.details.get("include", ""))
        topic = order.details[f"{kind}_topic"]
        return envelope(url, topic, notice_id, ended.finished_ms, json.dumps(message))


async def send_test_notifications(call: SageMakerRequest, definition: EndpointDefinition) -> None:
    """Send a TestNotification to the topics of an endpoint that was made or changed."""
    note = annotations_of(definition)
    if note is None or note.asynchronous is None or call.jobs is None:
        return
    message: dict[str, object] = {**_OWN, "eventName": "TestNotification"}
    for topic in topics_of(read(AsyncConfig, note.asynchronous)):
        await call.jobs.topics.publish(topic, definition.name, json.dumps(message))


def _message(ended: EndedJob, *, is_included: bool) -> dict[str, object]:
    job, result = ended.job, ended.result
    is_good = ended.state is JobState.COMPLETED
    asked: dict[str, object] = {
        "contentType": job.order.content_type,
        "endpointName": job.endpoint,
        "inputLocation": job.order.input_url,
    }
    location = job.order.output_url if is_good else job.order.failure_url
    answered: dict[str, object] = {
        "contentType": result.content_type,
        "outputLocation" if is_good else "failureLocation": location,
    }
    if is_included:
        content = ended.body if is_good else (result.message or "").encode()
        if content is not None:
            text = base64.b64encode(content).decode()
            answered["responseBody"] = {"content": text, "encoding": "BASE64"}
    message: dict[str, object] = {
        "awsRegion": job.order.details["region"],
        "eventTime": str(Timestamp(ended.finished_ms)),
        "receivedTime": str(Timestamp(job.accepted_ms)),
        "invocationStatus": "Completed" if is_good else "Failed",
        "requestParameters": _present(asked),
        "responseParameters": _present(answered),
        "inferenceId": job.order.label,
        **_OWN,
        "eventName": "InferenceResult",
    }
    if not is_good:
        message["failureReason"] = (result.message or "The reason is not known.")[
            :_REASON_CHARS_MAX
        ]
    return _present(message)


def _present(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value not in (None, {})}
