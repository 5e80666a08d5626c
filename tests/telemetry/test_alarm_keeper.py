"""Alarms are looked at when a period ends, act when they change, and outlive the process."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from keepers import HEAT, NOON_MS, Kept, keeping, of_echo, served

from coldspark.doors.aws.cloudwatch.alarm_messages import message_of, subject_of
from coldspark.doors.aws.cloudwatch.alarm_reasons import KINDS, explain, history_summary
from coldspark.errors import Conflict, InvalidRequest, NotFound
from coldspark.platform.metric_ports import AlarmRule, Metric
from coldspark.spec.types import AlarmState
from coldspark.telemetry.alarm_changes import AlarmChange
from coldspark.telemetry.alarm_definition import AlarmActions, AlarmDefinition, single_metric_query
from coldspark.telemetry.alarm_events import AlarmActed, kind_of
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.alarms_table import AlarmHistoryQuery
from coldspark.telemetry.metric_queries import MetricQuery, MetricStatistic

MINUTE_MS = 60_000
STAT = MetricStatistic(metric=HEAT, statistic="Average", period_s=60)


def play(path: Path, work: Callable[[Kept], Awaitable[None]], **settings: object) -> None:
    """Run one test."""

    async def run() -> None:
        async with keeping(path, **settings) as kept:
            await work(kept)

    asyncio.run(run())


def hot(name: str = "hot", metric: Metric = HEAT, **changes: object) -> AlarmRule:
    """Return the rule: over 30 on average in each of two minutes."""
    values: dict[str, object] = {
        "name": name,
        "metric": metric,
        "statistic": "Average",
        "period_s": 60,
        "evaluation_periods": 2,
        "datapoints_to_alarm": 2,
        "threshold": 30.0,
        "comparison": "GreaterThanThreshold",
    }
    return AlarmRule(**values | changes)


async def pass_minute(kept: Kept, *values: float) -> AlarmState | None:
    """Measure values in this minute, let it end, look, and return the state."""
    for value in values:
        kept.metrics.add(HEAT, value, kept.now_ms)
    kept.now_ms += MINUTE_MS
    await kept.alarms.evaluate_due(kept.now_ms)
    return kept.alarms.state("hot")


def test_an_alarm_goes_off_after_m_of_n_and_back(tmp_path: Path) -> None:
    """Listeners hear each change, and why."""

    async def work(kept: Kept) -> None:
        heard: list[tuple[str, str]] = []
        end = kept.alarms.watch(lambda name, state, why: heard.append((state.value, why)))
        await kept.alarms.put(hot())
        assert kept.alarms.state("hot") is AlarmState.INSUFFICIENT_DATA
        assert await pass_minute(kept, 20) is AlarmState.OK
        assert await pass_minute(kept, 40) is AlarmState.OK
        assert await pass_minute(kept, 30, 50) is AlarmState.ALARM
        end()
        assert await pass_minute(kept, 10) is AlarmState.OK
        assert [state for state, _ in heard] == ["OK", "ALARM"]
        assert heard[1][1] == (
            "Threshold Crossed: 2 out of the last 2 datapoints [40.0 (15/01/27 08:01:00), 40.0"
            " (15/01/27 08:02:00)] were greater than the threshold (30.0) (minimum 2 datapoints"
            " for OK -> ALARM transition)."
        )

    play(tmp_path, work)


def test_states_and_rules_outlive_the_process(tmp_path: Path) -> None:
    """A restart goes on from the state that was."""

    async def first(kept: Kept) -> None:
        await kept.alarms.put(hot())
        for _ in range(2):
            await pass_minute(kept, 40)

    async def second(kept: Kept) -> None:
        assert kept.alarms.state("hot") is AlarmState.ALARM
        kept.now_ms += 2 * MINUTE_MS
        assert await pass_minute(kept, 10) is AlarmState.OK

    play(tmp_path, first, boot=1)
    play(tmp_path, second, boot=2)


def test_an_alarm_over_an_endpoint_sees_its_traffic(tmp_path: Path) -> None:
    """The rate of 5XX errors, from the ledger."""

    async def work(kept: Kept) -> None:
        await kept.alarms.put(
            hot(
                metric=of_echo("Invocation5XXErrors"),
                evaluation_periods=1,
                datapoints_to_alarm=1,
                threshold=0.5,
                missing="notBreaching",
            )
        )
        assert await pass_minute(kept) is AlarmState.OK
        for number in range(4):
            kept.ledger.record(served(number, kept.now_ms, status=200 if number == 0 else 500))
        assert await pass_minute(kept) is AlarmState.ALARM
        # The newest data decides while it is within the periods looked at: N + 2.
        assert [await pass_minute(kept) for _ in range(3)] == [
            AlarmState.ALARM,
            AlarmState.ALARM,
            AlarmState.OK,
        ]

    play(tmp_path, work)


def expression(**changes: object) -> AlarmDefinition:
    """Return an alarm over the ratio of two metrics."""
    cold = Metric(namespace="House", name="cold")
    values: dict[str, object] = {
        "name": "hot",
        "queries": (
            MetricQuery(
                id="h",
                stat=MetricStatistic(metric=HEAT, statistic="Sum", period_s=60),
                is_returned=False,
            ),
            MetricQuery(
                id="c",
                stat=MetricStatistic(metric=cold, statistic="Sum", period_s=60),
                is_returned=False,
            ),
            MetricQuery(id="e", expression="h / c"),
        ),
        "is_expression": True,
        "evaluation_periods": 1,
        "threshold": 2.0,
        "comparison": "GreaterThanThreshold",
        "actions": AlarmActions(alarm=("arn:topic", "nowhere"), ok=("arn:calm",)),
    }
    return AlarmDefinition(**values | changes)


def test_an_alarm_over_an_expression_tells_its_actions(tmp_path: Path) -> None:
    """Each address hears of its state; what cannot be told is in the history."""

    async def work(kept: Kept) -> None:
        await kept.alarms.define(expression())
        cold = Metric(namespace="House", name="cold")
        kept.metrics.add(cold, 10, kept.now_ms)
        assert await pass_minute(kept, 30) is AlarmState.ALARM
        assert kept.told == [("arn:topic", "ALARM")]
        history = await kept.alarms.history(
            AlarmHistoryQuery(alarm="hot", kind=kind_of(AlarmActed))
        )
        assert [history_summary(one) for one in history] == [
            "Failed to execute action nowhere",
            "Successfully executed action arn:topic",
        ]
        await kept.alarms.set_actions_enabled(["hot"], False)
        kept.metrics.add(cold, 10, kept.now_ms)
        assert await pass_minute(kept, 10) is AlarmState.OK
        assert kept.told == [("arn:topic", "ALARM")]

    play(tmp_path, work)


def test_a_topic_is_told_what_cloudwatch_tells(tmp_path: Path) -> None:
    """The message that SNS's subscribers parse, in the topic's region."""

    async def work(kept: Kept) -> None:
        topic = "arn:aws:sns:eu-west-1:123456789012:fire"
        told: list[str] = []

        async def notify(address: str, change: AlarmChange) -> None:
            told.extend((subject_of(change), message_of(address, change)))

        alarms = AlarmService(
            kept.database, kept.metrics, wall_ms=lambda: kept.now_ms, explain=explain, notify=notify
        )
        await alarms.define(expression(queries=single_metric_query(STAT), is_expression=False))
        await alarms.define(expression(name="both", actions=AlarmActions(alarm=(topic,))))
        await alarms.set_state("both", AlarmState.ALARM, "a drill", None)
        subject, message = told
        plain = json.loads(message)
        assert subject == 'ALARM: "both"'
        assert plain["AlarmArn"] == "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:both"
        assert (plain["OldStateValue"], plain["NewStateValue"]) == ("INSUFFICIENT_DATA", "ALARM")
        assert plain["StateChangeTime"] == "2027-01-15T08:00:00.000+0000"
        assert [one["Id"] for one in plain["Trigger"]["Metrics"]] == ["h", "c", "e"]
        await alarms.set_state("hot", AlarmState.OK, "calm", None)
        trigger = json.loads(told[3])["Trigger"]
        assert (trigger["MetricName"], trigger["Statistic"]) == ("heat", "AVERAGE")
        assert trigger["Dimensions"] == [{"value": "kitchen", "name": "Room"}]

    play(tmp_path, work)


def test_a_state_that_was_set_lasts_until_the_next_look(tmp_path: Path) -> None:
    """As AWS's SetAlarmState: good for trying out the actions."""

    async def work(kept: Kept) -> None:
        await kept.alarms.define(expression())
        await kept.alarms.set_state("hot", AlarmState.ALARM, "a drill", None)
        assert kept.told == [("arn:topic", "ALARM")]
        assert await pass_minute(kept) is AlarmState.INSUFFICIENT_DATA
        history = await kept.alarms.history(AlarmHistoryQuery(alarm="hot", is_ascending=True))
        assert [KINDS[kind_of(one.event)] for one in history] == [
            "ConfigurationUpdate",
            "StateUpdate",
            "Action",
            "Action",
            "StateUpdate",
        ]

    play(tmp_path, work)


def test_percentiles_of_few_samples_can_be_left_out(tmp_path: Path) -> None:
    """p90 needs 100 samples where low sample counts are ignored: the state stays."""

    async def work(kept: Kept) -> None:
        stat = MetricStatistic(metric=HEAT, statistic="p90", period_s=60)
        plain = expression(
            queries=single_metric_query(stat), is_expression=False, low_samples="ignore"
        )
        await kept.alarms.define(plain)
        assert await pass_minute(kept, *[40] * 99) is AlarmState.INSUFFICIENT_DATA
        kept.now_ms += 3 * MINUTE_MS
        assert await pass_minute(kept, *[40] * 100) is AlarmState.ALARM

    play(tmp_path, work)


def test_one_that_cannot_be_evaluated_stops_no_other(tmp_path: Path) -> None:
    """A listener that fails does not either."""

    async def work(kept: Kept) -> None:
        kept.alarms.watch(lambda name, state, why: 1 / 0)
        heard: list[str] = []
        kept.alarms.watch(lambda name, state, why: heard.append(name))
        await kept.alarms.define(expression(name="broken"))
        broken = "UPDATE alarms SET body = replace(body, 'h / c', 'h / nothing')"
        await kept.database.run(lambda connection: connection.exec_driver_sql(broken))
        await kept.alarms.open(is_timed=False)
        await kept.alarms.put(hot())
        assert await pass_minute(kept, 10) is AlarmState.OK
        assert heard == ["hot"]

    play(tmp_path, work)


def test_an_owner_alone_changes_its_alarms(tmp_path: Path) -> None:
    """Callers cannot delete what a scaling policy made."""

    async def work(kept: Kept) -> None:
        await kept.alarms.put(hot(owner="scaling"))
        with pytest.raises(Conflict, match="belongs to scaling"):
            await kept.alarms.drop_all(["hot"])
        with pytest.raises(Conflict, match="belongs to scaling"):
            await kept.alarms.put(hot())
        with pytest.raises(NotFound, match="'other'"):
            await kept.alarms.drop_all(["hot", "other"])
        await kept.alarms.drop("hot")
        assert kept.alarms.state("hot") is None

    play(tmp_path, work)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"period_s": 45}, "Period 45"),
        ({"period_s": 300, "evaluation_periods": 300, "datapoints_to_alarm": 1}, "86400"),
        ({"statistic": "Median"}, "'Median' is not supported"),
        ({"comparison": "Equal"}, "comparison='Equal'"),
        ({"datapoints_to_alarm": 3}, "datapoints_to_alarm=3"),
    ],
)
def test_what_could_never_be_evaluated_is_refused(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    """At once, with the value."""

    async def work(kept: Kept) -> None:
        with pytest.raises(InvalidRequest, match=told):
            await kept.alarms.put(hot(**changes))

    play(tmp_path, work)


def test_an_alarm_goes_off_by_itself(tmp_path: Path) -> None:
    """Nobody asks: the timer looks when the period has ended."""

    async def work(kept: Kept) -> None:
        loop = asyncio.get_running_loop()
        begun_s = loop.time() + 0.05

        def now() -> int:
            """Return the time: a period ends in 50 ms."""
            return NOON_MS + round((loop.time() - begun_s) * 1_000)

        heard = asyncio.Event()
        alarms = AlarmService(kept.database, kept.metrics, wall_ms=now, explain=explain)
        await alarms.open()
        alarms.watch(lambda name, state, why: heard.set())
        kept.metrics.add(HEAT, 40, NOON_MS - 1)
        await alarms.put(hot(evaluation_periods=1, datapoints_to_alarm=1))
        await asyncio.wait_for(heard.wait(), 10)
        assert alarms.state("hot") is AlarmState.ALARM
        await alarms.close()

    play(tmp_path, work)


def test_the_timer_looks_when_the_shortest_period_ends(tmp_path: Path) -> None:
    """No earlier, and for all alarms together."""

    async def work(kept: Kept) -> None:
        assert kept.alarms.next_evaluation_ms(NOON_MS + 1) is None
        await kept.alarms.put(hot())
        await kept.alarms.put(hot("quick", period_s=10))
        assert kept.alarms.next_evaluation_ms(NOON_MS + 1) == NOON_MS + 10_000

    play(tmp_path, work)
