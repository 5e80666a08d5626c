"""Rules of composite alarms: ``ALARM("hot") AND (NOT OK(dry) OR ALARM(busy))``.

``AND`` binds stronger than ``OR``. An alarm is named as it is, in double quotes, or by its ARN.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Never

from coldspark.core.alarms import AlarmState

States = Mapping[str, AlarmState]
Holds = Callable[[States], bool]
NAMES_MAX = 100
_DEPTH_MAX = 32
_WORD = re.compile(r"\s*([A-Za-z_]+)")
_QUOTED = re.compile(r'\s*"([^"]{1,1600})"\s*\)')
_PLAIN = re.compile(r"\s*([^\s()\"]{1,1600})\s*\)")
_ARN = re.compile(r"arn:[^:]*:cloudwatch:[^:]*:\d*:alarm:(?P<name>.+)")


class RuleError(ValueError):
    """A rule cannot be understood: says where, and what is expected there."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that was read."""

    holds: Holds
    names: frozenset[str]
    """The alarms that it is about."""


def read_rule(text: str) -> Rule:
    """Read a rule. Raises RuleError."""
    reader = _Reader(text)
    holds = reader.alternatives(0)
    if text[reader.at :].strip():
        reader.refuse("AND, OR or the end is expected")
    if len(reader.names) > NAMES_MAX:
        raise RuleError(f"a rule is about at most {NAMES_MAX} alarms, not {len(reader.names)}")
    return Rule(holds, frozenset(reader.names))


class _Reader:
    """Reads a rule from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.names: set[str] = set()

    def refuse(self, why: str) -> Never:
        raise RuleError(f"{why} at character {self.at + 1} of {self.text[:200]!r}")

    def alternatives(self, depth: int) -> Holds:
        parts = [self._together(depth)]
        while self._take("OR"):
            parts.append(self._together(depth))
        return parts[0] if len(parts) == 1 else lambda states: any(one(states) for one in parts)

    def _together(self, depth: int) -> Holds:
        parts = [self._single(depth)]
        while self._take("AND"):
            parts.append(self._single(depth))
        return parts[0] if len(parts) == 1 else lambda states: all(one(states) for one in parts)

    def _single(self, depth: int) -> Holds:
        if depth > _DEPTH_MAX:
            self.refuse(f"it is nested deeper than {_DEPTH_MAX}")
        if self._take_mark("("):
            inner = self.alternatives(depth + 1)
            if not self._take_mark(")"):
                self.refuse("')' is expected")
            return inner
        if self._take("NOT"):
            inner = self._single(depth + 1)
            return lambda states: not inner(states)
        for word, constant in (("TRUE", True), ("FALSE", False)):
            if self._take(word):
                self._take_empty()
                return lambda states: constant
        state = next((one for one in AlarmState if self._take(one.value)), None)
        if state is None:
            self.refuse(f"{', '.join(AlarmState)}, NOT, TRUE, FALSE or ( is expected")
        return self._of_state(state)

    def _of_state(self, state: AlarmState) -> Holds:
        if not self._take_mark("("):
            self.refuse("'(' is expected")
        found = _QUOTED.match(self.text, self.at) or _PLAIN.match(self.text, self.at)
        if found is None:
            self.refuse("the name of an alarm and ')' are expected")
        self.at = found.end()
        arn = _ARN.fullmatch(found[1])
        name = found[1] if arn is None else arn["name"]
        self.names.add(name)
        return lambda states: states.get(name) is state

    def _take(self, word: str) -> bool:
        found = _WORD.match(self.text, self.at)
        if found is None or found[1].upper() != word:
            return False
        self.at = found.end()
        return True

    def _take_mark(self, mark: str) -> bool:
        rest = self.text[self.at :]
        if not rest.lstrip().startswith(mark):
            return False
        self.at += len(rest) - len(rest.lstrip()) + 1
        return True

    def _take_empty(self) -> None:
        start = self.at
        if not (self._take_mark("(") and self._take_mark(")")):
            self.at = start
