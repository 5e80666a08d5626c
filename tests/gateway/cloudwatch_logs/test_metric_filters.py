"""Metric filters: what callers put and what replicas print becomes measurements."""

import json
from typing import Any

import pytest
from logs_rig import PREFIX, Served, refusal

from coldspark.gateway.cloudwatch_logs.filtering.measuring import measure_of
from coldspark.runtime import clock
from coldspark.runtime.metric_filters import MetricFilters

ECHO = f"{PREFIX}echo"
MINUTE_MS = 60_000


@pytest.fixture
def client(logs: Served) -> Any:
    """Return boto3's client, with one group and one stream."""
    client = logs.client()
    client.create_log_group(logGroupName="g")
    client.create_log_stream(logGroupName="g", logStreamName="s")
    return client


def make(client: Any, pattern: str, *, group: str = "g", name: str = "f", **told: Any) -> None:
    """Make a filter that measures ``errors`` in the namespace ``Shop``."""
    transformation = {"metricName": "errors", "metricNamespace": "Shop", "metricValue": "1"} | told
    client.put_metric_filter(
        logGroupName=group,
        filterName=name,
        filterPattern=pattern,
        metricTransformations=[transformation],
    )


def put(client: Any, *messages: str, at_ms: int | None = None) -> None:
    at_ms = at_ms or clock.wall_ms()
    events = [{"timestamp": at_ms, "message": message} for message in messages]
    client.put_log_events(logGroupName="g", logStreamName="s", logEvents=events)


def test_events_that_come_in_are_counted_from_then_on(logs: Served, client: Any) -> None:
    """What was there before a filter is not measured, and nothing after it is gone."""
    put(client, "ERROR before")
    make(client, "ERROR")
    put(client, "ERROR a", "fine", "ERROR b")

    assert logs.measured("errors") == [1.0, 1.0]

    client.delete_metric_filter(logGroupName="g", filterName="f")
    put(client, "ERROR after")
    assert logs.measured("errors") == [1.0, 1.0]


def test_values_and_dimensions_are_read_from_json(logs: Served, client: Any) -> None:
    """An event that lacks the value or a dimension, or has no number there, measures nothing."""
    make(
        client,
        '{ $.kind = "call" }',
        metricValue="$.took.ms",
        dimensions={"Model": "$.model"},
        unit="Milliseconds",
    )
    put(
        client,
        json.dumps({"kind": "call", "took": {"ms": 12.5}, "model": "a"}),
        json.dumps({"kind": "call", "took": {"ms": "7"}, "model": "b"}),
        json.dumps({"kind": "call", "took": {"ms": "slow"}, "model": "b"}),
        json.dumps({"kind": "call", "took": {"ms": 9}}),
        json.dumps({"kind": "other", "took": {"ms": 9}, "model": "a"}),
    )

    assert logs.measured("errors", Model="a") == [12.5]
    assert logs.measured("errors", Model="b") == [7.0]
    (series,) = {one.unit for one in logs.run(logs.metrics.series(namespace="Shop"))}
    assert series == "Milliseconds"


def test_values_are_read_from_fields(logs: Served, client: Any) -> None:
    """A field is named as the pattern names it."""
    make(client, "[ip, ..., status = 5*, bytes]", metricValue="$bytes")
    put(client, "1.2.3.4 - [now] 500 120", "1.2.3.4 - [now] 200 7", "1.2.3.4 - [now] 503 x")

    assert logs.measured("errors") == [120.0]


def test_a_minute_without_a_match_has_the_default(logs: Served, client: Any) -> None:
    """Once a minute, and only where there are events: so an alarm tells silence from health."""
    make(client, "ERROR", defaultValue=0)
    at_ms = clock.wall_ms() // MINUTE_MS * MINUTE_MS - 5 * MINUTE_MS
    for _ in range(3):
        put(client, "fine", at_ms=at_ms)
    put(client, "ERROR", "fine", at_ms=at_ms + MINUTE_MS)
    put(client, "fine", at_ms=at_ms + MINUTE_MS)

    assert logs.measured("errors") == [0.0, 1.0]


def test_what_replicas_print_is_measured_once_across_restarts(logs: Served) -> None:
    """Each look goes on where the last one ended, also that of the process before."""
    client = logs.client()
    logs.printed("ERROR before")
    make(client, "ERROR", group=ECHO)
    logs.run(logs.filters.look())
    assert logs.measured("errors") == []

    logs.printed("ERROR 1", "fine", "ERROR 2")
    logs.printed("ERROR 3", replica="r-2")
    for _ in range(2):
        logs.run(logs.filters.look())
    assert logs.measured("errors") == [1.0] * 3

    again = MetricFilters(logs.filters._documents, logs.store.files, logs.metrics, measure_of)
    logs.run(again.open(is_timed=False))
    logs.printed("ERROR 4")
    logs.run(again.look())
    assert logs.measured("errors") == [1.0] * 4


def test_more_than_one_chunk_is_measured(logs: Served) -> None:
    """A replica that prints much between two looks is measured whole."""
    client = logs.client()
    logs.printed("begun")
    make(client, "n", group=ECHO)
    logs.printed(*(f"n{number}" for number in range(5_000)))
    logs.run(logs.filters.look())

    assert len(logs.measured("errors")) == 5_000


def test_filters_are_listed_and_go_with_their_group(logs: Served, client: Any) -> None:
    """By name, of a group or of a metric, in pages."""
    for name in ("b", "a", "c"):
        make(client, "ERROR", name=name, metricName=f"m-{name}", defaultValue=0, unit="Count")
    listed = client.get_paginator("describe_metric_filters").paginate(
        PaginationConfig={"PageSize": 2}
    )
    found = [one for page in listed for one in page["metricFilters"]]

    assert [one["filterName"] for one in found] == ["a", "b", "c"]
    assert found[0]["metricTransformations"] == [
        {
            "metricName": "m-a",
            "metricNamespace": "Shop",
            "metricValue": "1",
            "defaultValue": 0.0,
            "unit": "Count",
        }
    ]
    (one,) = client.describe_metric_filters(metricName="m-b", metricNamespace="Shop")[
        "metricFilters"
    ]
    assert one["logGroupName"] == "g"
    assert client.describe_log_groups()["logGroups"][0]["metricFilterCount"] == 3

    client.delete_log_group(logGroupName="g")
    assert client.describe_metric_filters()["metricFilters"] == []


@pytest.mark.parametrize(
    ("pattern", "told", "words"),
    [
        ("{ $.x = ", {}, "Invalid filter pattern"),
        ("ERROR", {"metricValue": "$.ms"}, "use a number"),
        ("ERROR", {"metricValue": "many"}, "use a number"),
        ("[a, b]", {"metricValue": "$c"}, "use a number or $a or $b"),
        ("{ $.x = 1 }", {"metricValue": "x"}, "a selector such as $.ms"),
        ("{ $.x = 1 }", {"metricNamespace": "AWS/SageMaker"}, "measured by the platform"),
        ("{ $.x = 1 }", {"defaultValue": 0, "dimensions": {"a": "$.a"}}, "cannot have a default"),
        ("x", {"unit": "Parsecs"}, "enum value set"),
    ],
)
def test_what_would_measure_nothing_is_refused(
    client: Any, pattern: str, told: dict[str, Any], words: str
) -> None:
    """A filter that is taken does something."""
    transformation = {"metricName": "m", "metricNamespace": "Shop", "metricValue": "1"} | told
    code, message = refusal(
        client.put_metric_filter,
        logGroupName="g",
        filterName="f",
        filterPattern=pattern,
        metricTransformations=[transformation],
    )

    assert code == "InvalidParameterException"
    assert words in message


def test_unknown_groups_and_filters_are_refused(client: Any) -> None:
    """In AWS's words."""
    filter = {"logGroupName": "g", "filterName": "nope"}

    assert refusal(client.delete_metric_filter, **filter)[0] == "ResourceNotFoundException"
    code, _ = refusal(client.delete_metric_filter, logGroupName="none", filterName="f")
    assert code == "ResourceNotFoundException"
