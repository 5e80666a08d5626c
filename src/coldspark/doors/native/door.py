"""The native API as a door."""

from coldspark.doors.door import Door, DoorDependencies, OpenDoor
from coldspark.doors.native import routes
from coldspark.doors.native.invocations import NativeDoor
from coldspark.doors.native.jobs import NativeJobDoor
from coldspark.doors.native.operations import OPERATIONS


def _open(dependencies: DoorDependencies) -> OpenDoor:
    return OpenDoor(
        invocations=NativeDoor(),
        routes=routes.routes(dependencies),
        errors={
            404: routes.unknown_path(dependencies),
            405: routes.wrong_method,
            500: routes.internal_error,
        },
    )


NATIVE = Door(
    name="native",
    open=_open,
    paths=(
        *dict.fromkeys("/".join(one.path.split("/")[:3]) for one in OPERATIONS),
        "/docs",
        "/openapi.json",
    ),
    endpoint_paths=("/v1/endpoints/",),
    overview_paths=("/v1/endpoints", "/metrics", "/v1/requests", "/v1/requests/*"),
    documented_paths=tuple(dict.fromkeys(one.path for one in OPERATIONS)),
    jobs={"native": NativeJobDoor()},
)
