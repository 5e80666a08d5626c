"""Models: an image's name, its data and its environment, kept as they were sent."""

from coldspark.doors.aws.protocol.errors import invalid
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.sagemaker.model_data import model_url, multi_model
from coldspark.doors.aws.sagemaker.model_env import read_model_env
from coldspark.doors.aws.sagemaker.records import Model, read
from coldspark.doors.aws.sagemaker.request import SageMakerRequest
from coldspark.doors.aws.sagemaker.resources import ResourceKind

MODELS = ResourceKind(noun="model", title="model", member="Model")


async def create(call: SageMakerRequest) -> Body:
    """CreateModel: what could never run is refused here, not at the first request.

    An image that nothing is known of is kept: what runs for it may be configured later.
    """
    model = read(Model, call.body)
    _check(call, model)
    await MODELS.refuse_taken(call, model.model_name)
    return await MODELS.store(call, model.model_name, model.tags)


async def describe(call: SageMakerRequest) -> Body:
    """DescribeModel: AWS always says whether a model is cut off from the network."""
    return {"EnableNetworkIsolation": False} | await MODELS.describe(call)


async def load(call: SageMakerRequest, name: str) -> Model:
    """Return a stored model. Raises a ValidationException if there is none."""
    return read(Model, (await MODELS.load(call, name)).body)


def _check(call: SageMakerRequest, model: Model) -> None:
    if (model.primary_container is None) == (not model.containers):
        invalid("Specify either PrimaryContainer or Containers with one container.")
    if len(model.containers) > 1:
        invalid(
            f"'containers' with {len(model.containers)} containers is not supported yet: "
            "an endpoint runs one container. Put the steps into one handler.",
            field="Containers",
        )
    call.images.check(model.container.image, model.container.environment)
    read_model_env(model.container.environment)
    model_url(model.container)
    multi_model(model.container)
