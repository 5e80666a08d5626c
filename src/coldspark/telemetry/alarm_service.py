"""Alarms as time passes: each is evaluated when one of its periods ends, and acts on a change.

Alarms and their states are on disk; after a restart they go on from there. One that cannot be
evaluated keeps its state, says why in the log, and stops no other.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from msgspec.structs import replace as with_fields

from coldspark.database.database import Database
from coldspark.errors import ColdsparkError, Conflict, InvalidRequest, NotFound
from coldspark.platform.metric_ports import AlarmRule, OnAlarm
from coldspark.spec.types import AlarmState
from coldspark.tasks import Tasks
from coldspark.telemetry import alarms_table as disk
from coldspark.telemetry.alarm_changes import Alarm, AlarmChange, Notify, change_state
from coldspark.telemetry.alarm_definition import (
    AlarmDefinition,
    encode_definition,
    from_rule,
    read_definition,
)
from coldspark.telemetry.alarm_events import (
    AlarmActed,
    AlarmEdit,
    AlarmEdited,
    AlarmReason,
    Evaluation,
    Explain,
    GivenReason,
    NotEvaluated,
)
from coldspark.telemetry.alarm_rules import evaluate_alarm
from coldspark.telemetry.alarms_table import AlarmHistoryItem, AlarmHistoryQuery, StoredAlarm
from coldspark.telemetry.metric_math import Series
from coldspark.telemetry.metric_queries import (
    STATISTICS,
    MetricQuery,
    MetricTimeRange,
    evaluate_queries,
)
from coldspark.telemetry.metric_service import MetricService

_log = logging.getLogger(__name__)

ALARMS_MAX = 5_000
_SETTLE_S = 1.0
"""How long after the end of a period it is evaluated: clients send its last values by then."""
_HISTORY_MS = 30 * 86_400_000
_CLOSE_WITHIN_S = 5.0
_ROWS_MAX = 2_000
_COUNT_ID = "sampleCount"
_SAMPLES_MIN = 10 * (1 - 1e-9)


async def _notify_nobody(address: str, change: AlarmChange) -> None:
    raise NotFound(f"nothing is configured that delivers to {address}")


class AlarmService:
    """Implements ``Alarms``. All calls are made on the event loop's thread."""

    def __init__(
        self,
        database: Database,
        metrics: MetricService,
        *,
        wall_ms: Callable[[], int],
        explain: Explain,
        notify: Notify = _notify_nobody,
    ) -> None:
        """Take the dependencies.

        ``explain`` puts reasons into words for watchers and the log; ``notify`` takes actions.
        """
        self._database = database
        self._metrics = metrics
        self._wall_ms = wall_ms
        self._explain = explain
        self._notify = notify
        self._action_handlers: dict[str, Notify] = {}
        self._alarms: dict[str, Alarm] = {}
        self._watchers: list[OnAlarm] = []
        self._changed = asyncio.Event()
        self._tasks = Tasks()
        self._evaluated_ms = 0
        """Up to when alarms were evaluated."""
        self._turn = asyncio.Lock()

    def add_action_handler(self, mark: str, notify: Notify) -> None:
        """Let ``notify`` take actions whose address has this mark in it."""
        self._action_handlers[mark] = notify

    async def open(self, *, is_timed: bool = True) -> None:
        """Load the alarms, and evaluate them from now on."""
        for stored in await self._database.run(disk.load_alarms):
            self._alarms[stored.name] = Alarm(definition=read_definition(stored), stored=stored)
        self._evaluated_ms = self._wall_ms()
        if is_timed:
            self._tasks.spawn(self._evaluate_for_ever())

    async def close(self) -> None:
        """Stop evaluating. Idempotent."""
        await self._tasks.close(_CLOSE_WITHIN_S)

    async def put(self, rule: AlarmRule) -> None:
        """Create or replace an alarm; durable on return."""
        await self.define(from_rule(rule))

    async def define(self, definition: AlarmDefinition) -> None:
        """Create or replace an alarm; one that was there keeps its state. Raises InvalidRequest."""
        definition.refuse_if_invalid()
        async with self._turn:
            before = self._alarms.get(definition.name)
            if before is None and len(self._alarms) >= ALARMS_MAX:
                raise InvalidRequest(f"there are {ALARMS_MAX} alarms already: delete some")
            if before is not None and before.definition.owner != definition.owner:
                raise Conflict(_owned(before))
            await self._store(definition, before)

    async def _store(self, definition: AlarmDefinition, before: Alarm | None) -> None:
        now_ms = self._wall_ms()
        stored = StoredAlarm(
            name=definition.name,
            body=encode_definition(definition),
            state=AlarmState.INSUFFICIENT_DATA,
            reason=NotEvaluated(),
            state_ms=now_ms,
            moved_ms=now_ms,
            updated_ms=now_ms,
        )
        edit = AlarmEdit.CREATED
        if before is not None:
            old, edit = before.stored, AlarmEdit.UPDATED
            stored = replace(
                stored,
                state=old.state,
                reason=old.reason,
                state_ms=old.state_ms,
                moved_ms=old.moved_ms,
            )
        item = AlarmHistoryItem(alarm=stored.name, at_ms=now_ms, event=AlarmEdited(edit))
        await self._database.run(disk.put_alarm, stored, item)
        self._alarms[stored.name] = Alarm(definition=definition, stored=stored)
        self._changed.set()

    async def drop(self, name: str) -> None:
        """Delete an alarm; one that is not there is no error."""
        await self._forget([name])

    async def drop_all(self, names: Sequence[str]) -> None:
        """Delete alarms, all or none. Raises NotFound, and Conflict for one that has an owner."""
        missing = [name for name in names if name not in self._alarms]
        if missing:
            raise NotFound(f"there is no alarm named {missing[0]!r}")
        for name in names:
            if self._alarms[name].definition.owner is not None:
                raise Conflict(_owned(self._alarms[name]))
        await self._forget(names)

    async def _forget(self, names: Iterable[str]) -> None:
        async with self._turn:
            known = [name for name in dict.fromkeys(names) if name in self._alarms]
            if known:
                await self._database.run(disk.delete_alarms, known, self._wall_ms())
                for name in known:
                    del self._alarms[name]

    def state(self, name: str) -> AlarmState | None:
        """Return an alarm's state, or None where there is no such alarm."""
        alarm = self._alarms.get(name)
        return None if alarm is None else alarm.stored.state

    def alarms(self) -> list[Alarm]:
        """Return all alarms by name."""
        return [self._alarms[name] for name in sorted(self._alarms)]

    def alarm(self, name: str) -> Alarm:
        """Return one alarm. Raises NotFound."""
        alarm = self._alarms.get(name)
        if alarm is None:
            raise NotFound(f"there is no alarm named {name!r}")
        return alarm

    def watch(self, on_alarm: OnAlarm) -> Callable[[], None]:
        """Call ``on_alarm`` at every change of state; return what ends that."""
        self._watchers.append(on_alarm)

        def end() -> None:
            if on_alarm in self._watchers:
                self._watchers.remove(on_alarm)

        return end

    async def set_state(
        self, name: str, state: AlarmState, reason: str, reason_data: str | None
    ) -> None:
        """Put an alarm into a state until its next evaluation. Raises NotFound."""
        async with self._turn:
            await self._move(self.alarm(name), state, GivenReason(reason, reason_data))

    async def set_actions_enabled(self, names: Sequence[str], is_acting: bool) -> None:
        """Let alarms act, or not. Names that are not there are passed over."""
        async with self._turn:
            for name in names:
                alarm = self._alarms.get(name)
                if alarm is None or alarm.definition.is_acting == is_acting:
                    continue
                definition = with_actions_enabled(alarm.definition, is_acting)
                await self._store(definition, alarm)

    async def history(self, asked: AlarmHistoryQuery) -> list[AlarmHistoryItem]:
        """Return items of the history of alarms, also of those that are gone."""
        return await self._database.run(disk.find_history, asked)

    def next_evaluation_ms(self, now_ms: int) -> int | None:
        """Return when the next period of an alarm ends; None without alarms."""
        periods = {alarm.definition.period_s * 1_000 for alarm in self._alarms.values()}
        return min((now_ms // one * one + one for one in periods), default=None)

    async def evaluate_due(self, now_ms: int) -> None:
        """Evaluate every alarm of which a period ended since the last evaluation."""
        since_ms, self._evaluated_ms = self._evaluated_ms, max(now_ms, self._evaluated_ms)
        for name in list(self._alarms):
            async with self._turn:
                alarm = self._alarms.get(name)
                if alarm is None:
                    continue
                period_ms = alarm.definition.period_s * 1_000
                edge_ms = now_ms // period_ms * period_ms
                if edge_ms <= since_ms:
                    continue
                try:
                    await self._evaluate(alarm, edge_ms)
                except ColdsparkError as error:
                    _log.warning("alarm %s: %s", name, error.message)
                except Exception:  # noqa: BLE001
                    # One alarm's edge: the others are evaluated all the same.
                    _log.exception("alarm %s could not be evaluated", name)

    async def _evaluate(self, alarm: Alarm, edge_ms: int) -> None:
        definition = alarm.definition
        test, period_ms = definition.test, definition.period_s * 1_000
        span = MetricTimeRange(
            start_ms=edge_ms - test.periods_evaluated * period_ms, end_ms=edge_ms
        )
        found = await evaluate_queries(
            self._metrics, (*definition.queries, *_counts(definition)), span
        )
        values: Series = found[definition.watched.id][1]
        if _is_thin(definition, found.get(_COUNT_ID, (0, {}))[1]):
            return
        times = range(span.start_ms, span.end_ms, period_ms)
        points = [values.get(at_ms) for at_ms in times]
        state = evaluate_alarm(test, points, alarm.stored.state)
        if state is not alarm.stored.state:
            stat = definition.watched.stat
            known = [(at_ms, values[at_ms]) for at_ms in times if at_ms in values]
            reason = Evaluation(
                at_ms=self._wall_ms(),
                points=[
                    (at_ms, value if math.isfinite(value) else None)
                    for at_ms, value in known[-test.evaluation_periods :]
                ],
                statistic=None if stat is None else stat.statistic,
                period_s=definition.period_s,
                test=test,
            )
            await self._move(alarm, state, reason)

    async def _move(self, alarm: Alarm, state: AlarmState, reason: AlarmReason) -> None:
        """Store a state, then publish the change."""
        before = alarm.stored
        stored, item = change_state(before, state, reason, self._wall_ms())
        await self._database.run(disk.put_alarm, stored, item)
        moved = replace(alarm, stored=stored)
        self._alarms[alarm.name] = moved
        if item is not None:
            await self._publish(AlarmChange(alarm=moved, before=before.state))

    async def _publish(self, change: AlarmChange) -> None:
        """Notify watchers of a change that was stored, and take the actions."""
        alarm, state = change.alarm, change.alarm.stored.state
        reason = self._explain(state, alarm.stored.reason)
        _log.info("alarm %s: %s to %s: %s", alarm.name, change.before, state, reason)
        for watcher in list(self._watchers):
            try:
                watcher(alarm.name, state, reason)
            except Exception:  # noqa: BLE001
                # A watcher's edge: the others are notified all the same.
                _log.exception("alarm %s: a watcher failed", alarm.name)
        if not alarm.definition.is_acting:
            return
        for address in alarm.definition.actions.of(state):
            await self._act(address, change)

    async def _act(self, address: str, change: AlarmChange) -> None:
        event, name = AlarmActed(address=address), change.alarm.name
        marked = (one for mark, one in self._action_handlers.items() if mark in address)
        try:
            await next(marked, self._notify)(address, change)
        except ColdsparkError as error:
            event = AlarmActed(address=address, error=error.message)
            _log.warning("alarm %s: the action %s failed: %s", name, address, error.message)
        item = AlarmHistoryItem(alarm=name, at_ms=self._wall_ms(), event=event)
        await self._database.run(disk.add_history_item, item)

    async def _evaluate_for_ever(self) -> None:
        while True:
            self._changed.clear()
            now_ms = self._wall_ms()
            # From the last evaluation on: an edge in the time that it took is not missed.
            edge_ms = self.next_evaluation_ms(self._evaluated_ms)
            if edge_ms is None:
                await self._changed.wait()
                self._evaluated_ms = self._wall_ms()
                continue
            due_s = (edge_ms - now_ms) / 1_000 + _SETTLE_S
            try:
                async with asyncio.timeout(max(0.0, due_s)):
                    # A new alarm may have a shorter period.
                    await self._changed.wait()
            except TimeoutError:
                await self.evaluate_due(self._wall_ms())
                await self._drop_old()

    async def _drop_old(self) -> None:
        try:
            before_ms = self._wall_ms() - _HISTORY_MS
            await self._database.run(disk.prune_history, before_ms, _ROWS_MAX)
        except Exception:  # noqa: BLE001
            _log.exception("alarms: old history could not be dropped")


def _counts(definition: AlarmDefinition) -> tuple[MetricQuery, ...]:
    """Return the query of sample counts, where percentiles of few samples are not to count."""
    stat = definition.watched.stat
    if definition.low_samples != "ignore" or stat is None or stat.statistic in STATISTICS:
        return ()
    return (MetricQuery(id=_COUNT_ID, stat=with_fields(stat, statistic="SampleCount")),)


def _is_thin(definition: AlarmDefinition, samples: Series) -> bool:
    """Return whether a period has too few samples for its percentile.

    It needs 10 / (1 - p) for p from 0.5 on, 10 / p below. Worked: p99 needs 1000, p10 needs 100.
    """
    if not samples:
        return False
    stat = definition.watched.stat
    assert stat is not None
    share = float(stat.statistic.removeprefix("p")) / 100
    rest = min(share, 1 - share)
    return min(samples.values()) * rest < _SAMPLES_MIN


def with_actions_enabled(definition: AlarmDefinition, is_acting: bool) -> AlarmDefinition:
    """Return the same alarm, acting or not."""
    return with_fields(definition, is_acting=is_acting)


def _owned(alarm: Alarm) -> str:
    owner = alarm.definition.owner or "a caller"
    return f"the alarm {alarm.name!r} belongs to {owner}, which alone changes or deletes it"
