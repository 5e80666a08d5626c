"""What each operation of CloudWatch Logs takes."""

from coldspark.doors.aws.protocol.shapes import (
    Boolean,
    Dictionary,
    Enumeration,
    Integer,
    Sequence,
    Shape,
    Structure,
    Text,
    Unsupported,
)

TAGS_MAX = 50
PAGE_MAX = 50
EVENTS_MAX = 10_000

GROUP = Text(r"[.\-_/#A-Za-z0-9]+", min=1, max=512, aws_pattern=r"[\.\-_/#A-Za-z0-9]+")
STREAM = Text("[^:*]*", min=1, max=512)
# Its pattern is checked by the door, which says it in AWS's words: without the value.
IDENTIFIER = Text(min=1, max=2_048)
_ARN = Text(min=1, max=1_011)
_TOKEN = Text(min=1, max=4_096)
_TAG = r"[\w\s.:/=+\-@]"
_TAG_SHOWN = r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]+)$"
_KEY = Text(f"{_TAG}+", min=1, max=128, aws_pattern=_TAG_SHOWN)
_TAGS = Dictionary(_KEY, Text(f"{_TAG}*", max=256, aws_pattern=_TAG_SHOWN), TAGS_MAX)
_CLASSES = ("STANDARD", "INFREQUENT_ACCESS", "DELIVERY", "ESSENTIALS")
_MOMENT = Integer(min=0)
PATTERN = Text(max=1_024)
_ENTITY = Unsupported("leave it out, and put what it says into the message")
_GROUP_OR_IDENTIFIER: dict[str, Shape] = {"logGroupName": GROUP, "logGroupIdentifier": IDENTIFIER}
_WITH_ACCOUNTS: dict[str, Shape] = {
    "accountIdentifiers": Unsupported("there is one account; leave it out"),
    "includeLinkedAccounts": Boolean(only=False),
}

CREATE_GROUP = Structure(
    {
        "logGroupName": GROUP,
        "kmsKeyId": Unsupported("logs lie as they are on this server's disk; encrypt the disk"),
        "tags": _TAGS,
        "logGroupClass": Enumeration(_CLASSES, ("STANDARD",)),
        "deletionProtectionEnabled": Boolean(only=False),
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
        "logGroupNamePattern": Text(
            r"[.\-_/#A-Za-z0-9]*", max=512, aws_pattern=r"[\.\-_/#A-Za-z0-9]*"
        ),
        "nextToken": _TOKEN,
        "limit": Integer(min=1, max=PAGE_MAX),
        "logGroupClass": Enumeration(_CLASSES),
        "logGroupIdentifiers": Sequence(IDENTIFIER, min=1, max=50),
    }
)
DESCRIBE_STREAMS = Structure(
    {
        **_GROUP_OR_IDENTIFIER,
        "logStreamNamePrefix": STREAM,
        "orderBy": Enumeration(("LogStreamName", "LastEventTime")),
        "descending": Boolean(),
        "nextToken": _TOKEN,
        "limit": Integer(min=1, max=PAGE_MAX),
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
        "limit": Integer(min=1, max=EVENTS_MAX),
        "startFromHead": Boolean(),
        "unmask": Boolean(),
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
        "limit": Integer(min=1, max=EVENTS_MAX),
        "startFromHead": Boolean(only=True),
        "interleaved": Boolean(only=True),
        "unmask": Boolean(),
    }
)
PUT_RETENTION = Structure(
    {"logGroupName": GROUP, "retentionInDays": Integer()}, ("logGroupName", "retentionInDays")
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
