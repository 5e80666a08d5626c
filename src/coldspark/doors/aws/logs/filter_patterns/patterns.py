"""A filter pattern as a caller sends it: terms, JSON, or fields."""

from coldspark.doors.aws.logs.filter_patterns.conditions import Wanted, plain, refuse_regex
from coldspark.doors.aws.logs.filter_patterns.field_patterns import read_field_pattern
from coldspark.doors.aws.logs.filter_patterns.json_patterns import read_json_pattern
from coldspark.telemetry.expressions import Cursor

_MUST_BE_QUOTED = frozenset('"%{}[]()*&|<>!')


def compile_pattern(text: str) -> Wanted:
    """Return a pattern; an empty one takes every event. Raises ExpressionError."""
    cursor = Cursor(text)
    cursor.skip()
    if cursor.next == "{":
        return read_json_pattern(cursor)
    if cursor.next == "[":
        return read_field_pattern(cursor)
    return _read_terms(cursor)


def _read_terms(cursor: Cursor) -> Wanted:
    """Terms anywhere in the event: all of some, one of others, none of the rest."""
    terms: dict[str, list[str]] = {"": [], "?": [], "-": []}
    while cursor.next:
        sign = cursor.next if cursor.next in ("?", "-") else ""
        cursor.at += len(sign)
        terms[sign].append(_term(cursor))
        if cursor.next and not cursor.next.isspace():
            cursor.refuse("white space is expected between terms")
        cursor.skip()
    if terms["?"] and (terms[""] or terms["-"]):
        cursor.refuse(
            "terms with ? cannot stand beside others (AWS would pass over them): use only terms "
            "with ?, or a search for each; read up to the end"
        )

    def is_wanted(message: str) -> bool:
        if not all(term in message for term in terms[""]):
            return False
        if any(term in message for term in terms["-"]):
            return False
        return not terms["?"] or any(term in message for term in terms["?"])

    return is_wanted


def _term(cursor: Cursor) -> str:
    if cursor.next == '"':
        found = plain(cursor.quoted())
    elif cursor.next == "%":
        refuse_regex(cursor)
    else:
        start = cursor.at
        found = cursor.run('"%')
        if set(found) & _MUST_BE_QUOTED:
            cursor.at = start
            cursor.refuse(f'{found!r} must stand in double quotes: "…"')
    if not found:
        cursor.refuse("a term is expected")
    return found
