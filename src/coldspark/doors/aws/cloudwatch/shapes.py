"""What becomes of each member that CloudWatch's operations take."""

from pathlib import Path

from coldspark.doors.aws.protocol.model import Bounds, Only, Overlay, Support
from coldspark.doors.aws.protocol.shapes import Boolean, Number, Text
from coldspark.telemetry.alarm_rules import COMPARISONS

# AWS allows no control characters either; XML has no way to write them.
_PLAIN = r"[^\x00-\x1f\x7f]+"
_STATISTIC = Bounds(1, 64)
_ALARM = "Dimensions ExtendedStatistic MetricName Namespace Period Statistic Unit"
_OTHER_ACCOUNTS = "there is one account: leave it out"
_NO_COMPOSITES = "there are no composite alarms: leave it out"

OVERLAY = Overlay(
    service="cloudwatch",
    table=Path(__file__).with_name("model.json"),
    operations={
        "PutMetricData": Support(
            "MetricData Namespace",
            refused={
                "EntityMetricData": "send it as MetricData, with dimensions",
                "StrictEntityValidation": "send MetricData, with dimensions",
            },
        ),
        "GetMetricData": Support(
            "EndTime LabelOptions MaxDatapoints NextToken ScanBy StartTime",
            narrowed={"MetricDataQueries": Bounds(1, 500)},
        ),
        "GetMetricStatistics": (
            "Dimensions EndTime ExtendedStatistics MetricName Namespace Period StartTime"
            " Statistics Unit"
        ),
        "ListMetrics": Support(
            "Dimensions MetricName Namespace NextToken RecentlyActive",
            refused={"OwningAccount": _OTHER_ACCOUNTS},
            narrowed={"IncludeLinkedAccounts": Boolean(only=False)},
        ),
        "PutMetricAlarm": Support(
            f"{_ALARM} ActionsEnabled AlarmActions AlarmDescription AlarmName DatapointsToAlarm"
            " EvaluateLowSampleCountPercentile EvaluationPeriods InsufficientDataActions OKActions"
            " Tags Threshold TreatMissingData",
            refused={
                "ThresholdMetricId": "compare with a Threshold",
                "EvaluationWindow": "periods end at multiples of Period",
                "WarmUpConfiguration": "create the alarm when it shall be evaluated",
                "EvaluationCriteria": "there is no PromQL: give Metrics",
                "EvaluationInterval": "an alarm is evaluated at the end of each Period",
                "ActionConfiguration": "tags are not passed to actions",
            },
            narrowed={
                "ComparisonOperator": Only(tuple(COMPARISONS)),
                "Metrics": Bounds(max=20),
            },
        ),
        "DescribeAlarms": Support(
            "ActionPrefix AlarmNamePrefix AlarmNames AlarmTypes MaxRecords NextToken StateValue",
            refused={
                "ChildrenOfAlarmName": _NO_COMPOSITES,
                "ParentsOfAlarmName": _NO_COMPOSITES,
            },
        ),
        "DescribeAlarmsForMetric": _ALARM,
        "DescribeAlarmHistory": Support(
            "AlarmName AlarmTypes EndDate HistoryItemType MaxRecords NextToken ScanBy StartDate",
            refused={"AlarmContributorId": "alarms have no contributors"},
        ),
        "DeleteAlarms": "AlarmNames",
        "SetAlarmState": "AlarmName StateReason StateReasonData StateValue",
        "EnableAlarmActions": "AlarmNames",
        "DisableAlarmActions": "AlarmNames",
        "TagResource": "ResourceARN Tags",
        "UntagResource": "ResourceARN TagKeys",
        "ListTagsForResource": "ResourceARN",
    },
    structures={
        "MetricDatum": (
            "Counts Dimensions MetricName StatisticValues StorageResolution Timestamp Unit Value"
            " Values"
        ),
        "StatisticSet": "Maximum Minimum SampleCount Sum",
        "MetricDataQuery": Support(
            "Expression Id Label MetricStat Period ReturnData",
            refused={"AccountId": _OTHER_ACCOUNTS},
        ),
        "MetricStat": "Metric Period Stat Unit",
        "Metric": "Dimensions MetricName Namespace",
        "Dimension": "Name Value",
        "DimensionFilter": "Name Value",
        "LabelOptions": "Timezone",
        "Tag": "Key Value",
    },
    types={
        "AlarmName": Text(_PLAIN, min=1, max=255),
        "MetricName": Text(_PLAIN, min=1, max=255),
        "DimensionName": Text(_PLAIN, min=1, max=255),
        "DimensionValue": Text(_PLAIN, min=1, max=1_024),
        "Namespace": Text(r"[^:\x00-\x1f\x7f][^\x00-\x1f\x7f]*", min=1, max=255),
        "DatapointValue": Number(may_be_special=True),
        "Values": Bounds(max=150),
        "Counts": Bounds(max=150),
        "MetricData": Bounds(max=1_000),
        "MetricId": Text(r"[a-z][a-zA-Z0-9_]*", min=1, max=255),
        "MetricLabel": Bounds(max=1_024),
        "Stat": _STATISTIC,
        "ExtendedStatistic": _STATISTIC,
        "Statistics": Bounds(max=5),
        "ExtendedStatistics": Bounds(max=10),
        "GetMetricDataMaxDatapoints": Bounds(1, 100_800),
        "GetMetricDataLabelTimezone": Text(r"[+-]\d{4}", max=5),
        "NextToken": Bounds(max=2_048),
        "TagList": Bounds(max=50),
        "TagKeyList": Bounds(max=50),
    },
)
