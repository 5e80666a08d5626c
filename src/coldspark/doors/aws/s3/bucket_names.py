"""What a bucket may be called, and what it may not because the path is another door's."""

import re
from collections.abc import Collection

from coldspark.doors.aws.s3.errors import S3Error

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_AFFIXES = ("xn--", "sthree-", "-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
_VERSION = re.compile(r"\d{4}-\d\d-\d\d")


class ReservedNames:
    """Names of buckets that would be in the way of another door's paths."""

    def __init__(self, words: Collection[str]) -> None:
        """Take the first words of the other doors' paths."""
        self._words = words

    def __contains__(self, word: str) -> bool:
        """Return whether paths that begin with this word are another door's."""
        # Other services of AWS's would have their paths under the date of a version.
        return word in self._words or _VERSION.fullmatch(word) is not None


def is_name(name: str) -> bool:
    """Return whether S3 would take a bucket's name."""
    if not _NAME.fullmatch(name) or ".." in name or _ADDRESS.fullmatch(name):
        return False
    return not name.startswith(_AFFIXES[:2]) and not name.endswith(_AFFIXES[2:])


def check_name(name: str, reserved: ReservedNames) -> None:
    """Refuse what no bucket may be called. Raises S3Error."""
    if name in reserved:
        raise S3Error(
            "InvalidBucketName",
            f"A bucket cannot be called {name!r}: the path /{name} belongs to another API of this"
            " server. Choose another name.",
        )
    if not is_name(name):
        raise S3Error(
            "InvalidBucketName",
            f"The specified bucket is not valid: {name[:80]!r}. A name has 3 to 63 lower-case"
            " letters, digits, dots and hyphens, and is no IP address.",
        )
