"""Lists: a page of at most 50 after a token, which names the last row of the page before."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from coldspark.doors.aws.autoscaling.shapes import PAGE_MAX
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.operations import Body
from coldspark.doors.aws.protocol.page_tokens import read_token, write_token

Row = TypeVar("Row")
Key = tuple[int, str]
"""Where a row stands in its order: unique."""


def page(
    member: str,
    rows: Sequence[Row],
    key: Callable[[Row], Key],
    show: Callable[[Row], Body],
    body: Body,
) -> Body:
    """Return the answer of a list. Raises InvalidNextTokenException.

    Its member is there also without a row, as AWS sends it.
    """
    token = body.get("NextToken")
    kept = sorted(rows, key=key)
    if token is not None:
        after = _read(str(token), member)
        kept = [row for row in kept if key(row) > after]
    count = body.get("MaxResults", PAGE_MAX)
    assert isinstance(count, int)
    answer: Body = {member: [show(row) for row in kept[:count]]}
    if len(kept) > count:
        answer["NextToken"] = write_token((member, *key(kept[count - 1])))
    return answer


def _read(token: str, member: str) -> Key:
    of, place, name = read_token(token, tuple[str, int, str]) or ("", 0, "")
    if of != member:
        raise AwsError(
            "InvalidNextTokenException", "NextToken is not valid: send one that this list gave."
        )
    return place, name
