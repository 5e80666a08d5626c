"""What becomes of each member that CloudWatch Logs' operations take."""

from pathlib import Path

from coldspark.doors.aws.protocol.model import Bounds, Only, Overlay, Support
from coldspark.doors.aws.protocol.shapes import Boolean, Text

TAGS_MAX = 50
PAGE_MAX = 50
EVENTS_MAX = 10_000

_TAG = r"[\w\s.:/=+\-@]"
_TAG_SHOWN = r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]+)$"
_GROUP = "logGroupName logGroupIdentifier"

OVERLAY = Overlay(
    service="logs",
    table=Path(__file__).with_name("model.json"),
    operations={
        "CreateLogGroup": Support(
            "logGroupName tags",
            refused={"kmsKeyId": "logs lie as they are on this server's disk; encrypt the disk"},
            narrowed={
                "logGroupClass": Only(("STANDARD",)),
                "deletionProtectionEnabled": Boolean(only=False),
            },
        ),
        "DeleteLogGroup": "logGroupName",
        "DescribeLogGroups": Support(
            "limit logGroupClass logGroupIdentifiers logGroupNamePattern logGroupNamePrefix"
            " nextToken",
            refused={"accountIdentifiers": "there is one account; leave it out"},
            narrowed={"includeLinkedAccounts": Boolean(only=False)},
        ),
        "CreateLogStream": "logGroupName logStreamName",
        "DeleteLogStream": "logGroupName logStreamName",
        "DescribeLogStreams": f"{_GROUP} descending limit logStreamNamePrefix nextToken orderBy",
        "PutLogEvents": Support(
            "logEvents logGroupName logStreamName sequenceToken",
            refused={"entity": "leave it out, and put what it says into the message"},
        ),
        "GetLogEvents": (
            f"{_GROUP} endTime limit logStreamName nextToken startFromHead startTime unmask"
        ),
        "FilterLogEvents": Support(
            f"{_GROUP} endTime filterPattern limit logStreamNamePrefix logStreamNames nextToken"
            " startTime unmask",
            narrowed={"startFromHead": Boolean(only=True), "interleaved": Boolean(only=True)},
        ),
        "PutRetentionPolicy": "logGroupName retentionInDays",
        "DeleteRetentionPolicy": "logGroupName",
        "TagLogGroup": "logGroupName tags",
        "UntagLogGroup": "logGroupName tags",
        "ListTagsLogGroup": "logGroupName",
        "TagResource": "resourceArn tags",
        "UntagResource": "resourceArn tagKeys",
        "ListTagsForResource": "resourceArn",
    },
    structures={"InputLogEvent": "message timestamp"},
    types={
        # Both patterns are checked by the door, which says it in AWS's words: without the value.
        "AmazonResourceName": Text(min=1, max=1_011),
        "LogGroupIdentifier": Text(min=1, max=2_048),
        "NextToken": Bounds(1, 4_096),
        "Tags": Bounds(max=TAGS_MAX),
        # Python's re has no \p{…}.
        "TagKey": Text(f"{_TAG}+", min=1, max=128, aws_pattern=_TAG_SHOWN),
        "TagValue": Text(f"{_TAG}*", max=256, aws_pattern=_TAG_SHOWN),
    },
)
