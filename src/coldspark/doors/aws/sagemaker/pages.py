"""Lists: filter, sort, and one page after a token.

AWS gives 10 rows where MaxResults is left out; 100 are given here.
"""

from dataclasses import dataclass
from typing import Never

from coldspark.doors.aws.protocol import pages
from coldspark.doors.aws.protocol.errors import invalid
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
    return pages.page(
        [row for row in rows if _is_wanted(row, listing)],
        lambda row: _place(row, listing),
        tuple[int, str] if listing.sort_by == "CreationTime" else tuple[str, str],
        of=f"{listing.sort_by} {listing.sort_order}",
        token=listing.next_token,
        count=listing.max_results,
        refuse=_bad_token,
        is_descending=listing.sort_order == "Descending",
    )


def _bad_token() -> Never:
    invalid("NextToken is not valid: send one that this list gave, with the same order.")


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
