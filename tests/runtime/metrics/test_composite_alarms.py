"""Composite alarms follow the alarms that they are about, act, and outlive the process."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from keepers import HEAT, Kept, keeping

from coldspark.core.alarms import AlarmState
from coldspark.errors import Conflict, InvalidRequest
from coldspark.runtime.metrics.changes import Change
from coldspark.runtime.metrics.composites import CompositeAlarms, CompositeDefinition
from coldspark.runtime.metrics.definitions import Actions, AlarmDefinition, single
from coldspark.runtime.metrics.messages import message_of
from coldspark.runtime.metrics.queries import Stat
from coldspark.store.alarms import HistoryQuestion

ALARM, OK = AlarmState.ALARM, AlarmState.OK


def play(path: Path, work: Callable[[Kept], Awaitable[None]]) -> None:
    """Run one test with two alarms, ``a`` and ``b``."""

    async def run() -> None:
        async with keeping(path) as kept:
            for name in ("a", "b"):
                await kept.alarms.define(metric_alarm(name))
            await work(kept)

    asyncio.run(run())


def metric_alarm(name: str) -> AlarmDefinition:
    return AlarmDefinition(
        name=name,
        queries=single(Stat(metric=HEAT, statistic="Average", period_s=60)),
        evaluation_periods=1,
        threshold=1.0,
        comparison="GreaterThanThreshold",
    )


def composite(rule: str, name: str = "both", **changes: object) -> CompositeDefinition:
    return CompositeDefinition(name=name, rule=rule, **changes)  # type: ignore[arg-type]


async def put(kept: Kept, **states: AlarmState) -> None:
    """Put alarms into states, and let composites hear of it."""
    for name, state in states.items():
        await kept.alarms.set_state(name, state, "said so", None)
    await kept.composites.look()


def test_it_follows_the_alarms_of_its_rule_and_acts(tmp_path: Path) -> None:
    """Its actions, listeners and history are those of any alarm."""

    async def work(kept: Kept) -> None:
        actions = Actions(alarm=("arn:aws:sns:us-east-1:123456789012:ops",), ok=("nobody",))
        await kept.composites.define(composite("ALARM(a) AND ALARM(b)", actions=actions))
        await kept.composites.look()
        assert kept.alarms.state("both") is OK
        await put(kept, a=ALARM)
        assert kept.alarms.state("both") is OK
        await put(kept, b=ALARM)
        assert kept.alarms.state("both") is ALARM
        assert kept.told == [("arn:aws:sns:us-east-1:123456789012:ops", "ALARM")]
        await put(kept, a=OK)
        assert kept.alarms.state("both") is OK

        history = await kept.alarms.history(HistoryQuestion(alarm="both", is_ascending=True))
        kinds = [one.kind for one in history]
        assert kinds == [
            "ConfigurationUpdate",
            "StateUpdate",
            "Action",
            "StateUpdate",
            "Action",
            "StateUpdate",
            "Action",
        ]
        found = kept.composites.find("both")
        assert found is not None
        assert "a is OK, b is ALARM" in found.stored.reason

    play(tmp_path, work)


def test_one_over_another_follows_at_once(tmp_path: Path) -> None:
    """A change goes up the whole way, and no circle can be made."""

    async def work(kept: Kept) -> None:
        await kept.composites.define(composite("ALARM(a)", "one"))
        await kept.composites.define(composite("ALARM(one) OR ALARM(b)", "two"))
        await put(kept, a=ALARM)
        assert kept.alarms.state("two") is ALARM
        with pytest.raises(InvalidRequest, match="itself"):
            await kept.composites.define(composite("ALARM(two)", "one"))
        with pytest.raises(Conflict, match="depending on it: two"):
            kept.composites.refuse_needed(["one"])
        kept.composites.refuse_needed(["one", "two"])

    play(tmp_path, work)


def test_a_change_before_a_crash_is_seen_after_it(tmp_path: Path) -> None:
    """The alarm's state was written down, the composite one's was not."""

    async def work(kept: Kept) -> None:
        await kept.composites.define(composite("ALARM(a)"))
        await kept.composites.look()
        await kept.alarms.set_state("a", ALARM, "said so", None)

        again = CompositeAlarms(kept.database, kept.alarms, wall_ms=lambda: kept.now_ms)
        await again.open(is_timed=False)
        await again.look()
        assert kept.alarms.state("both") is ALARM

    play(tmp_path, work)


def test_a_state_that_was_set_lasts_until_one_of_its_alarms_changes(tmp_path: Path) -> None:
    """As on AWS."""

    async def work(kept: Kept) -> None:
        await kept.composites.define(composite("ALARM(a)"))
        await kept.composites.look()
        await kept.composites.set_state("both", ALARM, "a drill", None)
        await put(kept, b=ALARM)
        assert kept.alarms.state("both") is ALARM
        await put(kept, a=OK)
        assert kept.alarms.state("both") is OK

    play(tmp_path, work)


def test_names_are_of_one_kind_and_rules_of_alarms_that_are_there(tmp_path: Path) -> None:
    """What could never go off is refused."""

    async def work(kept: Kept) -> None:
        with pytest.raises(InvalidRequest, match="do not exist"):
            await kept.composites.define(composite("ALARM(a) OR ALARM(c)"))
        with pytest.raises(InvalidRequest, match="Error in AlarmRule"):
            await kept.composites.define(composite("ALARM(a) OR"))
        with pytest.raises(Conflict, match="metric alarm"):
            await kept.composites.define(composite("ALARM(b)", "a"))
        await kept.composites.define(composite("ALARM(a)"))
        with pytest.raises(Conflict, match="composite alarm"):
            await kept.alarms.define(metric_alarm("both"))

    play(tmp_path, work)


def test_it_follows_by_itself(tmp_path: Path) -> None:
    """Whoever watches alarms hears of it; no time passes."""

    async def work(kept: Kept) -> None:
        heard = asyncio.Event()
        composites = CompositeAlarms(kept.database, kept.alarms, wall_ms=lambda: kept.now_ms)
        await composites.open()
        kept.alarms.watch(
            lambda name, state, _: heard.set() if (name, state) == ("both", ALARM) else None
        )
        await composites.define(composite("ALARM(a)"))
        await kept.alarms.set_state("a", ALARM, "said so", None)
        await asyncio.wait_for(heard.wait(), 10)
        await composites.close()

    play(tmp_path, work)


def test_a_topic_is_told_of_the_rule(tmp_path: Path) -> None:
    """A composite alarm has no trigger; it says which alarms made it change."""

    async def work(kept: Kept) -> None:
        await kept.composites.define(composite("ALARM(a)"))
        await put(kept, a=ALARM)
        found = kept.composites.find("both")
        assert found is not None
        told = json.loads(message_of("arn:aws:sns:eu-west-1:1:ops", Change(alarm=found, before=OK)))
        assert told["AlarmRule"] == "ALARM(a)"
        assert told["NewStateValue"] == "ALARM"
        assert told["TriggeringChildren"] == [{"Name": "a", "State": {"Value": "ALARM"}}]
        assert "Trigger" not in told

    play(tmp_path, work)
