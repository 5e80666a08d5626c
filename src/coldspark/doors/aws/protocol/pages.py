"""Pages of lists, and their tokens: where the next page begins, as text that a client hands back.

A token names the last row of its page rather than an offset, so rows that come or go meanwhile
shift nothing; and the list with what was asked, so that no other list takes it.
"""

import base64
from collections.abc import Callable, Iterable
from typing import Any, Never, TypeVar

import msgspec

T = TypeVar("T")
Row = TypeVar("Row")


def page(
    rows: Iterable[Row],
    place: Callable[[Row], Any],
    kind: Any,
    *,
    of: str,
    token: str | None,
    count: int,
    refuse: Callable[[], Never],
    is_descending: bool = False,
) -> tuple[list[Row], str | None]:
    """Return the page after a token, and the token of the next one.

    ``place`` is where a row stands in the order, unique, of the type ``kind``. ``of`` names the
    list and its order. ``refuse`` is called for a token that this list did not give.
    """
    kept = sorted(rows, key=place, reverse=is_descending)
    if token is not None:
        after = read_place(token, of, kind, refuse)
        kept = [
            row for row in kept if (place(row) < after if is_descending else place(row) > after)
        ]
    shown = kept[:count]
    return shown, None if len(shown) == len(kept) else write_token((of, place(shown[-1])))


def read_place(token: str, of: str, kind: Any, refuse: Callable[[], Never]) -> Any:
    """Return the place in a token that ``write_token((of, place))`` made."""
    given, place = read_token(token, tuple[str, Any]) or (None, None)
    if given != of:
        refuse()
    try:
        return msgspec.convert(place, kind)
    except msgspec.ValidationError:
        refuse()


def write_token(place: object) -> str:
    """Return the token of a place: JSON in the base 64 of URLs, without padding."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def read_token(token: str, kind: type[T]) -> T | None:
    """Return the place of a token, or None for one that holds no such place."""
    try:
        padded = token + "=" * (-len(token) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded.encode()), type=kind)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None
