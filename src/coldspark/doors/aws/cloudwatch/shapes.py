"""What each operation takes."""

from coldspark.doors.aws.protocol.shapes import (
    INSTANT,
    Boolean,
    Enumeration,
    Integer,
    Number,
    Sequence,
    Shape,
    Structure,
    Text,
    Unsupported,
)
from coldspark.platform.metric_ports import UNITS
from coldspark.spec.types import AlarmState
from coldspark.telemetry.alarm_rules import COMPARISONS

STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_ANOMALIES = (
    "LessThanLowerOrGreaterThanUpperThreshold",
    "LessThanLowerThreshold",
    "GreaterThanUpperThreshold",
)
_TYPES = ("CompositeAlarm", "MetricAlarm", "LogAlarm")
_HISTORY = (
    "ConfigurationUpdate",
    "StateUpdate",
    "Action",
    "AlarmContributorStateUpdate",
    "AlarmContributorAction",
)

_NAME = Text(min=1, max=255)
# AWS allows no control characters either; XML has no way to write them.
_PLAIN = r"[^\x00-\x1f\x7f]+"
_NEW_NAME = Text(_PLAIN, min=1, max=255)
_NAMESPACE = Text(r"[^:].*", min=1, max=255)
_UNIT = Enumeration(UNITS)
_PERIOD = Integer(min=1)
_TOKEN = Text(max=2_048)
_SCAN = Enumeration(("TimestampDescending", "TimestampAscending"))
_DIMENSION = Structure({"Name": _NAME, "Value": Text(min=1, max=1_024)}, ("Name", "Value"))
_DIMENSIONS = Sequence(_DIMENSION, max=30)
_TAGS = Sequence(
    Structure({"Key": Text(min=1, max=128), "Value": Text(max=256)}, ("Key", "Value")), max=50
)
_VALUE = Number(may_be_special=True)
_OTHER_ACCOUNTS = Unsupported("there is one account: leave it out")

_NEW_DIMENSION = Structure(
    {"Name": _NEW_NAME, "Value": Text(_PLAIN, min=1, max=1_024)}, ("Name", "Value")
)
_DATUM = Structure(
    {
        "MetricName": _NEW_NAME,
        "Dimensions": Sequence(_NEW_DIMENSION, max=30),
        "Timestamp": INSTANT,
        "Value": _VALUE,
        "StatisticValues": Structure(
            dict.fromkeys(("SampleCount", "Sum", "Minimum", "Maximum"), _VALUE),
            ("SampleCount", "Sum", "Minimum", "Maximum"),
        ),
        "Values": Sequence(_VALUE, max=150),
        "Counts": Sequence(_VALUE, max=150),
        "Unit": _UNIT,
        "StorageResolution": Integer(min=1),
    },
    ("MetricName",),
)
PUT_METRIC_DATA = Structure(
    {
        "Namespace": Text(r"[^:\x00-\x1f\x7f][^\x00-\x1f\x7f]*", min=1, max=255),
        "MetricData": Sequence(_DATUM, max=1_000),
        "EntityMetricData": Unsupported("send it as MetricData, with dimensions"),
        "StrictEntityValidation": Unsupported("send MetricData, with dimensions"),
    },
    ("Namespace",),
)

_STAT = Structure(
    {
        "Metric": Structure(
            {"Namespace": _NAMESPACE, "MetricName": _NAME, "Dimensions": _DIMENSIONS}
        ),
        "Period": _PERIOD,
        "Stat": Text(min=1, max=64),
        "Unit": _UNIT,
    },
    ("Metric", "Period", "Stat"),
)
_QUERY = Structure(
    {
        "Id": Text(r"[a-z][a-zA-Z0-9_]*", min=1, max=255),
        "MetricStat": _STAT,
        "Expression": Text(min=1, max=2_048),
        "Label": Text(max=1_024),
        "ReturnData": Boolean(),
        "Period": _PERIOD,
        "AccountId": _OTHER_ACCOUNTS,
    },
    ("Id",),
)
GET_METRIC_DATA = Structure(
    {
        "MetricDataQueries": Sequence(_QUERY, min=1, max=500),
        "StartTime": INSTANT,
        "EndTime": INSTANT,
        "NextToken": _TOKEN,
        "ScanBy": _SCAN,
        "MaxDatapoints": Integer(min=1, max=100_800),
        "LabelOptions": Structure({"Timezone": Text(r"[+-]\d{4}", max=5)}),
    },
    ("MetricDataQueries", "StartTime", "EndTime"),
)
GET_METRIC_STATISTICS = Structure(
    {
        "Namespace": _NAMESPACE,
        "MetricName": _NAME,
        "Dimensions": _DIMENSIONS,
        "StartTime": INSTANT,
        "EndTime": INSTANT,
        "Period": _PERIOD,
        "Statistics": Sequence(Enumeration(STATISTICS), max=5),
        "ExtendedStatistics": Sequence(Text(min=1, max=64), max=10),
        "Unit": _UNIT,
    },
    ("Namespace", "MetricName", "StartTime", "EndTime", "Period"),
)
LIST_METRICS = Structure(
    {
        "Namespace": _NAMESPACE,
        "MetricName": _NAME,
        "Dimensions": Sequence(
            Structure({"Name": _NAME, "Value": Text(min=1, max=1_024)}, ("Name",)), max=10
        ),
        "NextToken": _TOKEN,
        "RecentlyActive": Enumeration(("PT3H",)),
        "IncludeLinkedAccounts": Boolean(only=False),
        "OwningAccount": _OTHER_ACCOUNTS,
    }
)

_ACTIONS = Sequence(Text(min=1, max=1_024), max=5)
_ANOMALY: Shape = Unsupported("compare with a Threshold")
PUT_METRIC_ALARM = Structure(
    {
        "AlarmName": _NEW_NAME,
        "AlarmDescription": Text(max=1_024),
        "ActionsEnabled": Boolean(),
        "OKActions": _ACTIONS,
        "AlarmActions": _ACTIONS,
        "InsufficientDataActions": _ACTIONS,
        "MetricName": _NAME,
        "Namespace": _NAMESPACE,
        "Statistic": Enumeration(STATISTICS),
        "ExtendedStatistic": Text(min=1, max=64),
        "Dimensions": _DIMENSIONS,
        "Period": _PERIOD,
        "Unit": _UNIT,
        "EvaluationPeriods": Integer(min=1),
        "DatapointsToAlarm": Integer(min=1),
        "Threshold": Number(),
        "ComparisonOperator": Enumeration(
            (*COMPARISONS, *_ANOMALIES), supported=tuple(COMPARISONS)
        ),
        "TreatMissingData": Text(min=1, max=255),
        "EvaluateLowSampleCountPercentile": Text(min=1, max=255),
        "Metrics": Sequence(_QUERY, max=20),
        "Tags": _TAGS,
        "ThresholdMetricId": _ANOMALY,
        "EvaluationWindow": Unsupported("periods end at multiples of Period"),
        "WarmUpConfiguration": Unsupported("create the alarm when it shall be evaluated"),
        "EvaluationCriteria": Unsupported("there is no PromQL: give Metrics"),
        "EvaluationInterval": Unsupported("an alarm is evaluated at the end of each Period"),
        "ActionConfiguration": Unsupported("tags are not passed to actions"),
    },
    ("AlarmName",),
)
_NO_COMPOSITES = Unsupported("there are no composite alarms: leave it out")
DESCRIBE_ALARMS = Structure(
    {
        "AlarmNames": Sequence(_NAME, max=100),
        "AlarmNamePrefix": _NAME,
        "AlarmTypes": Sequence(Enumeration(_TYPES)),
        "ChildrenOfAlarmName": _NO_COMPOSITES,
        "ParentsOfAlarmName": _NO_COMPOSITES,
        "StateValue": Enumeration(tuple(AlarmState)),
        "ActionPrefix": Text(min=1, max=1_024),
        "MaxRecords": Integer(min=1, max=100),
        "NextToken": _TOKEN,
    }
)
DESCRIBE_ALARMS_FOR_METRIC = Structure(
    {
        "MetricName": _NAME,
        "Namespace": _NAMESPACE,
        "Statistic": Enumeration(STATISTICS),
        "ExtendedStatistic": Text(min=1, max=64),
        "Dimensions": _DIMENSIONS,
        "Period": _PERIOD,
        "Unit": _UNIT,
    },
    ("MetricName", "Namespace"),
)
DESCRIBE_ALARM_HISTORY = Structure(
    {
        "AlarmName": _NAME,
        "AlarmContributorId": Unsupported("alarms have no contributors"),
        "AlarmTypes": Sequence(Enumeration(_TYPES)),
        "HistoryItemType": Enumeration(_HISTORY),
        "StartDate": INSTANT,
        "EndDate": INSTANT,
        "MaxRecords": Integer(min=1, max=100),
        "NextToken": _TOKEN,
        "ScanBy": _SCAN,
    }
)
ALARMS_NAMED = Structure({"AlarmNames": Sequence(_NAME, max=100)}, ("AlarmNames",))
SET_ALARM_STATE = Structure(
    {
        "AlarmName": _NAME,
        "StateValue": Enumeration(tuple(AlarmState)),
        "StateReason": Text(max=1_023),
        "StateReasonData": Text(max=4_000),
    },
    ("AlarmName", "StateValue", "StateReason"),
)

_ARN = Text(min=1, max=1_024)
TAG_RESOURCE = Structure({"ResourceARN": _ARN, "Tags": _TAGS}, ("ResourceARN", "Tags"))
UNTAG_RESOURCE = Structure(
    {"ResourceARN": _ARN, "TagKeys": Sequence(Text(min=1, max=128), max=50)},
    ("ResourceARN", "TagKeys"),
)
TAGS_LISTED = Structure({"ResourceARN": _ARN}, ("ResourceARN",))
