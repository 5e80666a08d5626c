"""S3 as a door: buckets of this server's own, at every path that no other door has."""

from starlette.types import ASGIApp

from coldspark.doors.aws.s3.bucket_names import ReservedNames
from coldspark.doors.aws.s3.routes import with_s3
from coldspark.doors.door import Door, DoorDependencies, OpenDoor


def _open(dependencies: DoorDependencies) -> OpenDoor:
    if dependencies.objects is None:
        return OpenDoor()
    own = dependencies.objects.local
    reserved = ReservedNames(dependencies.doors.reserved_names)

    def wrap(others: ASGIApp) -> ASGIApp:
        return with_s3(own, dependencies.authentication, others, reserved)

    return OpenDoor(wrap=wrap)


S3 = Door(name="s3", open=_open)
