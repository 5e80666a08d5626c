"""Lists and tags: filters, order, pages, and tokens that survive what happens in between."""

import pytest
from aws_door import Door
from aws_requests import arn, create_model
from hypothesis import given, settings
from hypothesis import strategies as st

from coldspark.doors.aws.sagemaker.pages import ListedResource, page
from coldspark.doors.aws.sagemaker.records import ListRequest
from coldspark.errors import InvalidRequest


def row(name: str, at_ms: int = 0, status: str = "") -> ListedResource:
    """Return a row that was made and changed at one moment."""
    return ListedResource(name=name, created_ms=at_ms, updated_ms=at_ms, status=status)


def names(rows: list[ListedResource], **options: object) -> list[str]:
    """Return the names of the first page."""
    return [one.name for one in page(rows, ListRequest(**options))[0]]  # type: ignore[arg-type]


def test_the_newest_comes_first_unless_asked_otherwise() -> None:
    """AWS's defaults: by CreationTime, descending."""
    rows = [row("a", 2), row("b", 1), row("c", 3)]

    assert names(rows) == ["c", "a", "b"]
    assert names(rows, sort_order="Ascending") == ["b", "a", "c"]
    assert names(rows, sort_by="Name", sort_order="Ascending") == ["a", "b", "c"]


def test_rows_are_sorted_by_status_and_then_by_name() -> None:
    """Only endpoints have one."""
    rows = [row("b", status="InService"), row("a", status="InService"), row("c", status="Failed")]

    assert names(rows, sort_by="Status", sort_order="Ascending") == ["c", "a", "b"]


def test_bounds_of_time_are_open() -> None:
    """After and Before leave out the moment itself; both are epoch seconds."""
    rows = [row("a", 1000), row("b", 2000), row("c", 3000)]

    assert names(rows, creation_time_after=1.0, creation_time_before=3.0) == ["b"]
    assert names(rows, last_modified_time_after=2.0) == ["c"]
    assert names(rows, last_modified_time_before=2.0) == ["a"]


def test_names_are_matched_without_regard_to_case() -> None:
    """A part of the name is enough."""
    assert names([row("Churn-1"), row("other")], name_contains="hurN") == ["Churn-1"]


@settings(deadline=None)
@given(
    moments=st.lists(st.integers(0, 5), max_size=12),
    sort_by=st.sampled_from(["Name", "CreationTime", "Status"]),
    sort_order=st.sampled_from(["Ascending", "Descending"]),
    size=st.integers(1, 5),
)
def test_pages_hold_every_row_once_and_in_order(
    moments: list[int], sort_by: str, sort_order: str, size: int
) -> None:
    """Whatever the order, the pages together are the whole list."""
    rows = [row(f"n{i}", at, f"s{at % 2}") for i, at in enumerate(moments)]
    seen: list[ListedResource] = []
    token: str | None = None
    for _ in range(len(rows) + 1):
        listing = ListRequest(
            sort_by=sort_by, sort_order=sort_order, max_results=size, next_token=token
        )
        shown, token = page(rows, listing)
        seen += shown
        if token is None:
            break

    assert seen == page(rows, ListRequest(sort_by=sort_by, sort_order=sort_order))[0]
    assert token is None


def test_a_row_that_goes_between_two_pages_shifts_nothing() -> None:
    """The token names a place in the order, not a count of rows."""
    rows = [row(name) for name in "abcd"]
    options = {"sort_by": "Name", "sort_order": "Ascending", "max_results": 2}
    shown, token = page(rows, ListRequest(**options))  # type: ignore[arg-type]

    assert [one.name for one in shown] == ["a", "b"]
    assert names(rows[1:], **options, next_token=token) == ["c", "d"]


@pytest.mark.parametrize("token", ["nonsense", "W10=", "bnVsbA==", "W1tb" * 2_000])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    """Rather than to begin again from the start; the last one is 6000 brackets."""
    with pytest.raises(InvalidRequest, match="NextToken is not valid"):
        page([row("a")], ListRequest(next_token=token))


def test_a_token_of_another_order_is_refused() -> None:
    """It would leave rows out."""
    _, token = page([row("a"), row("b")], ListRequest(max_results=1))

    with pytest.raises(InvalidRequest, match="with the same order"):
        page([row("a"), row("b")], ListRequest(sort_by="Name", next_token=token))


def test_tags_are_added_replaced_listed_and_deleted(door: Door) -> None:
    """In the order in which they were given; without tags the member is absent."""
    create_model(door, Tags=[{"Key": "a", "Value": "1"}])
    resource = arn("model", "churn")

    added = door.call(
        "AddTags",
        ResourceArn=resource,
        Tags=[{"Key": "b", "Value": ""}, {"Key": "a", "Value": "2"}],
    )
    assert added == {"Tags": [{"Key": "b", "Value": ""}, {"Key": "a", "Value": "2"}]}
    assert door.call("ListTags", ResourceArn=resource) == {
        "Tags": [{"Key": "a", "Value": "2"}, {"Key": "b", "Value": ""}]
    }

    door.call("DeleteTags", ResourceArn=resource, TagKeys=["a", "b", "never"])
    assert door.call("ListTags", ResourceArn=resource) == {"Tags": []}


def test_tags_come_in_pages_of_fifty(door: Door) -> None:
    """80 tags are 50 and 30."""
    create_model(door, Tags=[{"Key": f"k{i}", "Value": "v"} for i in range(80)])
    resource = arn("model", "churn")

    first = door.call("ListTags", ResourceArn=resource)
    second = door.call("ListTags", ResourceArn=resource, NextToken=first["NextToken"])

    assert len(first["Tags"]) == 50  # type: ignore[arg-type]
    assert len(second["Tags"]) == 30  # type: ignore[arg-type]
    assert "NextToken" not in second


def test_the_number_of_tags_is_bounded(door: Door) -> None:
    """200 per resource; AWS has 50."""
    create_model(door, Tags=[{"Key": f"k{i}", "Value": "v"} for i in range(200)])

    assert door.refusal(
        "AddTags", ResourceArn=arn("model", "churn"), Tags=[{"Key": "more", "Value": ""}]
    ) == ("ResourceLimitExceeded", "A resource has at most 200 tags, not 201.")


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        (arn("model", "x"), f'Could not find model "{arn("model", "x")}".'),
        (
            arn("endpoint-config", "x"),
            f'Could not find endpoint configuration "{arn("endpoint-config", "x")}".',
        ),
        (arn("endpoint", "x"), f'Could not find endpoint "{arn("endpoint", "x")}".'),
        (arn("notebook-instance", "x"), "must be the ARN of a model, an endpoint-config"),
    ],
)
def test_tags_of_what_does_not_exist_are_refused(door: Door, resource: str, words: str) -> None:
    """In the words of the noun that the ARN names."""
    assert words in door.refusal("ListTags", ResourceArn=resource)[1]


def test_a_tag_token_that_is_none_is_refused(door: Door) -> None:
    """Also one of a tag that was deleted meanwhile."""
    create_model(door)
    message = door.refusal("ListTags", ResourceArn=arn("model", "churn"), NextToken="x")[1]
    assert "NextToken is not valid" in message
