"""Tags of alarms, under their ARN."""

import re
from collections.abc import Iterable

from coldspark.doors.aws.cloudwatch.request import DOOR, Body, CloudWatchRequest, bad_value
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.platform.ports import DocumentStore

KIND = "tags"
_TAGS_MAX = 50
_ARN = re.compile(r"arn:aws[a-z-]*:cloudwatch:[a-z0-9-]*:\d{12}:alarm:(?P<name>.+)")


async def put(documents: DocumentStore, resource: str, tags: Iterable[Body]) -> None:
    """Replace a resource's tags."""
    rows = [{"Key": str(tag["Key"]), "Value": str(tag["Value"])} for tag in tags]
    if rows:
        await documents.put(DOOR, KIND, resource, {"Tags": rows})
    else:
        await documents.delete(DOOR, KIND, resource)


async def tag_resource(call: CloudWatchRequest) -> Body:
    """Add tags; a key that is there gets the new value."""
    resource = _resource(call)
    known = await _tags(call, resource)
    known |= {str(tag["Key"]): str(tag["Value"]) for tag in call.body.get("Tags", ())}
    if len(known) > _TAGS_MAX:
        bad_value(f"A resource has at most {_TAGS_MAX} tags, not {len(known)}.")
    await put(call.documents, resource, _rows(known))
    return {}


async def untag_resource(call: CloudWatchRequest) -> Body:
    """Remove tags; keys that are not there are no error."""
    resource = _resource(call)
    known = await _tags(call, resource)
    gone = call.body.get("TagKeys", ())
    kept = {key: value for key, value in known.items() if key not in gone}
    await put(call.documents, resource, _rows(kept))
    return {}


async def list_tags(call: CloudWatchRequest) -> Body:
    """Return a resource's tags; of one that is not there, none."""
    return {"Tags": _rows(await _tags(call, str(call.body["ResourceARN"])))}


async def _tags(call: CloudWatchRequest, resource: str) -> dict[str, str]:
    document = await call.documents.get(DOOR, KIND, resource)
    if document is None:
        return {}
    rows = document.body["Tags"]
    assert isinstance(rows, list)
    return {row["Key"]: row["Value"] for row in rows}


def _rows(tags: dict[str, str]) -> list[Body]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _resource(call: CloudWatchRequest) -> str:
    text = str(call.body["ResourceARN"])
    match = _ARN.fullmatch(text)
    if match is None or call.alarms.state(match["name"]) is None:
        raise AwsError("ResourceNotFoundException", "Unknown", field="ResourceARN", status=404)
    return text
