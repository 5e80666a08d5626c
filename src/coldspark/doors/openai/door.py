"""OpenAI's API as a door."""

from coldspark.doors.door import Door, DoorDependencies, OpenDoor
from coldspark.doors.openai import routes
from coldspark.doors.openai.invocations import OpenAIDoor


def _open(dependencies: DoorDependencies) -> OpenDoor:
    return OpenDoor(
        invocations=OpenAIDoor(dependencies.config.body_bytes_max),
        routes=routes.routes(dependencies),
        errors={404: routes.unknown_path(dependencies)},
    )


# All of ``/v1/`` that no other door names: OpenAI's clients ask for much that is not here.
OPENAI = Door(
    name="openai",
    open=_open,
    paths=("/v1/",),
    overview_paths=("/v1/models", "/v1/models/*"),
)
