"""Log groups: made, listed, tagged, kept for so long, deleted."""

import asyncio
from dataclasses import replace

from coldspark.doors.aws.logs.errors import bad_token, refuse
from coldspark.doors.aws.logs.identifiers import group_arn, group_of_identifier
from coldspark.doors.aws.logs.request import Group, LogsRequest, group_named
from coldspark.doors.aws.logs.shapes import PAGE_MAX, TAGS_MAX
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.names import LOG_GROUPS, from_group, to_group
from coldspark.doors.aws.protocol.pages import page
from coldspark.doors.aws.protocol.request import Body
from coldspark.errors import AlreadyExists
from coldspark.telemetry.log_records import LogGroup
from coldspark.telemetry.log_store import endpoint_of

GROUPS_MAX = 10_000
RETENTIONS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


async def create(call: LogsRequest) -> Body | None:
    """CreateLogGroup. An endpoint's group may be made before its first line, to set it up."""
    name = from_group(str(call.body["logGroupName"]))
    endpoint = endpoint_of(name)
    is_there = endpoint is not None and await asyncio.to_thread(call.logs.files.has, endpoint)
    if len(await call.logs.events.groups()) >= GROUPS_MAX:
        raise AwsError("LimitExceededException", f"There are at most {GROUPS_MAX} log groups.")
    try:
        if is_there:
            raise AlreadyExists(name)
        await call.logs.events.create_group(name, _tags(call.body))
    except AlreadyExists:
        raise AwsError(
            "ResourceAlreadyExistsException", "The specified log group already exists"
        ) from None
    return None


async def delete(call: LogsRequest) -> Body | None:
    """DeleteLogGroup. Of an endpoint's group the files go too, unless a replica still writes."""
    group = await group_named(call)
    if group.endpoint is not None:
        await _delete_files(call, group.endpoint)
    await call.logs.events.drop_group(group.record.name)
    call.logs.on_dropped()
    return None


async def _delete_files(call: LogsRequest, endpoint: str) -> None:
    streams = await asyncio.to_thread(call.logs.files.streams, endpoint)
    writing = sorted(call.live_streams(endpoint) & {stream.name for stream in streams})
    if writing:
        raise AwsError(
            "OperationAbortedException",
            f"Replicas of endpoint {endpoint} still write to {', '.join(writing[:5])}: delete the "
            "group when the endpoint is at zero or deleted.",
        )
    for stream in streams:
        await asyncio.to_thread(call.logs.files.remove, endpoint, stream.name)


async def describe(call: LogsRequest) -> Body:
    """DescribeLogGroups: by name, callers' own and endpoints' together."""
    kept = {to_group(group.name): group for group in await call.logs.events.groups()}
    found = await asyncio.to_thread(call.logs.files.endpoints)
    names, token = page(
        _wanted(call, {*kept, *(LOG_GROUPS + endpoint for endpoint in found)}),
        lambda name: name,
        str,
        of="groups",
        token=call.text("nextToken"),
        count=call.integer("limit", PAGE_MAX),
        refuse=bad_token,
    )
    shown = [await _shown(call, name, kept.get(name)) for name in names]
    answer: Body = {"logGroups": [one for one in shown if one is not None]}
    return answer | ({} if token is None else {"nextToken": token})


def _wanted(call: LogsRequest, names: set[str]) -> set[str]:
    prefix, pattern = call.text("logGroupNamePrefix"), call.text("logGroupNamePattern")
    identifiers = call.body.get("logGroupIdentifiers")
    if prefix is not None and pattern is not None:
        refuse("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
    if call.body.get("logGroupClass", "STANDARD") != "STANDARD":
        return set()
    if isinstance(identifiers, list):
        if prefix is not None or pattern is not None:
            refuse("logGroupIdentifiers cannot be given with a prefix or a pattern.")
        names &= {group_of_identifier(str(one), "logGroupIdentifiers") for one in identifiers}
    return {name for name in names if name.startswith(prefix or "") and (pattern or "") in name}


async def _shown(call: LogsRequest, name: str, kept: LogGroup | None) -> Body | None:
    """Return a group as AWS tells it; None where its last file went meanwhile."""
    endpoint = endpoint_of(from_group(name))
    stored_bytes = 0 if kept is None else kept.stored_bytes
    created_ms = None if kept is None else kept.created_ms
    if endpoint is not None:
        stored_bytes = await asyncio.to_thread(call.logs.files.size_bytes, endpoint)
        if created_ms is None:
            created_ms = await asyncio.to_thread(call.logs.files.created_ms, endpoint)
    if created_ms is None:
        return None
    arn = group_arn(call.region, name)
    answer: Body = {
        "logGroupName": name,
        "creationTime": created_ms,
        "metricFilterCount": 0,
        "arn": f"{arn}:*",
        "storedBytes": stored_bytes,
        "logGroupClass": "STANDARD",
        "logGroupArn": arn,
    }
    if kept is not None and kept.retention_days is not None:
        answer["retentionInDays"] = kept.retention_days
    return answer


async def put_retention(call: LogsRequest) -> Body | None:
    """PutRetentionPolicy: older events are out of sight at once, and go from the disk."""
    days = call.integer("retentionInDays", 0)
    if days not in RETENTIONS:
        words = ", ".join(map(str, RETENTIONS))
        refuse(
            f"1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy "
            f"constraint: Member must satisfy enum value set: [{words}]"
        )
    await _change(call, await group_named(call), retention_days=days)
    return None


async def delete_retention(call: LogsRequest) -> Body | None:
    """DeleteRetentionPolicy: events stay from now on."""
    await _change(call, await group_named(call), retention_days=None)
    return None


async def _change(call: LogsRequest, group: Group, **values: object) -> None:
    changed = replace(group.record, **values)  # type: ignore[arg-type]
    await call.logs.events.change_group(changed)
    call.logs.on_dropped()


async def tag(call: LogsRequest) -> Body | None:
    """TagLogGroup and TagResource: a key that is there gets the new value."""
    group = await _tagged(call)
    tags = group.record.tags | _tags(call.body)
    if len(tags) > TAGS_MAX:
        is_resource = "resourceArn" in call.body
        raise AwsError(
            "TooManyTagsException" if is_resource else "InvalidParameterException",
            f"A log group has at most {TAGS_MAX} tags, not {len(tags)}.",
        )
    await _change(call, group, tags=tags)
    return None


async def untag(call: LogsRequest) -> Body | None:
    """UntagLogGroup and UntagResource: keys that are not there are no error."""
    group = await _tagged(call)
    keys = call.body.get("tagKeys") or call.body.get("tags") or []
    assert isinstance(keys, list)
    kept = {key: value for key, value in group.record.tags.items() if key not in keys}
    await _change(call, group, tags=kept)
    return None


async def list_tags(call: LogsRequest) -> Body:
    """ListTagsLogGroup and ListTagsForResource."""
    group = await _tagged(call)
    return {"tags": group.record.tags}


async def _tagged(call: LogsRequest) -> Group:
    arn = call.text("resourceArn")
    if arn is None:
        return await group_named(call)
    if not arn.startswith("arn:"):
        refuse(f"'{arn}' at 'resourceArn' is not the ARN of a log group.")
    return await group_named(call, group_of_identifier(arn, "resourceArn"))


def _tags(body: Body) -> dict[str, str]:
    tags = body.get("tags", {})
    assert isinstance(tags, dict)
    return tags
