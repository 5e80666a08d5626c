"""What each operation of CloudWatch Logs takes."""

from coldspark.gateway.aws.validation import (
    Choice,
    Dictionary,
    Flag,
    Number,
    Sequence,
    Shape,
    Structure,
    Text,
    Unsupported,
    Whole,
)
from coldspark.runtime.metric_ports import UNITS

TAGS_MAX = 50
PAGE_MAX = 50
EVENTS_MAX = 10_000

GROUP = Text(r"[.\-_/#A-Za-z0-9]+", min=1, max=512, shown=r"[\.\-_/#A-Za-z0-9]+")
STREAM = Text("[^:*]*", min=1, max=512)
# Its pattern is checked by the door, which says it in AWS's words: without the value.
IDENTIFIER = Text(min=1, max=2_048)
_ARN = Text(min=1, max=1_011)
_TOKEN = Text(min=1, max=4_096)
_TAG = r"[\w\s.:/=+\-@]"
_TAG_SHOWN = r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]+)$"
_KEY = Text(f"{_TAG}+", min=1, max=128, shown=_TAG_SHOWN)
_TAGS = Dictionary(_KEY, Text(f"{_TAG}*", max=256, shown=_TAG_SHOWN), TAGS_MAX)
_CLASSES = ("STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS")
_MOMENT = Whole(min=0)
PATTERN = Text(max=1_024)
_ENTITY = Unsupported("leave it out, and put what it says into the message")
_GROUP_OR_IDENTIFIER: dict[str, Shape] = {"logGroupName": GROUP, "logGroupIdentifier": IDENTIFIER}
_WITH_ACCOUNTS: dict[str, Shape] = {
    "accountIdentifiers": Unsupported("there is one account; leave it out"),
    "includeLinkedAccounts": Flag(only=False),
}

CREATE_GROUP = Structure(
    {
        "logGroupName": GROUP,
        "kmsKeyId": Unsupported("logs lie as they are on this server's disk; encrypt the disk"),
        "tags": _TAGS,
        "logGroupClass": Choice(_CLASSES, ("STANDARD",)),
        "deletionProtectionEnabled": Flag(only=False),
    },
    ("logGroupName",),
)
GROUP_NAMED = Structure({"logGroupName": GROUP}, ("logGroupName",))
STREAM_NAMED = Structure(
    {"logGroupName": GROUP, "logStreamName": STREAM}, ("logGroupName", "logStreamName")
)
DESCRIBE_GROUPS = Structure(
    {
        **_WITH_ACCOUNTS,
        "logGroupNamePrefix": GROUP,
        "logGroupNamePattern": Text(r"[.\-_/#A-Za-z0-9]*", max=512, shown=r"[\.\-_/#A-Za-z0-9]*"),
        "nextToken": _TOKEN,
        "limit": Whole(min=1, max=PAGE_MAX),
        "logGroupClass": Choice(_CLASSES),
        "logGroupIdentifiers": Sequence(IDENTIFIER, min=1, max=50),
    }
)
DESCRIBE_STREAMS = Structure(
    {
        **_GROUP_OR_IDENTIFIER,
        "logStreamNamePrefix": STREAM,
        "orderBy": Choice(("LogStreamName", "LastEventTime")),
        "descending": Flag(),
        "nextToken": _TOKEN,
        "limit": Whole(min=1, max=PAGE_MAX),
    }
)
PUT_EVENTS = Structure(
    {
        "logGroupName": GROUP,
        "logStreamName": STREAM,
        "logEvents": Sequence(
            Structure({"timestamp": _MOMENT, "message": Text(min=1)}, ("timestamp", "message")),
            min=1,
            max=EVENTS_MAX,
        ),
        "sequenceToken": Text(min=1),
        "entity": _ENTITY,
    },
    ("logGroupName", "logStreamName", "logEvents"),
)
GET_EVENTS = Structure(
    {
        **_GROUP_OR_IDENTIFIER,
        "logStreamName": STREAM,
        "startTime": _MOMENT,
        "endTime": _MOMENT,
        "nextToken": _TOKEN,
        "limit": Whole(min=1, max=EVENTS_MAX),
        "startFromHead": Flag(),
        "unmask": Flag(),
    },
    ("logStreamName",),
)
FILTER_EVENTS = Structure(
    {
        **_GROUP_OR_IDENTIFIER,
        "logStreamNames": Sequence(STREAM, min=1, max=100),
        "logStreamNamePrefix": STREAM,
        "startTime": _MOMENT,
        "endTime": _MOMENT,
        "filterPattern": PATTERN,
        "nextToken": _TOKEN,
        "limit": Whole(min=1, max=EVENTS_MAX),
        "startFromHead": Flag(only=True),
        "interleaved": Flag(only=True),
        "unmask": Flag(),
    }
)
TEST_FILTER = Structure(
    {"filterPattern": PATTERN, "logEventMessages": Sequence(Text(min=1), min=1, max=50)},
    ("filterPattern", "logEventMessages"),
)
PUT_RETENTION = Structure(
    {"logGroupName": GROUP, "retentionInDays": Whole()}, ("logGroupName", "retentionInDays")
)
TAG_GROUP = Structure({"logGroupName": GROUP, "tags": _TAGS}, ("logGroupName", "tags"))
UNTAG_GROUP = Structure(
    {"logGroupName": GROUP, "tags": Sequence(_KEY, min=1)}, ("logGroupName", "tags")
)
RESOURCE_NAMED = Structure({"resourceArn": _ARN}, ("resourceArn",))
TAG_RESOURCE = Structure({"resourceArn": _ARN, "tags": _TAGS}, ("resourceArn", "tags"))
UNTAG_RESOURCE = Structure(
    {"resourceArn": _ARN, "tagKeys": Sequence(_KEY, max=TAGS_MAX)}, ("resourceArn", "tagKeys")
)
_NAMES = Sequence(IDENTIFIER)
_QUERY_ID = Text(min=1, max=256)
_LANGUAGE = Choice(("CWLI", "SQL", "PPL"), ("CWLI",))
_STATUS = Choice(("Scheduled", "Running", "Complete", "Failed", "Cancelled", "Timeout", "Unknown"))
START_QUERY = Structure(
    {
        "queryLanguage": _LANGUAGE,
        "logGroupName": GROUP,
        "logGroupNames": Sequence(GROUP, min=1, max=50),
        "logGroupIdentifiers": Sequence(IDENTIFIER, min=1, max=50),
        "startTime": _MOMENT,
        "endTime": _MOMENT,
        "queryString": Text(max=10_000),
        "limit": Whole(min=1, max=10_000),
    },
    ("startTime", "endTime", "queryString"),
)
QUERY_NAMED = Structure({"queryId": _QUERY_ID}, ("queryId",))
GET_QUERY_RESULTS = Structure(
    {"queryId": _QUERY_ID, "nextToken": _TOKEN, "maxItems": Whole(min=0, max=10_000)},
    ("queryId",),
)
DESCRIBE_QUERIES = Structure(
    {
        "logGroupName": GROUP,
        "status": _STATUS,
        "maxResults": Whole(min=1, max=1_000),
        "nextToken": _TOKEN,
        "queryLanguage": _LANGUAGE,
    }
)
START_LIVE_TAIL = Structure(
    {
        "logGroupIdentifiers": _NAMES,
        "logStreamNames": Sequence(STREAM),
        "logStreamNamePrefixes": Sequence(STREAM),
        "logEventFilterPattern": PATTERN,
    }
)
_FILTER = Text("[^:*]*", min=1, max=512)
_METRIC = Text("[^:*$]*", max=255)
_TRANSFORMATION = Structure(
    {
        "metricName": Text("[^:*$]*", min=1, max=255),
        "metricNamespace": Text(r"[^:*$][^*$]*", min=1, max=255),
        "metricValue": Text(min=1, max=100),
        "defaultValue": Number(),
        "dimensions": Dictionary(Text(min=1, max=255), Text(min=1, max=255), 3),
        "unit": Choice(UNITS),
    },
    ("metricName", "metricNamespace", "metricValue"),
)
PUT_METRIC_FILTER = Structure(
    {
        "logGroupName": GROUP,
        "filterName": _FILTER,
        "filterPattern": PATTERN,
        "metricTransformations": Sequence(_TRANSFORMATION, min=1, max=1),
        "applyOnTransformedLogs": Flag(only=False),
        "fieldSelectionCriteria": Unsupported("say it in the filterPattern"),
        "emitSystemFieldDimensions": Unsupported("there is one account and one region"),
    },
    ("logGroupName", "filterName", "filterPattern", "metricTransformations"),
)
DELETE_METRIC_FILTER = Structure(
    {"logGroupName": GROUP, "filterName": _FILTER}, ("logGroupName", "filterName")
)
PUT_SUBSCRIPTION_FILTER = Structure(
    {
        "logGroupName": GROUP,
        "filterName": Text(min=1, max=512),
        "filterPattern": PATTERN,
        "destinationArn": Text(),
        "roleArn": Text(),
        "distribution": Text(),
        "applyOnTransformedLogs": Flag(),
        "fieldSelectionCriteria": Text(),
        "emitSystemFields": Sequence(Text()),
    }
)
DESCRIBE_FILTERS = Structure(
    {
        "logGroupName": GROUP,
        "filterNamePrefix": _FILTER,
        "metricName": _METRIC,
        "metricNamespace": Text(max=255),
        "nextToken": _TOKEN,
        "limit": Whole(min=1, max=PAGE_MAX),
    }
)
