"""Alarms and tags, by boto3 in both protocols that it has spoken."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from cloudwatch_rig import PROTOCOLS, Watched, watched
from keepers import NOON_MS

from coldspark.platform.metric_ports import AlarmRule, Metric

NOON = dt.datetime.fromtimestamp(NOON_MS / 1_000, dt.UTC)


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
def name(request: pytest.FixtureRequest) -> str:
    """Return a name of the test's own."""
    return request.node.name.replace("[", "-").replace("]", "").replace("_", "-")


def alarm(name: str, **changes: Any) -> dict[str, Any]:
    """Return the members of an alarm over one metric; None leaves one out."""
    members: dict[str, Any] = {
        "AlarmName": name,
        "Namespace": "House",
        "MetricName": name,
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 30.0,
        "ComparisonOperator": "GreaterThanThreshold",
    }
    return {key: value for key, value in (members | changes).items() if value is not None}


def described(client: Any, name: str) -> dict[str, Any]:
    """Return one alarm."""
    (row,) = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return row


def refused(call: Any, *args: Any, **members: Any) -> tuple[str, str]:
    """Return the code and message of a refusal."""
    with pytest.raises(ClientError) as caught:
        call(*args, **members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_an_alarm_is_described_as_it_was_put(client: Any, name: str) -> None:
    """What was not given is not there, but for the lists that clients index."""
    client.put_metric_alarm(
        **alarm(
            name,
            AlarmDescription="warm",
            Dimensions=[{"Name": "Room", "Value": "attic"}],
            Unit="Percent",
            AlarmActions=["arn:aws:sns:us-east-1:123456789012:fire"],
            TreatMissingData="notBreaching",
            DatapointsToAlarm=1,
        )
    )
    row = described(client, name)

    arn = f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}"
    moments = [key for key in row if key.endswith("Timestamp")]
    assert {row.pop(key) for key in moments} == {NOON}
    assert row == alarm(
        name,
        AlarmArn=arn,
        AlarmDescription="warm",
        Dimensions=[{"Name": "Room", "Value": "attic"}],
        Unit="Percent",
        ActionsEnabled=True,
        OKActions=[],
        AlarmActions=["arn:aws:sns:us-east-1:123456789012:fire"],
        InsufficientDataActions=[],
        TreatMissingData="notBreaching",
        DatapointsToAlarm=1,
        StateValue="INSUFFICIENT_DATA",
        StateReason="Unchecked: Initial alarm creation",
    )


def test_an_alarm_over_an_expression_is_described_by_its_metrics(client: Any, name: str) -> None:
    """And evaluated: the ratio of two metrics."""
    metric = {"Namespace": "House", "MetricName": name, "Dimensions": []}
    queries = [
        {"Id": "e", "Expression": "2 * m", "Label": "twice", "ReturnData": True},
        {
            "Id": "m",
            "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"},
            "ReturnData": False,
        },
    ]
    one = ("Namespace", "MetricName", "Statistic", "Period")
    client.put_metric_alarm(**alarm(name, Metrics=queries, **dict.fromkeys(one)))

    row = described(client, name)

    assert row["Metrics"] == queries
    assert "MetricName" not in row


def test_an_alarm_goes_off_by_what_was_put(door: Watched, client: Any, name: str) -> None:
    """Its history tells how; DescribeAlarmsForMetric finds it; a topic hears of it."""
    client.put_metric_alarm(**alarm(name, AlarmActions=[f"arn:{name}"]))
    at = dt.datetime.fromtimestamp(door.kept.now_ms / 1_000, dt.UTC)
    client.put_metric_data(
        Namespace="House", MetricData=[{"MetricName": name, "Value": 31, "Timestamp": at}]
    )
    door.kept.now_ms += 60_000
    door.run(door.kept.alarms.evaluate_due(door.kept.now_ms))

    (row,) = client.describe_alarms_for_metric(Namespace="House", MetricName=name)["MetricAlarms"]
    assert row["StateValue"] == "ALARM"
    assert "1 out of the last 1 datapoints [31.0" in row["StateReason"]
    assert json.loads(row["StateReasonData"])["recentDatapoints"] == [31.0]
    assert (f"arn:{name}", "ALARM") in door.kept.told
    history = client.describe_alarm_history(AlarmName=name)["AlarmHistoryItems"]
    assert [one["HistoryItemType"] for one in history] == [
        "Action",
        "StateUpdate",
        "ConfigurationUpdate",
    ]
    assert history[1]["HistorySummary"] == "Alarm updated from INSUFFICIENT_DATA to ALARM"
    pages = client.get_paginator("describe_alarm_history").paginate(
        AlarmName=name, ScanBy="TimestampAscending", PaginationConfig={"PageSize": 2}
    )
    assert [len(page["AlarmHistoryItems"]) for page in pages] == [2, 1]


def test_alarms_are_listed_by_prefix_state_and_page(client: Any, name: str) -> None:
    """And by the prefix of an action; SetAlarmState moves one, EnableAlarmActions another."""
    for number in range(3):
        client.put_metric_alarm(**alarm(f"{name}-{number}", OKActions=[f"arn:{name}:{number}"]))
    client.set_alarm_state(AlarmName=f"{name}-1", StateValue="OK", StateReason="a drill")
    client.disable_alarm_actions(AlarmNames=[f"{name}-2", "nobody"])

    def names(**filters: Any) -> list[str]:
        pages = client.get_paginator("describe_alarms").paginate(
            AlarmNamePrefix=name, PaginationConfig={"PageSize": 2}, **filters
        )
        return [one["AlarmName"] for page in pages for one in page["MetricAlarms"]]

    assert names() == [f"{name}-{number}" for number in range(3)]
    assert names(StateValue="OK") == [f"{name}-1"]
    assert names(ActionPrefix=f"arn:{name}:2") == [f"{name}-2"]
    assert names(AlarmTypes=["CompositeAlarm"]) == []
    assert described(client, f"{name}-2")["ActionsEnabled"] is False
    client.enable_alarm_actions(AlarmNames=[f"{name}-2"])
    assert described(client, f"{name}-2")["ActionsEnabled"] is True
    client.delete_alarms(AlarmNames=[f"{name}-0", f"{name}-1", "nobody"])
    assert names() == [f"{name}-2"]


def test_callers_cannot_delete_what_the_platform_watches(
    door: Watched, client: Any, name: str
) -> None:
    """A policy's alarms are its own."""
    rule = AlarmRule(
        name=name,
        metric=Metric(namespace="House", name=name),
        statistic="Sum",
        period_s=60,
        evaluation_periods=1,
        datapoints_to_alarm=1,
        threshold=1,
        comparison="GreaterThanThreshold",
        owner="scaling",
    )
    door.run(door.kept.alarms.put(rule))

    assert refused(client.delete_alarms, AlarmNames=[name])[0] == "ResourceConflict"
    assert refused(client.put_metric_alarm, **alarm(name))[0] == "ResourceConflict"


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"Threshold": None}, "MissingParameter", "Threshold is required"),
        ({"Statistic": None}, "InvalidParameterCombination", "Statistic or ExtendedStatistic"),
        ({"Period": 45}, "ValidationError", "multiple of 60"),
        ({"DatapointsToAlarm": 2}, "ValidationError", "datapoints_to_alarm=2"),
        ({"EvaluationPeriods": 2000}, "ValidationError", "more than 86400 seconds"),
        ({"TreatMissingData": "hope"}, "InvalidParameterValue", "hope is not supported"),
        ({"ThresholdMetricId": "t"}, "ValidationError", "compare with a Threshold"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "ValidationError", "not supported"),
        (
            {"Statistic": None, "ExtendedStatistic": "tm99"},
            "InvalidParameterValue",
            "tm99 for parameter ExtendedStatistic is not supported",
        ),
    ],
)
def test_alarms_that_could_never_be_evaluated_are_refused(
    client: Any, name: str, changes: dict[str, Any], code: str, told: str
) -> None:
    """In CloudWatch's words, and nothing is stored."""
    found = refused(client.put_metric_alarm, **alarm(name[:40], **changes))

    assert found[0] == code
    assert told in found[1]
    assert client.describe_alarms(AlarmNames=[name[:40]])["MetricAlarms"] == []


def test_setting_the_state_of_nothing_is_refused(client: Any) -> None:
    """As is data that is no JSON."""
    state = {"AlarmName": "nobody", "StateValue": "OK", "StateReason": "why"}

    assert refused(client.set_alarm_state, **state)[0] == "ResourceNotFound"
    assert refused(client.set_alarm_state, StateReasonData="{", **state)[0] == "InvalidFormat"


def test_alarms_have_tags(client: Any, name: str) -> None:
    """From their creation on, until they are deleted."""
    client.put_metric_alarm(**alarm(name), Tags=[{"Key": "a", "Value": "1"}])
    arn = described(client, name)["AlarmArn"]
    client.tag_resource(ResourceARN=arn, Tags=[{"Key": "b", "Value": "2"}])
    client.untag_resource(ResourceARN=arn, TagKeys=["a", "c"])

    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "b", "Value": "2"}]
    client.delete_alarms(AlarmNames=[name])
    assert client.list_tags_for_resource(ResourceARN=arn)["Tags"] == []
    code, _ = refused(client.untag_resource, ResourceARN=arn, TagKeys=["b"])
    assert code == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("operation", "members", "instead"),
    [
        ("PutCompositeAlarm", {"AlarmName": "a", "AlarmRule": "ALARM(b)"}, "PutMetricAlarm"),
        ("PutDashboard", {"DashboardName": "d", "DashboardBody": "{}"}, "GetMetricData"),
        ("GetDashboard", {"DashboardName": "d"}, "GetMetricData"),
        ("ListDashboards", {}, "GetMetricData"),
        ("DeleteDashboards", {"DashboardNames": ["d"]}, "GetMetricData"),
    ],
)
def test_operations_that_are_not_served_say_what_to_use(
    client: Any, operation: str, members: dict[str, Any], instead: str
) -> None:
    """In AWS's words for an operation that it does not know, which the protocols differ in."""
    code, told = refused(getattr(client, xform_name(operation)), **members)
    is_json = client.meta.service_model.resolved_protocol == "json"
    assert code == ("UnknownOperationException" if is_json else "InvalidAction")
    assert told.startswith(f"{operation} is not served here: use ")
    assert instead in told


def test_there_are_no_composite_alarms(client: Any, name: str) -> None:
    """Who asks for those of a family is told; who asks for that type gets none."""
    assert "CompositeAlarms" in client.describe_alarms(AlarmTypes=["CompositeAlarm"])
    for member in ("ChildrenOfAlarmName", "ParentsOfAlarmName"):
        code, told = refused(client.describe_alarms, **{member: name})
        assert code == "ValidationError"
        assert "there are no composite alarms" in told


def test_cbor_is_told_of_the_other_protocols(door: Watched) -> None:
    """Newer SDKs of other languages may ask in it."""
    path = "/service/GraniteServiceVersion20100801/operation/ListMetrics"
    answer = httpx.post(f"{door.url}{path}", headers={"smithy-protocol": "rpc-v2-cbor"})
    assert answer.status_code == 400
    assert answer.json()["__type"] == "UnknownOperationException"
    assert "ask POST / in JSON or query" in answer.json()["message"]
