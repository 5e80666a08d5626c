"""What routers tell each other besides their requests' affairs: alarms down, measurements up."""

import asyncio

from coldspark.cluster.alarm_cache import AlarmStateCache
from coldspark.cluster.frames import FrameBuffer, encode_frame
from coldspark.cluster.messages import AlarmsRaised, AlarmStateChanged, Drain, Measurements, Message
from coldspark.cluster.metric_forwarder import MetricForwarder
from coldspark.platform.metric_ports import Metric
from coldspark.spec.types import AlarmState

METRIC = Metric(namespace="AWS/SageMaker", name="Depth", dimensions=(("EndpointName", "a"),))


def over_the_wire(message: Message) -> Message:
    """Return a message as the other side reads it."""
    (read,) = FrameBuffer().feed(encode_frame(message))
    return read


def test_alarms_are_what_the_primary_sent_last() -> None:
    """All at first, then each change; watchers hear of changes alone."""
    alarms, heard = AlarmStateCache(), list[tuple[str, str]]()
    end = alarms.watch(lambda name, state, reason: heard.append((name, state.value)))

    assert alarms.apply(over_the_wire(AlarmsRaised(["errors"])))
    assert alarms.state("errors") is AlarmState.ALARM
    assert alarms.apply(over_the_wire(AlarmStateChanged("errors", AlarmState.OK, "fine")))
    assert alarms.state("errors") is None
    assert alarms.apply(over_the_wire(AlarmStateChanged("slow", AlarmState.ALARM, "5 is over 1")))
    assert alarms.state("slow") is AlarmState.ALARM
    assert heard == [("errors", "OK"), ("slow", "ALARM")]
    end()
    alarms.apply(AlarmStateChanged("slow", AlarmState.OK, "fine"))
    assert len(heard) == 2
    assert not alarms.apply(Drain())


def test_an_alarm_that_was_made_anew_is_corrected_by_the_change_that_names_it() -> None:
    """Its former self was in ALARM, and nobody said that it went."""
    alarms = AlarmStateCache()
    alarms.apply(AlarmsRaised(["errors", "slow"]))
    alarms.refresh(["errors", "new"], ["new"])
    assert [alarms.state(name) is AlarmState.ALARM for name in ("errors", "slow", "new")] == [
        False,
        True,
        True,
    ]


def test_measurements_go_together_and_at_once_when_asked() -> None:
    """Nothing is sent twice."""

    async def run() -> None:
        sent: list[Message] = []
        metrics = MetricForwarder(sent.append)
        metrics.add(METRIC, 3.0, 1_000, unit="Count")
        metrics.add(METRIC, 5.0, 2_000, unit="Count", count=2.0)
        assert sent == []
        metrics.flush()
        metrics.flush()
        (message,) = sent
        assert isinstance(message, Measurements)
        assert over_the_wire(message) == message
        assert [(one.metric, one.value, one.count) for one in message.values] == [
            (METRIC, 3.0, 1.0),
            (METRIC, 5.0, 2.0),
        ]

    asyncio.run(run())
