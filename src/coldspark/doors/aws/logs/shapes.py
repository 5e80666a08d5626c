"""What each operation of CloudWatch Logs takes."""

from coldspark.doors.aws.protocol.shapes import (
    Choice,
    Dictionary,
    Flag,
    Sequence,
    Shape,
    Structure,
    Text,
    Unsupported,
    Whole,
)

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
