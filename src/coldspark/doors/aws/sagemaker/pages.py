"""Lists: filter, sort, and one page after a token.

A token names the last row of its page rather than an offset, so rows that come or go meanwhile
shift nothing. AWS gives 10 rows where MaxResults is left out; 100 are given here.
"""

from dataclasses import dataclass

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.protocol.page_tokens import read_token, write_token
from coldspark.doors.aws.sagemaker.records import ListRequest
from coldspark.doors.aws.sagemaker.request import seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedResource:
    """One thing in a list."""

    name: str
    created_ms: int
    updated_ms: int
    status: str = ""


Place = tuple[str | int, str]
"""Where a row stands in its order: by value, then by name."""


def page(
    rows: list[ListedResource], listing: ListRequest
) -> tuple[list[ListedResource], str | None]:
    """Return the rows of the page that is asked for, and the token of the next one."""
    is_descending = listing.sort_order == "Descending"
    kept = [row for row in rows if _is_wanted(row, listing)]
    kept.sort(key=lambda row: _place(row, listing), reverse=is_descending)
    if listing.next_token is not None:
        after = _read_token(listing.next_token, listing)
        kept = [
            row
            for row in kept
            if (_place(row, listing) < after if is_descending else _place(row, listing) > after)
        ]
    shown = kept[: listing.max_results]
    if len(shown) == len(kept):
        return shown, None
    return shown, write_token((_order(listing), *_place(shown[-1], listing)))


def _is_wanted(row: ListedResource, listing: ListRequest) -> bool:
    return (
        listing.name_contains.lower() in row.name.lower()
        and _lies_between(row.created_ms, listing.creation_time_after, listing.creation_time_before)
        and _lies_between(
            row.updated_ms, listing.last_modified_time_after, listing.last_modified_time_before
        )
        and (listing.status_equals is None or row.status == listing.status_equals)
    )


def _lies_between(at_ms: int, after_s: float | None, before_s: float | None) -> bool:
    at_s = seconds(at_ms)
    return (after_s is None or at_s > after_s) and (before_s is None or at_s < before_s)


def _place(row: ListedResource, listing: ListRequest) -> Place:
    match listing.sort_by:
        case "Name":
            return "", row.name
        case "Status":
            return row.status, row.name
        case _:
            return row.created_ms, row.name


def _order(listing: ListRequest) -> str:
    return f"{listing.sort_by} {listing.sort_order}"


def _read_token(token: str, listing: ListRequest) -> tuple[str | int, str]:
    """Read a token that was made for the same order: otherwise rows would be left out."""
    wanted = int if listing.sort_by == "CreationTime" else str
    order, value, name = read_token(token, tuple[str, int | str, str]) or ("", "", "")
    if order != _order(listing) or not isinstance(value, wanted):
        invalid("NextToken is not valid: send one that this list gave, with the same order.")
    return value, name
