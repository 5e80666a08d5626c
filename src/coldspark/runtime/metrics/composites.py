"""Composite alarms: alarms over the states of others, looked at when one of those changes.

They stand in the alarms' table beside the others, and act as they do. A change that was written
down before the process ended is seen when it is up again.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec
from msgspec import Struct
from msgspec.structs import replace as with_fields

from coldspark.core.alarm_rules import Rule, RuleError, read_rule
from coldspark.core.alarms import AlarmState
from coldspark.errors import Conflict, InvalidRequest, NotFound
from coldspark.runtime.metrics.alarm_keeper import ALARMS_MAX, AlarmKeeper
from coldspark.runtime.metrics.changes import Change, moved_to
from coldspark.runtime.metrics.definitions import Actions
from coldspark.runtime.tasks import Tasks
from coldspark.store import alarms as disk
from coldspark.store.alarms import Happening, StoredAlarm
from coldspark.store.database import Database

_log = logging.getLogger(__name__)
_CLOSE_WITHIN_S = 5.0


class CompositeDefinition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a composite alarm is about and does."""

    name: str
    rule: str
    description: str | None = None
    actions: Actions = Actions()
    is_acting: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """A composite alarm as it is."""

    definition: CompositeDefinition
    stored: StoredAlarm
    rule: Rule

    @property
    def name(self) -> str:
        """Return its name."""
        return self.stored.name


class CompositeAlarms:
    """The composite alarms of one server. All calls are made on the event loop's thread."""

    def __init__(
        self, database: Database, alarms: AlarmKeeper, *, wall_ms: Callable[[], int]
    ) -> None:
        """Take the neighbours; ``alarms`` are what rules are about, and do what actions say."""
        self._database = database
        self._alarms = alarms
        self._wall_ms = wall_ms
        self._composites: dict[str, Composite] = {}
        self._changed: set[str] = set()
        """Alarms whose composites are to be looked at."""
        self._is_due = asyncio.Event()
        self._turn = asyncio.Lock()
        self._tasks = Tasks()

    async def open(self, *, is_timed: bool = True) -> None:
        """Take up what there is, and look at it whenever something changes."""
        for stored in await self._database.run(disk.load_alarms):
            if disk.is_composite(stored):
                definition = msgspec.convert(stored.body, CompositeDefinition)
                rule = read_rule(definition.rule)
                self._composites[stored.name] = Composite(
                    definition=definition, stored=stored, rule=rule
                )
                self._changed |= rule.names
        self._alarms.watch(lambda name, state, reason: self._hear(name))
        self._alarms.add_states(self._state)
        self._is_due.set()
        if is_timed:
            self._tasks.spawn(self._look_for_ever())

    async def close(self) -> None:
        """Look at them no more. Idempotent."""
        await self._tasks.close(_CLOSE_WITHIN_S)

    def all(self) -> list[Composite]:
        """Return all by name."""
        return [self._composites[name] for name in sorted(self._composites)]

    def find(self, name: str) -> Composite | None:
        """Return one, or None."""
        return self._composites.get(name)

    def _state(self, name: str) -> AlarmState | None:
        found = self._composites.get(name)
        return None if found is None else found.stored.state

    async def define(self, definition: CompositeDefinition) -> None:
        """Create or replace one; one that was there keeps its state. Raises InvalidRequest."""
        rule = _read(definition)
        async with self._turn:
            missing = sorted(one for one in rule.names if self._alarms.state(one) is None)
            if missing:
                raise InvalidRequest(
                    f"Could not save the composite alarm as alarms [{', '.join(missing[:10])}] in"
                    " the alarm rule do not exist",
                    field="AlarmRule",
                )
            before = self._composites.get(definition.name)
            if before is None and self._alarms.state(definition.name) is not None:
                raise Conflict(f"{definition.name!r} is a metric alarm: delete that first")
            if before is None and len(self._composites) >= ALARMS_MAX:
                raise InvalidRequest(f"there are {ALARMS_MAX} composite alarms: delete some")
            self._refuse_circle(definition.name, rule)
            await self._store(definition, rule, before)
        self._hear(*(rule.names or [definition.name]))

    def _refuse_circle(self, name: str, rule: Rule) -> None:
        below, seen = list(rule.names), set[str]()
        while below:
            one = below.pop()
            if one == name:
                raise InvalidRequest(
                    f"The alarm rule of {name} is about {name} itself, over one alarm or several",
                    field="AlarmRule",
                )
            if one in self._composites and one not in seen:
                seen.add(one)
                below += self._composites[one].rule.names

    async def _store(
        self, definition: CompositeDefinition, rule: Rule, before: Composite | None
    ) -> None:
        now_ms = self._wall_ms()
        stored = StoredAlarm(
            name=definition.name,
            body={},
            state=AlarmState.INSUFFICIENT_DATA,
            reason="Unchecked: Initial alarm creation",
            reason_data=None,
            state_ms=now_ms,
            moved_ms=now_ms,
            updated_ms=now_ms,
        )
        if before is not None:
            stored = replace(before.stored, updated_ms=now_ms)
        stored = replace(stored, body=msgspec.to_builtins(definition))
        verb = "created" if before is None else "updated"
        happening = Happening(
            alarm=definition.name,
            at_ms=now_ms,
            kind="ConfigurationUpdate",
            summary=f'Alarm "{definition.name}" {verb}',
            data=json.dumps({"version": "1.0", "type": verb.removesuffix("d").title()}),
        )
        await self._database.run(disk.put_alarm, stored, happening)
        self._composites[definition.name] = Composite(
            definition=definition, stored=stored, rule=rule
        )

    async def drop_all(self, names: Sequence[str]) -> None:
        """Delete those of these names that are composite alarms."""
        async with self._turn:
            known = [name for name in dict.fromkeys(names) if name in self._composites]
            if known:
                await self._database.run(disk.drop_alarms, known, self._wall_ms())
                for name in known:
                    del self._composites[name]

    def refuse_needed(self, names: Iterable[str]) -> None:
        """Raise Conflict where a composite alarm that stays is about one of these."""
        going = set(names)
        for one in self.all():
            needed = sorted(one.rule.names & going)
            if needed and one.name not in going:
                raise Conflict(
                    f"Cannot delete {', '.join(needed)} as there are composite alarm(s) depending"
                    f" on it: {one.name}"
                )

    async def set_state(
        self, name: str, state: AlarmState, reason: str, reason_data: str | None
    ) -> None:
        """Put one into a state until one that it is about changes. Raises NotFound."""
        async with self._turn:
            if name not in self._composites:
                raise NotFound(f"there is no composite alarm named {name!r}")
            await self._move(self._composites[name], state, reason, reason_data)

    async def set_acting(self, names: Sequence[str], is_acting: bool) -> None:
        """Let them act, or not. Names that are not there are passed over."""
        async with self._turn:
            for name in names:
                one = self._composites.get(name)
                if one is not None and one.definition.is_acting != is_acting:
                    definition = with_fields(one.definition, is_acting=is_acting)
                    await self._store(definition, one.rule, one)

    async def look(self) -> None:
        """Look at what is due, also at what becomes due by that."""
        self._is_due.clear()
        while self._changed:
            changed, self._changed = self._changed, set()
            async with self._turn:
                for one in self.all():
                    if one.rule.names & changed or (one.name in changed and not one.rule.names):
                        await self._evaluate(one)

    async def _evaluate(self, one: Composite) -> None:
        known = {name: self._alarms.state(name) for name in sorted(one.rule.names)}
        states = {name: state for name, state in known.items() if state is not None}
        state = AlarmState.ALARM if one.rule.holds(states) else AlarmState.OK
        if state is one.stored.state:
            return
        told = ", ".join(f"{name} is {now}" for name, now in states.items())
        reason = f"The alarm rule is {'' if state is AlarmState.ALARM else 'not '}fulfilled: {told}"
        data = {"triggeringAlarms": [{"name": name, "state": now} for name, now in states.items()]}
        text = json.dumps(data)
        await self._move(one, state, reason[:1_023], text if len(text) <= 4_000 else None)

    async def _move(
        self, one: Composite, state: AlarmState, reason: str, reason_data: str | None
    ) -> None:
        """Write a state down, then tell of it."""
        before = one.stored
        stored, happening = moved_to(before, state, reason, reason_data, self._wall_ms())
        await self._database.run(disk.put_alarm, stored, happening)
        moved = replace(one, stored=stored)
        self._composites[one.name] = moved
        if happening is not None:
            await self._alarms.tell(Change(alarm=moved, before=before.state))

    def _hear(self, *names: str) -> None:
        self._changed |= set(names)
        self._is_due.set()

    async def _look_for_ever(self) -> None:
        while True:
            await self._is_due.wait()
            try:
                await self.look()
            except Exception:  # noqa: BLE001
                # The task's edge: the next change tries again.
                _log.exception("composite alarms could not be evaluated")


def _read(definition: CompositeDefinition) -> Rule:
    try:
        return read_rule(definition.rule)
    except RuleError as error:
        raise InvalidRequest(f"Error in AlarmRule: {error}", field="AlarmRule") from None
