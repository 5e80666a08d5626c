"""Alarms' actions as notices: a topic's webhook is told, as a job's is."""

import uuid

from coldspark.core.types import EndpointName
from coldspark.gateway.aws.notifications import envelope
from coldspark.gateway.sagemaker.async_jobs import AsyncJobs
from coldspark.runtime import clock
from coldspark.runtime.jobs.ports import Notice
from coldspark.runtime.metrics.alarm_keeper import AlarmKeeper
from coldspark.runtime.metrics.changes import Change
from coldspark.runtime.metrics.messages import message_of, subject_of

_MARKS = (":sns:", "https://", "http://")


def deliver_alarms(alarms: AlarmKeeper, jobs: AsyncJobs) -> None:
    """Let actions of alarms reach webhooks: durable, signed and tried again."""

    async def notify(address: str, change: Change) -> None:
        id, now_ms = str(uuid.uuid4()), clock.wall_ms()
        words = envelope(
            jobs.url_of(address),
            address,
            id,
            now_ms,
            message_of(address, change),
            subject_of(change),
        )
        await jobs.notifier.announce(
            Notice(
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
        alarms.deliver(mark, notify)
