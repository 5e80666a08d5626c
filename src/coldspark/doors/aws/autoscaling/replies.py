"""Answers of lists: a page of at most 50."""

from collections.abc import Callable, Sequence
from typing import Never, TypeVar

from coldspark.doors.aws.autoscaling.shapes import PAGE_MAX
from coldspark.doors.aws.protocol import pages
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.request import AwsRequest, Body

Row = TypeVar("Row")
Place = tuple[int, str]
"""Where a row stands in its order: unique."""


def page(
    name: str,
    rows: Sequence[Row],
    place: Callable[[Row], Place],
    render: Callable[[Row], Body],
    call: AwsRequest,
) -> Body:
    """Return the answer of a list. Raises InvalidNextTokenException.

    Its member is there also without a row, as AWS sends it.
    """
    shown, token = pages.page(
        rows,
        place,
        Place,
        of=name,
        token=call.text("NextToken"),
        count=call.integer("MaxResults", PAGE_MAX),
        refuse=_bad_token,
    )
    return {name: [render(row) for row in shown], **({} if token is None else {"NextToken": token})}


def _bad_token() -> Never:
    raise AwsError(
        "InvalidNextTokenException", "NextToken is not valid: send one that this list gave."
    )
