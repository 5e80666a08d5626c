"""Models: an image's name, its data and its environment, kept as they were sent."""

from coldspark.gateway.sagemaker import pages, tags
from coldspark.gateway.sagemaker.arns import Resource
from coldspark.gateway.sagemaker.calls import DOOR, Body, Call, seconds
from coldspark.gateway.sagemaker.errors import already_exists, invalid, not_found
from coldspark.gateway.sagemaker.images import runtime_of
from coldspark.gateway.sagemaker.knobs import read_knobs
from coldspark.gateway.sagemaker.model_data import model_url
from coldspark.gateway.sagemaker.records import Listing, Model, read

NOUN = "model"


async def create(call: Call) -> Body:
    """CreateModel: what could never run is refused here, not at the first request."""
    model = read(Model, call.body)
    _check(model)
    resource = Resource(NOUN, model.model_name)
    if await call.documents.get(DOOR, NOUN, model.model_name) is not None:
        already_exists(NOUN, call.arn(NOUN, model.model_name))
    await tags.put_tags(call.documents, resource, model.tags)
    await call.documents.create(DOOR, NOUN, model.model_name, _kept(call.body))
    return {"ModelArn": call.arn(NOUN, model.model_name)}


async def describe(call: Call) -> Body:
    """DescribeModel."""
    name = call.name("ModelName")
    document = await call.documents.get(DOOR, NOUN, name)
    if document is None:
        not_found(NOUN, call.arn(NOUN, name))
    return {
        "EnableNetworkIsolation": False,
        **document.body,
        "ModelArn": call.arn(NOUN, name),
        "CreationTime": seconds(document.created_ms),
    }


async def list_page(call: Call) -> Body:
    """ListModels."""
    documents = await call.documents.find(DOOR, NOUN)
    rows = [
        pages.Row(name=one.name, created_ms=one.created_ms, updated_ms=one.updated_ms)
        for one in documents
    ]
    shown, token = pages.page(rows, read(Listing, call.body))
    summaries = [
        {
            "ModelName": row.name,
            "ModelArn": call.arn(NOUN, row.name),
            "CreationTime": seconds(row.created_ms),
        }
        for row in shown
    ]
    return {"Models": summaries} | ({} if token is None else {"NextToken": token})


async def delete(call: Call) -> None:
    """DeleteModel: endpoints that run it keep their own copy of what it said."""
    name = call.name("ModelName")
    if not await call.documents.delete(DOOR, NOUN, name):
        not_found(NOUN, call.arn(NOUN, name))
    await tags.drop_tags(call.documents, Resource(NOUN, name))


async def load(call: Call, name: str) -> Model:
    """Return a stored model. Raises a ValidationException if there is none."""
    document = await call.documents.get(DOOR, NOUN, name)
    if document is None:
        not_found(NOUN, call.arn(NOUN, name))
    return read(Model, document.body)


def _check(model: Model) -> None:
    if (model.primary_container is None) == (not model.containers):
        invalid("Specify either PrimaryContainer or Containers with one container.")
    if len(model.containers) > 1:
        invalid(
            f"'containers' with {len(model.containers)} containers is not supported yet: "
            "an endpoint runs one container. Put the steps into one handler.",
            field="Containers",
        )
    runtime_of(model.container.image, model.container.environment)
    read_knobs(model.container.environment)
    model_url(model.container)


def _kept(body: Body) -> Body:
    """Return what Describe shows: all but the tags, which are kept apart."""
    return {name: value for name, value in body.items() if name != "Tags"}
