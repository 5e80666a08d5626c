"""AWS's services that share ``POST /``, as one door. A service is a folder and a line here."""

from collections.abc import Callable

from starlette.routing import Route

from coldspark.doors.aws.autoscaling.operations import open_autoscaling
from coldspark.doors.aws.cloudwatch.operations import open_cloudwatch
from coldspark.doors.aws.identity.iam import open_iam
from coldspark.doors.aws.identity.sts import open_sts
from coldspark.doors.aws.logs.operations import open_logs
from coldspark.doors.aws.protocol.operations import Service
from coldspark.doors.aws.protocol.routes import CBOR_PATH, aws_endpoint
from coldspark.doors.aws.sagemaker.operations import open_sagemaker
from coldspark.doors.door import Door, DoorDependencies, OpenDoor

SERVICES: tuple[Callable[[DoorDependencies], Service | None], ...] = (
    open_sagemaker,
    open_sts,
    open_iam,
    open_cloudwatch,
    open_logs,
    open_autoscaling,
)
"""What opens each service; None where this process lacks what it works on."""


def _open(dependencies: DoorDependencies) -> OpenDoor:
    opened = [open_service(dependencies) for open_service in SERVICES]
    services = [service for service in opened if service is not None]
    endpoint = aws_endpoint(services, dependencies.authentication.identify)
    return OpenDoor(routes=[Route(path, endpoint, methods=["POST"]) for path in ("/", CBOR_PATH)])


AWS = Door(name="aws", open=_open, paths=("/service",), overview_paths=("/",))
