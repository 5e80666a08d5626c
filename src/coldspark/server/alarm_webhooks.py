"""Alarms' actions as notices: a topic's webhook is told, as a job's is."""

import uuid

from coldspark import clock
from coldspark.doors.aws.cloudwatch.alarm_messages import message_of, subject_of
from coldspark.doors.aws.protocol.sns_envelope import envelope
from coldspark.doors.aws.sagemaker.asynchronous.jobs import AsyncJobs
from coldspark.jobs.ports import WebhookEvent
from coldspark.spec.types import EndpointName
from coldspark.telemetry.alarm_changes import AlarmChange
from coldspark.telemetry.alarm_service import AlarmService

_MARKS = (":sns:", "https://", "http://")


def deliver_alarms(alarms: AlarmService, jobs: AsyncJobs) -> None:
    """Let actions of alarms reach webhooks: durable, signed and tried again."""

    async def notify(address: str, change: AlarmChange) -> None:
        id, now_ms = str(uuid.uuid4()), clock.wall_ms()
        words = envelope(
            jobs.url_of(address),
            address,
            id,
            now_ms,
            message_of(address, change),
            subject_of(change),
        )
        await jobs.notifier.publish(
            WebhookEvent(
                id=id,
                endpoint=EndpointName(""),
                url=words.url,
                headers=words.headers,
                body=words.body,
                created_ms=now_ms,
                due_ms=now_ms,
            )
        )

    for mark in _MARKS:
        alarms.add_action_handler(mark, notify)
