"""Why a caller was not believed, as a closed list that each door puts into its vendor's words."""

from enum import StrEnum
from typing import Never

from coldspark.errors import Unauthenticated


class RefusalReason(StrEnum):
    """What was wrong with the proof that the caller showed."""

    MISSING = "missing"
    INCOMPLETE = "incomplete"
    """Some part of the signature is absent or malformed."""
    MISMATCHED = "mismatched"
    """The signature is not the one that the key gives."""
    SKEWED = "skewed"
    """The signature's date is too far from the server's clock."""
    EXPIRED = "expired"
    """A presigned URL whose time is over."""
    UNKNOWN_KEY = "unknown key"
    UNSUPPORTED = "unsupported"
    """A kind of proof that is not taken here, such as a presigned query."""


class AuthRefused(Unauthenticated):
    """Refuse a caller, and keep the reason apart from the words."""

    def __init__(self, reason: RefusalReason, message: str) -> None:
        super().__init__(message, field="Authorization")
        self.reason = reason


def refuse(reason: RefusalReason, message: str) -> Never:
    """Raise ``AuthRefused``: one line where a check fails."""
    raise AuthRefused(reason, message)
