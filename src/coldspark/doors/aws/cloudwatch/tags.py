"""Tags of alarms, under their ARN."""

from coldspark.doors.aws.cloudwatch.errors import bad_value
from coldspark.doors.aws.cloudwatch.request import DOOR, Body, CloudWatchRequest
from coldspark.doors.aws.protocol.arns import parse_arn
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.tags import read_tags, render_tags, store_tags, stored_tags

_TAGS_MAX = 50


async def tag_resource(call: CloudWatchRequest) -> Body:
    """Add tags; a key that is there gets the new value."""
    resource = _resource(call)
    tags = await stored_tags(call.documents, DOOR, resource)
    tags |= read_tags(call.body.get("Tags", ()))
    if len(tags) > _TAGS_MAX:
        bad_value(f"A resource has at most {_TAGS_MAX} tags, not {len(tags)}.")
    await store_tags(call.documents, DOOR, resource, tags)
    return {}


async def untag_resource(call: CloudWatchRequest) -> Body:
    """Remove tags; keys that are not there are no error."""
    resource, gone = _resource(call), call.body.get("TagKeys", ())
    tags = await stored_tags(call.documents, DOOR, resource)
    kept = {key: value for key, value in tags.items() if key not in gone}
    await store_tags(call.documents, DOOR, resource, kept)
    return {}


async def list_tags(call: CloudWatchRequest) -> Body:
    """Return a resource's tags; of one that is not there, none."""
    resource = str(call.body["ResourceARN"])
    return {"Tags": render_tags(await stored_tags(call.documents, DOOR, resource))}


def _resource(call: CloudWatchRequest) -> str:
    text = str(call.body["ResourceARN"])
    found = parse_arn(text, "cloudwatch")
    noun, _, name = ("", "", "") if found is None else found.resource.partition(":")
    if noun != "alarm" or call.alarms.state(name) is None:
        raise AwsError("ResourceNotFoundException", "Unknown", field="ResourceARN", status=404)
    return text
