"""Measurements in and out, by boto3 in both protocols that it has spoken."""

import datetime as dt
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cloudwatch_rig import PROTOCOLS, Watched, watched
from keepers import NOON_MS, served

pytestmark = pytest.mark.seconds

NOON = dt.datetime.fromtimestamp(NOON_MS / 1_000, dt.UTC)
DAY = dt.timedelta(days=1)
MINUTE = dt.timedelta(minutes=1)
HOUR = {"StartTime": NOON, "EndTime": NOON + 60 * MINUTE}
NUMBERS = itertools.count()
ECHO = [{"Name": "EndpointName", "Value": "echo"}, {"Name": "VariantName", "Value": "main"}]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One server for all of these: each test has names of its own."""
    with watched(tmp_path_factory.mktemp("cloudwatch")) as running:
        yield running


@pytest.fixture(params=PROTOCOLS)
def client(request: pytest.FixtureRequest, door: Watched) -> Any:
    """Return boto3's client in one of the protocols."""
    return door.client(request.param)


@pytest.fixture
def house(request: pytest.FixtureRequest) -> str:
    """Return a namespace of the test's own."""
    return f"House/{request.node.name}"


def put(client: Any, namespace: str, *data: dict[str, Any]) -> None:
    """Put measurements, of ``heat`` unless they say otherwise."""
    rows = [{"MetricName": "heat", "Timestamp": NOON} | datum for datum in data]
    client.put_metric_data(Namespace=namespace, MetricData=rows)


def stat(namespace: str, name: str = "heat", statistic: str = "Sum", **more: Any) -> dict[str, Any]:
    """Return a MetricStat by the minute."""
    metric = {"Namespace": namespace, "MetricName": name, "Dimensions": more.pop("dimensions", [])}
    return {"Metric": metric, "Period": 60, "Stat": statistic} | more


def results(client: Any, *queries: dict[str, Any], **more: Any) -> dict[str, list[float]]:
    """Return the values of each query, oldest first."""
    answer = client.get_metric_data(
        MetricDataQueries=list(queries), ScanBy="TimestampAscending", **HOUR | more
    )
    return {one["Id"]: one["Values"] for one in answer["MetricDataResults"]}


def refused(call: Any, *args: Any, **members: Any) -> tuple[str, str]:
    """Return the code and message of a refusal."""
    with pytest.raises(ClientError) as caught:
        call(*args, **members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_what_is_put_is_read_at_once(client: Any, house: str) -> None:
    """Single values, values with counts, and summaries; gzip is what boto3 sends for many."""
    summary = {"SampleCount": 3, "Sum": 60, "Minimum": 10, "Maximum": 30}
    put(client, house, {"Value": 5}, {"Values": [1, 2], "Counts": [2, 4]})
    put(client, house, {"StatisticValues": summary, "Timestamp": NOON + MINUTE})
    put(client, house, *({"MetricName": f"m{n}", "Value": n} for n in range(600)))

    answer = client.get_metric_statistics(
        Namespace=house,
        MetricName="heat",
        Period=60,
        Statistics=["SampleCount", "Sum", "Minimum", "Maximum", "Average"],
        ExtendedStatistics=["p50"],
        **HOUR,
    )

    assert answer["Label"] == "heat"
    assert answer["Datapoints"] == [
        {
            "Timestamp": NOON,
            "SampleCount": 7,
            "Sum": 15,
            "Minimum": 1,
            "Maximum": 5,
            "Average": 15 / 7,
            "ExtendedStatistics": {"p50": 2},
            "Unit": "None",
        },
        {
            "Timestamp": NOON + MINUTE,
            "SampleCount": 3,
            "Sum": 60,
            "Minimum": 10,
            "Maximum": 30,
            "Average": 20,
            "Unit": "None",
        },
    ]
    assert results(client, {"Id": "a", "MetricStat": stat(house, "m599")}) == {"a": [599]}


def test_requests_are_measured_without_anybody_putting_them(door: Watched, client: Any) -> None:
    """AWS/SageMaker, from the ledger; both spellings of the error metrics."""
    number = next(NUMBERS)
    before = results(client, {"Id": "a", "MetricStat": echo("Invocations")})["a"]
    door.loop.call_soon_threadsafe(door.kept.ledger.record, served(number, status=500))
    found = results(
        client,
        {"Id": "all", "MetricStat": echo("Invocations")},
        {"Id": "rate", "MetricStat": echo("Invocations5XXErrors", "Average")},
        {"Id": "slow", "MetricStat": echo("ModelLatency", "p99")},
        {"Id": "none", "MetricStat": echo("NoSuchThing")},
    )

    assert found == {"all": [(before or [0])[0] + 1], "rate": [1], "slow": [10_000], "none": []}
    names = client.list_metrics(Namespace="AWS/SageMaker", Dimensions=ECHO[:1])["Metrics"]
    assert {"Invocations", "OverheadLatency"} <= {one["MetricName"] for one in names}
    assert names[0]["Dimensions"] == ECHO


def echo(name: str, statistic: str = "Sum") -> dict[str, Any]:
    """Return a MetricStat of the endpoint."""
    return stat("AWS/SageMaker", name, statistic, dimensions=ECHO)


def test_expressions_are_computed_per_period(client: Any, house: str) -> None:
    """In any order; what is asked not to be returned is not."""
    for minute, hot, cold in ((0, 6, 2), (1, 9, 0), (2, 8, None)):
        at = {"Timestamp": NOON + minute * MINUTE}
        put(client, house, {"Value": hot} | at)
        if cold is not None:
            put(client, house, {"MetricName": "cold", "Value": cold} | at)

    found = results(
        client,
        {"Id": "ratio", "Expression": "hot / cold"},
        {"Id": "total", "Expression": "SUM([hot, cold]) + 1", "Label": "all"},
        {"Id": "filled", "Expression": "hot - FILL(cold, 1)"},
        {"Id": "chosen", "Expression": "IF(hot > 7, hot, 0)"},
        {"Id": "hot", "MetricStat": stat(house), "ReturnData": False},
        {"Id": "cold", "MetricStat": stat(house, "cold"), "ReturnData": False},
    )

    assert found["ratio"] == [3]
    assert found["total"] == [9, 10, 9]
    assert found["filled"] == [4, 9, 7]
    assert found["chosen"] == [0, 9, 8]
    assert len(found) == 4


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("SEARCH('{House}', 'Sum')", "understood"),
        ("ANOMALY_DETECTION_BAND(a)", "ANOMALY_DETECTION_BAND is not supported yet: use ABS"),
        ("a + nothing", "there is no query with the id 'nothing'"),
        ("(a", "')' is missing"),
        ("e", "use each other in a circle"),
    ],
)
def test_expressions_that_are_not_understood_are_refused(
    client: Any, house: str, expression: str, told: str
) -> None:
    """The message names what, and what would be."""
    queries = [{"Id": "e", "Expression": expression}, {"Id": "a", "MetricStat": stat(house)}]

    code, message = refused(client.get_metric_data, MetricDataQueries=queries, **HOUR)

    assert code == "ValidationError"
    assert told in message


def test_long_answers_come_in_pages(client: Any, house: str) -> None:
    """botocore's paginator puts them together again."""
    for minute in range(5):
        put(client, house, {"Value": minute, "Timestamp": NOON + minute * MINUTE})
    queries = [
        {"Id": "a", "MetricStat": stat(house)},
        {"Id": "b", "MetricStat": stat(house, statistic="Maximum")},
    ]
    pages = list(
        client.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, MaxDatapoints=3, **HOUR
        )
    )

    shown = [
        (one["Id"], one["StatusCode"], one["Values"])
        for page in pages
        for one in page["MetricDataResults"]
    ]
    assert shown == [
        ("a", "PartialData", [4, 3, 2]),
        ("a", "Complete", [1, 0]),
        ("b", "PartialData", [4]),
        ("b", "PartialData", [3, 2, 1]),
        ("b", "Complete", [0]),
    ]
    code, _ = refused(
        client.get_metric_data, MetricDataQueries=queries[:1], NextToken="bm9uZQ==", **HOUR
    )
    assert code == "InvalidNextToken"


def test_labels_are_filled_in(client: Any, house: str) -> None:
    """With values, moments in the zone that was asked for, and properties."""
    put(client, house, {"Value": 4}, {"Value": 7, "Timestamp": NOON + MINUTE})
    label = "${PROP('MetricName')} ${MAX} at ${MAX_TIME}, ${AVG}"
    query = {"Id": "a", "MetricStat": stat(house), "Label": label}

    answer = client.get_metric_data(
        MetricDataQueries=[query], LabelOptions={"Timezone": "+0100"}, **HOUR
    )

    assert answer["MetricDataResults"][0]["Label"] == "heat 7 at 2027-01-15 09:01:00, 5.5"


def test_metrics_are_listed_in_pages_and_by_filter(door: Watched, client: Any, house: str) -> None:
    """500 on a page; a dimension with or without its value."""
    put(client, house, *({"MetricName": f"m{n:03}", "Value": n} for n in range(501)))
    room = [{"Name": "Room", "Value": "attic"}]
    put(client, house, {"MetricName": "m000", "Dimensions": room, "Value": 1})
    pages = list(client.get_paginator("list_metrics").paginate(Namespace=house))

    assert [len(page["Metrics"]) for page in pages] == [500, 2]
    for filter in (room, [{"Name": "Room"}]):
        listed = client.list_metrics(Namespace=house, Dimensions=filter, RecentlyActive="PT3H")[
            "Metrics"
        ]
        assert listed == [{"Namespace": house, "MetricName": "m000", "Dimensions": room}]
    assert client.list_metrics(Namespace=house, MetricName="none")["Metrics"] == []


@pytest.mark.parametrize(
    ("datum", "code", "told"),
    [
        ({}, "MissingParameter", "MetricData.member.1.Value is required"),
        ({"Value": float("nan")}, "InvalidParameterValue", "MetricData.member.1.Value is invalid"),
        ({"Value": 1, "Values": [1]}, "InvalidParameterValue", "mutually exclusive"),
        ({"Values": [1], "Counts": [1, 2]}, "InvalidParameterValue", "of the same size"),
        ({"Value": 2.0**361}, "InvalidParameterValue", "2^360"),
        ({"Value": 1, "StorageResolution": 7}, "InvalidParameterValue", "use 1 or 60"),
        ({"Value": 1, "Timestamp": NOON + 121 * MINUTE}, "InvalidParameterValue", "two hours"),
        ({"Value": 1, "Timestamp": NOON - 15 * DAY}, "InvalidParameterValue", "two weeks"),
        ({"Value": 1, "Unit": "Furlongs"}, "ValidationError", "enum value set"),
    ],
)
def test_measurements_that_cannot_be_are_refused(
    client: Any, house: str, datum: dict[str, Any], code: str, told: str
) -> None:
    """In CloudWatch's words, with the member; nothing of the call is kept."""
    good = {"MetricName": "good", "Value": 1, "Timestamp": NOON}
    rows = [{"MetricName": "heat"} | datum, good]

    found = refused(client.put_metric_data, Namespace=house, MetricData=rows)

    assert found[0] == code
    assert told in found[1]
    assert client.list_metrics(Namespace=house)["Metrics"] == []


def test_the_platforms_own_namespaces_cannot_be_written(client: Any) -> None:
    """Nobody can falsify what was measured."""
    data = [{"MetricName": "Invocations", "Value": 1}]
    for namespace in ("AWS/SageMaker", "/aws/sagemaker/Endpoints"):
        code, message = refused(client.put_metric_data, Namespace=namespace, MetricData=data)
        assert (code, namespace in message) == ("InvalidParameterValue", True)


@pytest.mark.parametrize(
    ("members", "code", "told"),
    [
        ({}, "InvalidParameterCombination", "either Statistics or ExtendedStatistics"),
        ({"ExtendedStatistics": ["tm99"]}, "ValidationError", "'tm99' is not supported"),
        ({"Statistics": ["Sum"], "EndTime": NOON}, "InvalidParameterValue", "must be less than"),
        ({"Statistics": ["Sum"], "Period": 61}, "ValidationError", "multiple of 60"),
        (
            {"Statistics": ["Sum"], "EndTime": NOON + 2000 * MINUTE},
            "InvalidParameterCombination",
            "2,000 datapoints, which exceeds the limit of 1,440",
        ),
    ],
)
def test_questions_that_cannot_be_answered_are_refused(
    client: Any, members: dict[str, Any], code: str, told: str
) -> None:
    """In CloudWatch's words."""
    asked = {"Namespace": "House", "MetricName": "heat", "Period": 60} | HOUR | members

    found = refused(client.get_metric_statistics, **asked)

    assert found[0] == code
    assert told in found[1]


def test_high_resolution_is_kept_by_the_second(client: Any, house: str, tmp_path: Path) -> None:
    """While it is young."""
    for second in range(3):
        at = NOON + dt.timedelta(seconds=second)
        put(client, house, {"Value": second, "Timestamp": at, "StorageResolution": 1})

    by_second = {"Id": "a", "MetricStat": stat(house, Period=1)}
    assert results(client, by_second) == {"a": [0, 1, 2]}
    assert results(client, {"Id": "a", "MetricStat": stat(house)}) == {"a": [3]}


def test_names_have_no_control_characters(client: Any, house: str) -> None:
    """AWS allows none, and the query protocol's XML has no way to write them."""
    for bad in (
        {"MetricName": "a\x01"},
        {"MetricName": "a", "Dimensions": [{"Name": "d", "Value": "\x7f"}]},
    ):
        with pytest.raises(ClientError, match="ValidationError"):
            put(client, house, bad | {"Value": 1.0})
