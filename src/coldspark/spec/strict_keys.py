"""Strict reading of what people write: an unknown key is refused with the nearest known one."""

import difflib
from collections.abc import Iterable, Mapping


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a misspelt one most resembles, or None."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def refuse_unknown_keys(table: Mapping[str, object], known: Iterable[str], where: str) -> None:
    """Raise ValueError when a table holds a key that nobody reads."""
    allowed = tuple(known)
    for key in table:
        if key in allowed:
            continue
        near = nearest_name(key, allowed)
        cure = f"did you mean {near!r}?" if near else f"there is {', '.join(sorted(allowed))}"
        raise ValueError(f"{where} has no key {key!r}: {cure}")
