"""Regular expressions as CloudWatch Logs has them, in time linear in the text.

The language has no groups, so a branch is a row of items, each with how often it may come. Python's
own engine would try them again and again (``a*a*a*b``); here all ways are walked at once, and
what one character leads to is remembered, up to a bound.
"""

from dataclasses import dataclass, field

from coldspark.gateway.cloudwatch_logs.filtering.cursor import Cursor

ITEMS_MAX = 200
"""After ``{2,5}`` is written out."""
_EDGES_MAX = 10_000
_SYMBOLS = frozenset(":_#=@/;,-&'\"<>!~` ")
"""AWS's list, and those that mean nothing else."""
_DIGITS = frozenset("0123456789")
_WORD = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_SPACE = frozenset(" \t\n\r\f\v")


@dataclass(frozen=True, slots=True)
class _Characters:
    some: frozenset[str]
    is_negated: bool = False

    def __contains__(self, character: str) -> bool:
        return (character in self.some) != self.is_negated


_ESCAPES = {
    "d": _Characters(_DIGITS),
    "D": _Characters(_DIGITS, is_negated=True),
    "w": _Characters(_WORD),
    "W": _Characters(_WORD, is_negated=True),
    "s": _Characters(_SPACE),
    "S": _Characters(_SPACE, is_negated=True),
}


@dataclass(frozen=True, slots=True)
class _Item:
    characters: _Characters
    may_miss: bool = False
    repeats: bool = False


@dataclass(slots=True)
class _Branch:
    items: list[_Item] = field(default_factory=list)
    is_at_start: bool = False
    is_at_end: bool = False


_Places = frozenset[tuple[int, int]]


@dataclass(slots=True)
class _State:
    places: _Places
    is_found: bool
    is_found_at_end: bool
    edges: dict[str, "_State"] = field(default_factory=dict)


class SmallRegex:
    """A compiled expression. Raises PatternError for what is not in the language."""

    def __init__(self, expression: str) -> None:
        self._branches = _parse(expression)
        self._states: dict[_Places, _State] = {}
        self._edges = 0
        every = {(number, 0) for number in range(len(self._branches))}
        self._first = self._closed(every)
        self._again = self._closed({one for one in every if not self._branches[one[0]].is_at_start})

    def is_in(self, text: str) -> bool:
        """Return whether some part of the text matches."""
        state = self._state(self._first)
        for character in text:
            if state.is_found:
                return True
            following = state.edges.get(character)
            if following is None:
                following = self._follow(state, character)
            state = following
        return state.is_found or state.is_found_at_end

    def _follow(self, state: _State, character: str) -> _State:
        reached = set()
        for number, place in state.places:
            items = self._branches[number].items
            if place < len(items) and character in items[place].characters:
                reached.add((number, place if items[place].repeats else place + 1))
        self._edges += 1
        if self._edges > _EDGES_MAX:
            # Forget what was learned: it is found again where it is needed.
            self._states.clear()
            state.edges.clear()
            self._edges = 0
        following = self._state(self._closed(reached) | self._again)
        state.edges[character] = following
        return following

    def _closed(self, places: set[tuple[int, int]]) -> _Places:
        """Add the places that are reached without a character."""
        found = set()
        for number, start in places:
            items, place = self._branches[number].items, start
            found.add((number, place))
            while place < len(items) and items[place].may_miss:
                place += 1
                found.add((number, place))
        return frozenset(found)

    def _state(self, places: _Places) -> _State:
        state = self._states.get(places)
        if state is None:
            over = [
                self._branches[number]
                for number, place in places
                if place == len(self._branches[number].items)
            ]
            is_found = any(not branch.is_at_end for branch in over)
            state = self._states[places] = _State(places, is_found, bool(over))
        return state


def _parse(expression: str) -> list[_Branch]:
    cursor = Cursor(expression)
    branches = [_Branch()]
    while cursor.next:
        if cursor.next == "|":
            branches.append(_Branch())
            cursor.at += 1
        else:
            _read_item(cursor, branches[-1])
        if sum(len(branch.items) for branch in branches) > ITEMS_MAX:
            cursor.refuse(f"the regular expression is too long: over {ITEMS_MAX} items")
    return branches


def _read_item(cursor: Cursor, branch: _Branch) -> None:
    if branch.is_at_end:
        cursor.refuse("nothing can follow '$' in a regular expression")
    character = cursor.next
    if character == "^":
        if branch.items or branch.is_at_start:
            cursor.refuse("'^' can only stand at the start")
        branch.is_at_start = True
        cursor.at += 1
    elif character == "$":
        branch.is_at_end = True
        cursor.at += 1
    else:
        branch.items += _repeated(cursor, _characters(cursor))


def _characters(cursor: Cursor) -> _Characters:
    character = cursor.next
    if character == "[":
        return _class(cursor)
    if character == "\\":
        return _escape(cursor)
    if character == ".":
        cursor.at += 1
        return _Characters(frozenset("\n"), is_negated=True)
    if character in ("(", ")"):
        cursor.refuse("groups are not supported in regular expressions")
    if not _is_plain(character):
        cursor.refuse(f"{character!r} is not supported here in a regular expression")
    cursor.at += 1
    return _Characters(frozenset(character))


def _is_plain(character: str) -> bool:
    return character.isalnum() or character in _SYMBOLS


def _escape(cursor: Cursor) -> _Characters:
    cursor.at += 1
    character = cursor.next
    if character == "x":
        digits = cursor.text[cursor.at + 1 : cursor.at + 3]
        if len(digits) < 2 or not set(digits) <= set("0123456789abcdefABCDEF"):
            cursor.refuse("\\x must be followed by two hexadecimal digits")
        cursor.at += 3
        return _Characters(frozenset(chr(int(digits, 16))))
    found = _ESCAPES.get(character)
    if found is None and (not character or character.isalnum()):
        cursor.refuse(f"'\\{character}' is not supported in a regular expression")
    cursor.at += 1
    return found or _Characters(frozenset(character))


def _class(cursor: Cursor) -> _Characters:
    start = cursor.at
    cursor.at += 1
    is_negated = cursor.next == "^"
    cursor.at += is_negated
    some: set[str] = set()
    while cursor.next != "]":
        if not cursor.next:
            cursor.at = start
            cursor.refuse("the [ that opens here is never closed")
        some |= _range(cursor)
    cursor.at += 1
    if not some:
        cursor.refuse("[] has no characters")
    return _Characters(frozenset(some), is_negated)


def _range(cursor: Cursor) -> frozenset[str]:
    low = _member(cursor)
    is_range = cursor.next == "-" and cursor.text[cursor.at + 1 : cursor.at + 2] not in ("]", "")
    if not is_range:
        return low
    cursor.at += 1
    high = _member(cursor)
    if len(low) != 1 or len(high) != 1:
        cursor.refuse("a range in [] goes from one character to another")
    first, last = ord(min(low)), ord(min(high))
    if first > last or last > 127:
        cursor.refuse("a range in [] must rise, among ASCII characters")
    return frozenset(map(chr, range(first, last + 1)))


def _member(cursor: Cursor) -> frozenset[str]:
    if cursor.next == "\\":
        found = _escape(cursor)
        if found.is_negated:
            cursor.refuse("\\D, \\S and \\W are not supported in []")
        return found.some
    if cursor.next == "[":
        cursor.refuse("'[' in [] must be escaped: \\[")
    character = cursor.next
    cursor.at += 1
    return frozenset(character)


def _repeated(cursor: Cursor, characters: _Characters) -> list[_Item]:
    least, most = 1, 1 if cursor.next not in ("*", "+") else None
    if cursor.next in ("*", "?"):
        least = 0
    if cursor.next in ("*", "+", "?"):
        cursor.at += 1
    elif cursor.next == "{":
        least, most = _counts(cursor)
    if cursor.next in ("*", "+", "?", "{") and cursor.text[cursor.at - 1] in "*+?}":
        cursor.refuse("a second quantifier is not supported in a regular expression")
    needed = [_Item(characters)] * least
    if most is None:
        return [*needed, _Item(characters, may_miss=True, repeats=True)]
    return [*needed, *[_Item(characters, may_miss=True)] * (most - least)]


def _counts(cursor: Cursor) -> tuple[int, int | None]:
    end = cursor.text.find("}", cursor.at)
    low, comma, high = cursor.text[cursor.at + 1 : max(end, cursor.at)].partition(",")
    is_number = low.isdecimal() and len(low) < 5 and len(high) < 5
    if end < 0 or not is_number or not (high == "" or high.isdecimal()):
        cursor.refuse("a count in a regular expression is {2}, {2,} or {2,5}")
    least = int(low)
    most = least if not comma else int(high) if high else None
    if least > ITEMS_MAX or (most is not None and not least <= most <= ITEMS_MAX):
        cursor.refuse(f"counts must rise, up to {ITEMS_MAX}")
    cursor.at = end + 1
    return least, most
