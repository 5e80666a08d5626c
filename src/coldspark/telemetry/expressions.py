"""Reading expressions: a place in a text, and operators between operands by how strongly they bind.

Metric math and the filter patterns of logs are read by it; what an operand is, each says itself.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, Never, TypeVar

DEPTH_MAX = 32
INFIXES_MAX = 500
"""In one text: what is computed from left to right is that deep."""

Node = TypeVar("Node")


class ExpressionError(ValueError):
    """An expression cannot be understood, or asks for what is not supported: says which."""


class Cursor:
    """Reads a text from left to right."""

    def __init__(self, text: str) -> None:
        """Begin at the start."""
        self.text = text
        self.at = 0
        self._depth = 0
        self._infixes = 0

    @property
    def next(self) -> str:
        """Return the next character, or nothing at the end."""
        return self.text[self.at : self.at + 1]

    def skip(self) -> None:
        """Go over white space."""
        while self.next.isspace():
            self.at += 1

    def take(self, word: str) -> bool:
        """Go over ``word`` if it comes next, after white space."""
        self.skip()
        if not self.text.startswith(word, self.at):
            return False
        self.at += len(word)
        return True

    def take_any(self, words: Iterable[str]) -> str | None:
        """Go over the longest of ``words`` that comes next, whole and in capitals or not."""
        self.skip()
        for word in sorted(words, key=len, reverse=True):
            end = self.at + len(word)
            goes_on = word[-1].isalpha() and re.match(r"\w", self.text[end : end + 1])
            if self.text[self.at : end].upper() == word and not goes_on:
                self.at = end
                return word
        return None

    def match(self, form: re.Pattern[str]) -> str | None:
        """Go over what ``form`` says comes next, after white space."""
        self.skip()
        found = form.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found[0]

    def expect(self, word: str) -> None:
        """Go over ``word``, which must come next."""
        if not self.take(word):
            self.refuse(f"{word!r} is expected")

    def run(self, stops: str) -> str:
        """Return what comes before white space or one of ``stops``."""
        start = self.at
        while self.next and not self.next.isspace() and self.next not in stops:
            self.at += 1
        return self.text[start : self.at]

    def quoted(self) -> list[str]:
        """Return the characters of a quoted text; one after a backslash has the backslash."""
        quote, start = self.next, self.at
        self.at += 1
        found: list[str] = []
        while self.next != quote:
            if not self.next:
                self.at = start
                self.refuse(f"the {quote} that opens here is never closed")
            width = 2 if self.next == "\\" else 1
            found.append(self.text[self.at : self.at + width])
            self.at += width
        self.at += 1
        return found

    def count_infix(self) -> None:
        """Count one more operator, up to a bound."""
        self._infixes += 1
        if self._infixes > INFIXES_MAX:
            self.refuse(f"it has more than {INFIXES_MAX} operators")

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Read what stands within something else, which ends at a depth."""
        if self._depth == DEPTH_MAX:
            self.refuse(f"it is nested deeper than {DEPTH_MAX}")
        self._depth += 1
        yield
        self._depth -= 1

    def refuse(self, why: str) -> Never:
        """Raise what is wrong here."""
        raise ExpressionError(f"{why} at character {self.at + 1} of {self.text!r}")


@dataclass(frozen=True, slots=True)
class Infix(Generic[Node]):
    """What stands between two operands."""

    power: int
    """Whose is larger binds its operands before the others do."""
    join: Callable[[Node, Node], Node]
    is_right: bool = False
    """Whether ``a ^ b ^ c`` is ``a ^ (b ^ c)``."""


def climb(
    cursor: Cursor,
    operand: Callable[[], Node],
    infixes: Mapping[str, Infix[Node]],
    power: int = 0,
) -> Node:
    """Read operands, and the infixes between them that bind at least as ``power`` does.

    Pratt's loop. Worked: of ``1 + 2 * 3 - 4`` it reads 1, climbs above ``+`` for 2 and above ``*``
    for 3, joins these to 6, then all to 7, and goes on with ``- 4``.
    """
    left = operand()
    while True:
        start = cursor.at
        infix = infixes.get(cursor.take_any(infixes) or "")
        if infix is None or infix.power < power:
            cursor.at = start
            return left
        cursor.count_infix()
        if infix.is_right:
            with cursor.deeper():
                right = climb(cursor, operand, infixes, infix.power)
        else:
            right = climb(cursor, operand, infixes, infix.power + 1)
        left = infix.join(left, right)
