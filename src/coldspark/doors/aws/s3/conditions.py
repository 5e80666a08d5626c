"""Conditions and ranges of HTTP (RFC 9110), as S3 takes them."""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from coldspark.doors.aws.s3.errors import S3Error, not_implemented
from coldspark.objects.records import Condition, LocalObject

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


class NotModified(Exception):
    """Say that the caller has it already."""


def check_read(headers: Mapping[str, str], found: LocalObject, prefix: str = "") -> None:
    """Raise S3Error (412) or NotModified unless what the caller asks is so.

    ``prefix``: of the headers' names; the conditions on a copy's source are all 412.
    """
    match, none_match = headers.get(f"{prefix}if-match"), headers.get(f"{prefix}if-none-match")
    if match is not None:
        if not _names(match, found.etag):
            raise _failed(f"{prefix}if-match")
    elif _is_after(found, headers.get(f"{prefix}if-unmodified-since")) is True:
        raise _failed(f"{prefix}if-unmodified-since")
    if none_match is not None:
        if _names(none_match, found.etag):
            raise _failed(f"{prefix}if-none-match") if prefix else NotModified
    elif _is_after(found, headers.get(f"{prefix}if-modified-since")) is False:
        raise _failed(f"{prefix}if-modified-since") if prefix else NotModified


def condition_of(headers: Mapping[str, str]) -> Condition:
    """Return the condition on a change. Raises S3Error."""
    none_match, match = headers.get("if-none-match"), headers.get("if-match")
    if none_match not in (None, "*"):
        not_implemented(f"If-None-Match: {none_match} on a change", "send *")
    return Condition(
        is_absent=none_match is not None, etag=None if match is None else match.strip('" ')
    )


def range_of(headers: Mapping[str, str], found: LocalObject) -> tuple[int, int] | None:
    """Return the bytes that are asked for, from and to before; None: all. Raises S3Error (416)."""
    wanted, if_range = headers.get("range"), headers.get("if-range")
    if wanted is None:
        return None
    if if_range is not None and if_range.strip('"') != found.etag:
        return None
    match = _RANGE.fullmatch(wanted.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        return None  # Several ranges, or no range at all: S3 gives the whole object.
    size = found.size_bytes
    if not match[1]:
        start, end = max(size - int(match[2]), 0), size
    else:
        start, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
        if match[2] and int(match[2]) < int(match[1]):
            return None
    if start >= end:
        raise S3Error(
            "InvalidRange",
            f"The requested range is not satisfiable: {wanted[:80]} of {size} bytes.",
            416,
        )
    return start, end


def copy_range(value: str, size_bytes: int) -> tuple[int, int]:
    """Return the bytes of a source that a part is made of. Raises S3Error."""
    match = _RANGE.fullmatch(value)
    if match is None or not match[1] or not match[2] or int(match[2]) < int(match[1]):
        raise S3Error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last.",
        )
    if int(match[2]) >= size_bytes:
        raise S3Error(
            "InvalidRange", f"Range specified is not valid for source object of size: {size_bytes}."
        )
    return int(match[1]), int(match[2]) + 1


def _names(value: str, etag: str) -> bool:
    names = [one.strip().removeprefix("W/").strip('"') for one in value.split(",")]
    return "*" in names or etag in names


def _failed(name: str) -> S3Error:
    return S3Error(
        "PreconditionFailed",
        f"At least one of the pre-conditions you specified did not hold: {name}.",
        412,
    )


def _is_after(found: LocalObject, date: str | None) -> bool | None:
    """Return whether an object was changed since; None: there is no such date."""
    if date is None:
        return None
    try:
        at = parsedate_to_datetime(date)
    except ValueError:
        return None  # As HTTP has it: what is no date is no condition.
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return found.modified_ms // 1_000 > int(at.timestamp())
