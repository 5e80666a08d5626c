"""A filter pattern as a caller sends it: terms, JSON, or fields."""

from dataclasses import dataclass
from typing import Protocol

from coldspark.gateway.cloudwatch_logs.filtering.cursor import Cursor, plain
from coldspark.gateway.cloudwatch_logs.filtering.field_patterns import read_field_pattern
from coldspark.gateway.cloudwatch_logs.filtering.json_patterns import read_json_pattern
from coldspark.gateway.cloudwatch_logs.filtering.small_regex import SmallRegex

_MUST_BE_QUOTED = frozenset('"%{}[]()*&|<>!')


class Pattern(Protocol):
    """A compiled pattern."""

    def matches(self, message: str) -> bool:
        """Return whether the event is wanted."""

    def extract(self, message: str) -> dict[str, str]:
        """Return what the pattern names of a wanted event."""


Term = str | SmallRegex


@dataclass(frozen=True, slots=True)
class TermPattern:
    """Terms anywhere in the event: all of some, one of others, none of the rest."""

    all: tuple[Term, ...] = ()
    any: tuple[Term, ...] = ()
    none: tuple[Term, ...] = ()

    def matches(self, message: str) -> bool:
        """Return whether the event is wanted."""
        if not all(_is_in(term, message) for term in self.all):
            return False
        if any(_is_in(term, message) for term in self.none):
            return False
        return not self.any or any(_is_in(term, message) for term in self.any)

    def extract(self, message: str) -> dict[str, str]:
        """Return nothing: terms have no names."""
        return {}


def compile_pattern(text: str) -> Pattern:
    """Return a pattern; an empty one takes every event. Raises PatternError."""
    cursor = Cursor(text)
    cursor.skip()
    if cursor.next == "{":
        return read_json_pattern(cursor)
    if cursor.next == "[":
        return read_field_pattern(cursor)
    return _read_terms(cursor)


def _read_terms(cursor: Cursor) -> TermPattern:
    terms: dict[str, list[Term]] = {"": [], "?": [], "-": []}
    while cursor.next:
        sign = cursor.next if cursor.next in ("?", "-") else ""
        cursor.at += len(sign)
        terms[sign].append(_term(cursor))
        if cursor.next and not cursor.next.isspace():
            cursor.refuse("white space is expected between terms")
        cursor.skip()
    if terms["?"] and (terms[""] or terms["-"]):
        cursor.refuse(
            "terms with ? cannot stand beside others (AWS would pass over them): use a regular "
            "expression such as %one|other% instead, or only terms with ?; read up to the end"
        )
    return TermPattern(tuple(terms[""]), tuple(terms["?"]), tuple(terms["-"]))


def _term(cursor: Cursor) -> Term:
    if cursor.next == '"':
        found = plain(cursor.quoted())
    elif cursor.next == "%":
        return SmallRegex(cursor.regex())
    else:
        start = cursor.at
        found = cursor.run('"%')
        if set(found) & _MUST_BE_QUOTED:
            cursor.at = start
            cursor.refuse(f'{found!r} must stand in double quotes: "…"')
    if not found:
        cursor.refuse("a term is expected")
    return found


def _is_in(term: Term, message: str) -> bool:
    return term in message if isinstance(term, str) else term.is_in(message)
