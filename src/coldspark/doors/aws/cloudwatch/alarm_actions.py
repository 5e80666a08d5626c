"""Alarms' actions as messages to topics: a topic's webhook is told, as a job's is."""

from coldspark.doors.aws.cloudwatch.alarm_messages import message_of, subject_of
from coldspark.doors.aws.protocol.topics import Topics
from coldspark.spec.types import EndpointName
from coldspark.telemetry.alarm_changes import AlarmChange
from coldspark.telemetry.alarm_service import AlarmService

_MARKS = (":sns:", "https://", "http://")


def publish_alarm_actions(alarms: AlarmService, topics: Topics) -> None:
    """Let actions of alarms reach topics."""

    async def notify(address: str, change: AlarmChange) -> None:
        await topics.publish(
            address, EndpointName(""), message_of(address, change), subject_of(change)
        )

    for mark in _MARKS:
        alarms.add_action_handler(mark, notify)
