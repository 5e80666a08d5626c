"""Models: an image's name, its data and its environment, kept as they were sent."""

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.sagemaker.model_data import model_url, multi_model
from coldspark.doors.aws.sagemaker.model_env import read_knobs
from coldspark.doors.aws.sagemaker.records import Model, read
from coldspark.doors.aws.sagemaker.request import Body, Call
from coldspark.doors.aws.sagemaker.resources import Stored

MODELS = Stored(noun="model", words="model", member="Model")


async def create(call: Call) -> Body:
    """CreateModel: what could never run is refused here, not at the first request.

    An image that nothing is known of is kept: what runs for it may be configured later.
    """
    model = read(Model, call.body)
    _check(call, model)
    await MODELS.refuse_taken(call, model.model_name)
    return await MODELS.keep(call, model.model_name, model.tags)


async def describe(call: Call) -> Body:
    """DescribeModel: AWS always says whether a model is cut off from the network."""
    return {"EnableNetworkIsolation": False} | await MODELS.describe(call)


async def load(call: Call, name: str) -> Model:
    """Return a stored model. Raises a ValidationException if there is none."""
    return read(Model, (await MODELS.load(call, name)).body)


def _check(call: Call, model: Model) -> None:
    if (model.primary_container is None) == (not model.containers):
        invalid("Specify either PrimaryContainer or Containers with one container.")
    if len(model.containers) > 1:
        invalid(
            f"'containers' with {len(model.containers)} containers is not supported yet: "
            "an endpoint runs one container. Put the steps into one handler.",
            field="Containers",
        )
    call.images.check(model.container.image, model.container.environment)
    read_knobs(model.container.environment)
    model_url(model.container)
    multi_model(model.container)
