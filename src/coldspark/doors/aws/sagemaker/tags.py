"""Tags of models, endpoint configs and endpoints: kept apart from them, under noun and name."""

from collections.abc import Iterable

from coldspark.doors.aws.protocol.errors import AwsError, invalid
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.protocol.tags import render_tags, store_tags, stored_tags
from coldspark.doors.aws.sagemaker import gpus
from coldspark.doors.aws.sagemaker.arns import Resource, parse_resource
from coldspark.doors.aws.sagemaker.errors import not_found
from coldspark.doors.aws.sagemaker.records import Tag, TagList, read
from coldspark.doors.aws.sagemaker.request import DOOR, SageMakerRequest
from coldspark.doors.aws.sagemaker.shapes import TAGS_MAX
from coldspark.errors import NotFound
from coldspark.platform.ports import DocumentStore
from coldspark.spec.types import EndpointName

_PAGE = 50
_WORDS = {
    "model": "model",
    "endpoint-config": "endpoint configuration",
    "endpoint": "endpoint",
    "inference-component": "inference component",
}


async def tags_of(documents: DocumentStore, resource: Resource) -> dict[str, str]:
    """Return a resource's tags in the order in which they were given."""
    return await stored_tags(documents, DOOR, _name(resource))


async def gpu_tag(documents: DocumentStore, resource: Resource) -> str | None:
    """Return the GPU that a resource's tag names, or None."""
    return (await tags_of(documents, resource)).get(gpus.TAG)


async def put_tags(documents: DocumentStore, resource: Resource, tags: Iterable[Tag]) -> None:
    """Replace a new resource's tags; also those that an unfinished call left behind."""
    await store_tags(documents, DOOR, _name(resource), _pairs(tags))


async def remove_tags(documents: DocumentStore, resource: Resource) -> None:
    """Forget a resource's tags."""
    await store_tags(documents, DOOR, _name(resource), {})


async def add_tags(call: SageMakerRequest) -> Body:
    """AddTags: a key that is there gets the new value. The answer tells those that were sent."""
    resource = await _resource(call)
    added = _pairs(read(TagList, call.body).tags)
    tags = await tags_of(call.documents, resource) | added
    if len(tags) > TAGS_MAX:
        raise AwsError(
            "ResourceLimitExceeded", f"A resource has at most {TAGS_MAX} tags, not {len(tags)}."
        )
    await store_tags(call.documents, DOOR, _name(resource), tags)
    return _listed(added)


async def list_tags(call: SageMakerRequest) -> Body:
    """ListTags: pages of 50; the token is the key of the last tag shown."""
    resource = await _resource(call)
    tags = await tags_of(call.documents, resource)
    names = list(tags)
    token = call.body.get("NextToken")
    if token is not None and token not in tags:
        invalid("NextToken is not valid: send one that this list gave.")
    start = names.index(str(token)) + 1 if token is not None else 0
    asked = call.body.get("MaxResults", _PAGE)
    assert isinstance(asked, int)
    shown = names[start : start + asked]
    answer = _listed({name: tags[name] for name in shown})
    if start + asked < len(names):
        answer["NextToken"] = shown[-1]
    return answer


async def delete_tags(call: SageMakerRequest) -> Body:
    """DeleteTags: keys that are not there are no error."""
    resource = await _resource(call)
    tags = await tags_of(call.documents, resource)
    keys = call.body["TagKeys"]
    assert isinstance(keys, list)
    kept = {key: value for key, value in tags.items() if key not in keys}
    await store_tags(call.documents, DOOR, _name(resource), kept)
    return {}


async def _resource(call: SageMakerRequest) -> Resource:
    """Return what the ARN points at, which must exist."""
    text = call.name("ResourceArn")
    resource = parse_resource(text)
    if resource is None:
        invalid(
            f"ResourceArn '{text}' must be the ARN of a model, an endpoint-config, an endpoint or"
            " an inference-component."
        )
    if not await _exists(call, resource):
        not_found(_WORDS[resource.noun], text)
    return resource


async def _exists(call: SageMakerRequest, resource: Resource) -> bool:
    if resource.noun == "inference-component":
        return any(
            view.definition.has_components
            and any(variant.name == resource.name for variant in view.definition.variants)
            for view in call.platform.endpoints()
        )
    if resource.noun != "endpoint":
        return await call.documents.get(DOOR, resource.noun, resource.name) is not None
    try:
        call.platform.endpoint(EndpointName(resource.name))
    except NotFound:
        return False
    return True


def _listed(tags: dict[str, str]) -> Body:
    """Return AWS's list of tags: there also where it is empty, as the SDKs read it unasked."""
    return {"Tags": render_tags(tags)}


def _pairs(tags: Iterable[Tag]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for tag in tags:
        if tag.key in pairs:
            invalid(f"The tag key '{tag.key}' is given twice: give it once.", field="Tags")
        pairs[tag.key] = tag.value
    return pairs


def _name(resource: Resource) -> str:
    return f"{resource.noun}/{resource.name}"
