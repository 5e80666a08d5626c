"""SageMaker's runtime as a door: invocations that are held open, and those that are jobs."""

from starlette.routing import Route

from coldspark.doors.aws.sagemaker.asynchronous.routes import DOOR, PATH, async_invocations
from coldspark.doors.aws.sagemaker.asynchronous.webhook_events import AsyncJobDoor
from coldspark.doors.aws.sagemaker.runtime.door import SageMakerDoor
from coldspark.doors.door import Door, DoorDependencies, OpenDoor


def _open(dependencies: DoorDependencies) -> OpenDoor:
    return OpenDoor(
        invocations=SageMakerDoor(),
        routes=[Route(PATH, async_invocations(dependencies), methods=["POST"])],
    )


SAGEMAKER_RUNTIME = Door(
    name="sagemaker-runtime",
    open=_open,
    paths=("/endpoints",),
    endpoint_paths=("/endpoints/",),
    jobs={DOOR: AsyncJobDoor()},
)
