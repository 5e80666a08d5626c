"""``[ip, user, ..., status = 5*, bytes > 1000]``: conditions on the fields of a line."""

from coldspark.doors.aws.logs.filter_patterns.conditions import JOINED, Holds, Wanted, read_check
from coldspark.telemetry.expressions import Cursor, climb

_STOPS = ",]&|"
_CLOSERS = {"[": "]", '"': '"'}

_Field = Holds | None
"""What a place of a line must be; None takes anything."""


def split_fields(message: str) -> list[str]:
    """Split at white space; what stands in ``[]`` or double quotes is one field, without them."""
    found, at, end = [], 0, len(message)
    never_closed: set[str] = set()
    while at < end:
        character = message[at]
        if character.isspace():
            at += 1
            continue
        closer = _CLOSERS.get(character)
        if closer is not None and closer not in never_closed:
            close = message.find(closer, at + 1)
            if close >= 0:
                found.append(message[at + 1 : close])
                at = close + 1
                continue
            never_closed.add(closer)
        start = at
        while at < end and not message[at].isspace():
            at += 1
        found.append(message[start:at])
    return found


def read_field_pattern(cursor: Cursor) -> Wanted:
    """Read a whole pattern in brackets: fields from the left, after an ellipsis from the right.

    Without an ellipsis a line has just these fields. Raises ExpressionError."""
    cursor.expect("[")
    sides: list[list[_Field]] = [[]]
    while True:
        if cursor.take("..."):
            if len(sides) == 2:
                cursor.refuse("a pattern has one ellipsis at most")
            sides.append([])
        else:
            sides[-1].append(_field(cursor))
        if not cursor.take(","):
            break
    cursor.expect("]")
    cursor.skip()
    if cursor.next:
        cursor.refuse("nothing can follow ]")
    left, right = sides[0], sides[-1] if len(sides) == 2 else []

    def is_wanted(message: str) -> bool:
        values = split_fields(message)
        few = len(values) < len(left) + len(right)
        if few or (len(sides) == 1 and len(values) != len(left)):
            return False
        placed = (
            *zip(left, values, strict=False),
            *zip(right[::-1], values[::-1], strict=False),
        )
        return all(check is None or check(value) for check, value in placed)

    return is_wanted


def _field(cursor: Cursor) -> _Field:
    cursor.skip()
    name = _name(cursor)
    cursor.skip()
    if cursor.next in (",", "]"):
        return None
    if not name:
        cursor.refuse("the name of a field is expected")
    start = cursor.at

    def condition() -> Holds:
        if cursor.at > start:
            _repeat(cursor, name)
        return read_check(cursor, _STOPS)

    return climb(cursor, condition, JOINED)


def _repeat(cursor: Cursor, name: str) -> None:
    """Go over the field's name before its next condition."""
    cursor.skip()
    start = cursor.at
    if _name(cursor) != name:
        cursor.at = start
        cursor.refuse(
            f"the next condition of the field {name!r} must name it again: that name is expected"
        )


def _name(cursor: Cursor) -> str:
    start = cursor.at
    while cursor.next.isalnum() or (cursor.next and cursor.next in "_-$"):
        cursor.at += 1
    return cursor.text[start : cursor.at]
