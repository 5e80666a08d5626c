"""Tokens of pages: where in a list the next page begins, as text that a client hands back."""

import base64
from typing import TypeVar

import msgspec

T = TypeVar("T")


def write_token(place: object) -> str:
    """Return the token of a place: JSON in the base 64 of URLs, without padding.

    A place that names the list and what was asked lets its reader refuse tokens of other lists.
    """
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def read_token(token: str, kind: type[T]) -> T | None:
    """Return the place of a token, or None for one that holds no such place."""
    try:
        padded = token + "=" * (-len(token) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded.encode()), type=kind)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None
