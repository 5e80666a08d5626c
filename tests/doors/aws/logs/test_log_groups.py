"""Log groups and streams: callers' own, and those that replicas make by printing."""

from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from logs_rig import PREFIX, Served, refusal, served

from coldspark import clock
from coldspark.database.records import Key

DAY_MS = 86_400_000
ARN = "arn:aws:logs:us-east-1:123456789012:log-group:"
FILTER = {"logGroupName": "g", "filterName": "f", "filterPattern": "x"}
MEASURED = {"metricName": "m", "metricNamespace": "N", "metricValue": "1"}


def names(answer: dict[str, Any]) -> list[str]:
    return [group["logGroupName"] for group in answer["logGroups"]]


def test_an_endpoints_group_appears_with_its_first_line(logs: Served) -> None:
    """With true bytes and times; nothing is copied into the database."""
    client = logs.client()
    assert client.describe_log_groups()["logGroups"] == []
    began_ms = clock.wall_ms()
    logs.printed("one", "two")

    (group,) = client.describe_log_groups()["logGroups"]
    assert group["logGroupName"] == f"{PREFIX}echo"
    assert group["arn"] == f"{ARN}{PREFIX}echo:*"
    assert group["logGroupArn"] == f"{ARN}{PREFIX}echo"
    assert began_ms <= group["creationTime"] <= clock.wall_ms()
    assert group["storedBytes"] == logs.store.files.size_bytes("echo") > 0
    (stream,) = client.describe_log_streams(logGroupIdentifier=group["logGroupArn"])["logStreams"]
    assert stream["logStreamName"] == "main/r-1"
    assert stream["arn"] == f"{ARN}{PREFIX}echo:log-stream:main/r-1"
    assert stream["firstEventTimestamp"] <= stream["lastEventTimestamp"] <= clock.wall_ms()
    assert logs.run(logs.store.events.groups()) == []


def test_groups_are_listed_by_prefix_and_pattern_page_by_page(logs: Served) -> None:
    """Callers' own and endpoints' together, by name."""
    client = logs.client()
    for name in ("app/b", "app/a", "web", "zoo"):
        client.create_log_group(logGroupName=name)
    logs.printed("x")

    assert names(client.describe_log_groups(logGroupNamePrefix="app")) == ["app/a", "app/b"]
    assert names(client.describe_log_groups(logGroupNamePattern="o")) == [f"{PREFIX}echo", "zoo"]
    assert names(client.describe_log_groups(logGroupIdentifiers=["web", f"{ARN}zoo"])) == [
        "web",
        "zoo",
    ]
    assert client.describe_log_groups(logGroupClass="INFREQUENT_ACCESS")["logGroups"] == []
    pages = client.get_paginator("describe_log_groups").paginate(PaginationConfig={"PageSize": 2})
    assert [names(page) for page in pages] == [
        [f"{PREFIX}echo", "app/a"],
        ["app/b", "web"],
        ["zoo"],
    ]
    both = {"logGroupNamePrefix": "a", "logGroupNamePattern": "b"}
    code, words = refusal(client.describe_log_groups, **both)
    assert (code, "mutually exclusive" in words) == ("InvalidParameterException", True)
    assert refusal(client.describe_log_groups, nextToken="x") == (
        "InvalidParameterException",
        "The specified nextToken is invalid.",
    )


def test_names_are_refused_in_the_services_words(logs: Served) -> None:
    """Taken, unknown, malformed."""
    client = logs.client()
    client.create_log_group(logGroupName="g")
    client.create_log_stream(logGroupName="g", logStreamName="s")
    logs.printed("x")
    for taken in ("g", f"{PREFIX}echo"):
        assert refusal(client.create_log_group, logGroupName=taken) == (
            "ResourceAlreadyExistsException",
            "The specified log group already exists",
        )
    assert refusal(client.create_log_stream, logGroupName="g", logStreamName="s") == (
        "ResourceAlreadyExistsException",
        "The specified log stream already exists",
    )
    no_group = ("ResourceNotFoundException", "The specified log group does not exist.")
    for call, members in (
        (client.describe_log_streams, {}),
        (client.filter_log_events, {}),
        (client.delete_log_group, {}),
        (client.list_tags_log_group, {}),
        (client.put_retention_policy, {"retentionInDays": 7}),
        (client.create_log_stream, {"logStreamName": "s"}),
        (client.get_log_events, {"logStreamName": "s"}),
    ):
        assert refusal(call, logGroupName=f"{PREFIX}none", **members) == no_group
    no_stream = ("ResourceNotFoundException", "The specified log stream does not exist.")
    assert refusal(client.get_log_events, logGroupName="g", logStreamName="x") == no_stream
    assert refusal(client.delete_log_stream, logGroupName="g", logStreamName="x") == no_stream
    with_star = {"logGroupIdentifier": f"{ARN}g:*"}
    assert refusal(client.describe_log_streams, **with_star) == (
        "InvalidParameterException",
        (
            "1 validation error detected: Value at 'logGroupIdentifier' failed to satisfy "
            r"constraint: Member must satisfy regular expression pattern: [\w#+=/:,.@-]*"
        ),
    )
    assert refusal(client.describe_log_streams)[0] == "InvalidParameterException"
    assert refusal(client.create_log_group, logGroupName="a b")[0] == "InvalidParameterException"


def test_streams_are_listed_by_name_or_by_their_last_event(logs: Served) -> None:
    """Page by page, both ways."""
    client, now_ms = logs.client(), clock.wall_ms()
    client.create_log_group(logGroupName="g")
    for number, name in enumerate(("b", "c", "a")):
        client.create_log_stream(logGroupName="g", logStreamName=name)
        events = [{"timestamp": now_ms + number, "message": "x"}]
        client.put_log_events(logGroupName="g", logStreamName=name, logEvents=events)
    client.create_log_stream(logGroupName="g", logStreamName="empty")

    def listed(**members: Any) -> list[list[str]]:
        paginator = client.get_paginator("describe_log_streams")
        pages = paginator.paginate(logGroupName="g", PaginationConfig={"PageSize": 3}, **members)
        return [[one["logStreamName"] for one in page["logStreams"]] for page in pages]

    assert listed() == [["a", "b", "c"], ["empty"]]
    assert listed(descending=True) == [["empty", "c", "b"], ["a"]]
    assert listed(orderBy="LastEventTime", descending=True) == [["a", "c", "b"], ["empty"]]
    assert listed(logStreamNamePrefix="e") == [["empty"]]
    assert refusal(
        client.describe_log_streams,
        logGroupName="g",
        orderBy="LastEventTime",
        logStreamNamePrefix="a",
    ) == ("InvalidParameterException", "Cannot order by LastEventTime with a logStreamNamePrefix.")


def test_what_a_living_replica_writes_is_not_deleted(logs: Served) -> None:
    """What ended ones wrote is; the group is gone with its last file."""
    client, group = logs.client(), f"{PREFIX}echo"
    logs.deploy("echo", "r-2")
    logs.printed("old", replica="r-1")
    logs.printed("new", replica="r-2")

    assert refusal(client.delete_log_group, logGroupName=group)[0] == "OperationAbortedException"
    living = {"logGroupName": group, "logStreamName": "main/r-2"}
    assert refusal(client.delete_log_stream, **living)[0] == "OperationAbortedException"
    client.delete_log_stream(logGroupName=group, logStreamName="main/r-1")
    (left,) = client.describe_log_streams(logGroupName=group)["logStreams"]
    assert left["logStreamName"] == "main/r-2"

    logs.deploy("echo")
    client.delete_log_group(logGroupName=group)
    assert client.describe_log_groups()["logGroups"] == []
    assert list((logs.store.files._directory).iterdir()) == []


def test_an_endpoints_group_holds_what_its_replicas_print_alone(logs: Served) -> None:
    """Nobody else writes there, but it may be set up before the first line."""
    client, group = logs.client(), f"{PREFIX}echo"
    client.create_log_group(logGroupName=group, tags={"team": "a"})
    client.put_retention_policy(logGroupName=group, retentionInDays=7)
    code, words = refusal(client.create_log_stream, logGroupName=group, logStreamName="main/x")
    assert code == "InvalidParameterException"
    assert "put other events into a group of your own" in words
    logs.printed("x")
    (shown,) = client.describe_log_groups()["logGroups"]
    assert (shown["retentionInDays"], shown["storedBytes"] > 0) == (7, True)
    assert client.list_tags_log_group(logGroupName=group)["tags"] == {"team": "a"}


def test_retention_hides_old_events_at_once_and_then_frees_the_disk(logs: Served) -> None:
    """Of a caller's stream and of ended replicas' files; a living one's stay."""
    client, now_ms = logs.client(), clock.wall_ms()
    client.create_log_group(logGroupName="g")
    client.create_log_stream(logGroupName="g", logStreamName="s")
    events = [{"timestamp": now_ms - 3 * DAY_MS, "message": "old"}]
    client.put_log_events(logGroupName="g", logStreamName="s", logEvents=events)
    folder = logs.store.files._directory / "echo" / "main"
    folder.mkdir(parents=True)
    for replica in ("r-1", "r-2"):
        (folder / f"{replica}.log").write_bytes(b"%d o old\n" % (now_ms - 3 * DAY_MS))
    logs.deploy("echo", "r-2")

    for group in ("g", f"{PREFIX}echo"):
        assert client.filter_log_events(logGroupName=group)["events"] != []
        client.put_retention_policy(logGroupName=group, retentionInDays=1)
        assert client.filter_log_events(logGroupName=group)["events"] == []
    logs.enforce()
    streams = client.describe_log_streams(logGroupName=f"{PREFIX}echo")["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == ["main/r-2"]
    assert logs.run(logs.store.events.stored_bytes()) == 0

    client.delete_retention_policy(logGroupName="g")
    (shown,) = client.describe_log_groups(logGroupNamePrefix="g")["logGroups"]
    assert "retentionInDays" not in shown
    code, words = refusal(client.put_retention_policy, logGroupName="g", retentionInDays=2)
    assert code == "InvalidParameterException"
    assert "Member must satisfy enum value set: [1, 3, 5" in words


def test_tags_by_name_and_by_arn_are_the_same(logs: Served) -> None:
    """At most 50."""
    client = logs.client()
    client.create_log_group(logGroupName="g", tags={"a": "1"})
    client.tag_log_group(logGroupName="g", tags={"b": "2"})
    client.tag_resource(resourceArn=f"{ARN}g", tags={"a": "3"})
    assert client.list_tags_log_group(logGroupName="g")["tags"] == {"a": "3", "b": "2"}
    client.untag_log_group(logGroupName="g", tags=["a", "none"])
    client.untag_resource(resourceArn=f"{ARN}g", tagKeys=["b"])
    assert client.list_tags_for_resource(resourceArn=f"{ARN}g")["tags"] == {}
    client.tag_resource(resourceArn=f"{ARN}g", tags={"a": "1"})
    many = {f"k{number}": "" for number in range(50)}
    assert refusal(client.tag_resource, resourceArn=f"{ARN}g", tags=many)[0] == (
        "TooManyTagsException"
    )
    assert refusal(client.tag_log_group, logGroupName="g", tags=many)[0] == (
        "InvalidParameterException"
    )
    assert refusal(client.list_tags_for_resource, resourceArn="g")[0] == "InvalidParameterException"


@pytest.mark.parametrize(
    ("operation", "members", "words"),
    [
        ("create_log_group", {"logGroupName": "g", "kmsKeyId": "k"}, "encrypt the disk"),
    ],
)
def test_what_is_not_supported_says_what_to_use(
    logs: Served, operation: str, members: dict[str, Any], words: str
) -> None:
    """Nothing is accepted that does nothing."""
    code, told = refusal(getattr(logs.client(), operation), **members)
    assert code == "InvalidParameterException"
    assert words in told


@pytest.mark.parametrize(
    ("operation", "members", "instead"),
    [
        (
            "StartQuery",
            {"startTime": 0, "endTime": 1, "queryString": "x"},
            "FilterLogEvents",
        ),
        ("GetQueryResults", {"queryId": "q"}, "FilterLogEvents"),
        ("StopQuery", {"queryId": "q"}, "FilterLogEvents"),
        ("DescribeQueries", {}, "FilterLogEvents"),
        ("PutMetricFilter", {**FILTER, "metricTransformations": [MEASURED]}, "PutMetricData"),
        ("DeleteMetricFilter", {"logGroupName": "g", "filterName": "f"}, "PutMetricData"),
        ("DescribeMetricFilters", {}, "PutMetricData"),
        ("TestMetricFilter", {"filterPattern": "", "logEventMessages": ["x"]}, "FilterLogEvents"),
        ("StartLiveTail", {"logGroupIdentifiers": [f"{ARN}g"]}, "follow=true"),
        ("PutSubscriptionFilter", {**FILTER, "destinationArn": f"{ARN}g"}, "follow=true"),
        ("DeleteSubscriptionFilter", {"logGroupName": "g", "filterName": "f"}, "follow=true"),
        ("DescribeSubscriptionFilters", {"logGroupName": "g"}, "follow=true"),
    ],
)
def test_operations_that_are_not_served_say_what_to_use(
    logs: Served, operation: str, members: dict[str, Any], instead: str
) -> None:
    """In AWS's words for an operation that it does not know."""
    code, told = refusal(getattr(logs.client(), xform_name(operation)), **members)
    assert code == "UnknownOperationException"
    assert told.startswith(f"{operation} is not served here: use ")
    assert instead in told


def test_an_endpoints_logs_need_the_scope_for_that_endpoint(tmp_path: Path) -> None:
    """As the native logs do; lists and callers' own groups need it for everything."""
    one = Key(id="CSKone", name="one", scopes=("deploy:echo",), created_ms=1)
    every = Key(id="CSKall", name="all", scopes=("deploy",), created_ms=1)
    invoke = Key(id="CSKinvoke", name="invoke", scopes=("invoke",), created_ms=1)
    with served(tmp_path, [one, every, invoke]) as logs:
        logs.printed("x")
        logs.printed("x", replica="o-1", fleet="other/main")
        mine, other = f"{PREFIX}echo", f"{PREFIX}other"
        client = logs.client("CSKone")
        assert client.filter_log_events(logGroupName=mine)["events"] != []
        assert client.filter_log_events(logGroupIdentifier=f"{ARN}{mine}")["events"] != []
        for call, members in (
            (client.filter_log_events, {"logGroupName": other}),
            (client.filter_log_events, {"logGroupIdentifier": f"{ARN}{other}"}),
            (client.list_tags_for_resource, {"resourceArn": f"{ARN}{other}"}),
            (client.describe_log_groups, {"logGroupIdentifiers": [mine, "own"]}),
            (client.describe_log_groups, {}),
            (client.create_log_group, {"logGroupName": "own"}),
        ):
            assert refusal(call, **members)[0] == "AccessDeniedException"
        for call in (logs.client("CSKinvoke").filter_log_events,):
            assert refusal(call, logGroupName=mine)[0] == "AccessDeniedException"
        assert len(logs.client("CSKall").describe_log_groups()["logGroups"]) == 2
