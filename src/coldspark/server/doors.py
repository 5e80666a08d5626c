"""All doors of the server, put together on one port. A door is a folder and a line here."""

from collections.abc import Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from coldspark.doors.aws.door import AWS
from coldspark.doors.aws.s3.door import S3
from coldspark.doors.aws.sagemaker.door import SAGEMAKER_RUNTIME
from coldspark.doors.door import Door, DoorDependencies, DoorRegistry, ErrorHandler, OpenDoor
from coldspark.doors.native.door import NATIVE
from coldspark.doors.openai.door import OPENAI
from coldspark.http.body_spool import SpoolQuota
from coldspark.http.context import HttpContext, HttpLimits
from coldspark.http.door_match import DoorMatcher
from coldspark.http.retries import Retries

DOORS = DoorRegistry((NATIVE, SAGEMAKER_RUNTIME, OPENAI, AWS, S3))
_STATUSES = (404, 405, 500)

_Opened = Sequence[tuple[Door, OpenDoor]]


def build_context(
    dependencies: DoorDependencies,
    *,
    limits: HttpLimits | None = None,
    spool_directory: Path | None = None,
) -> HttpContext:
    """Open the doors; return everything that the port needs.

    ``spool_directory``: on the disk where signed bodies wait for their proof.
    """
    opened = [(door, door.open(dependencies)) for door in dependencies.doors]
    hot = [one.invocations for _, one in opened if one.invocations is not None]
    return HttpContext(
        platform=dependencies.platform,
        door_matcher=DoorMatcher(hot),
        authentication=dependencies.authentication,
        app=_app(opened),
        counters=dependencies.counters,
        limits=limits or HttpLimits(),
        shutdown=dependencies.shutdown,
        spool_quota=SpoolQuota(spool_directory),
        retries=Retries(dependencies.config.retry_grace_s),
    )


def _app(opened: _Opened) -> ASGIApp:
    app: ASGIApp = Starlette(
        routes=[route for _, one in opened for route in one.routes],
        exception_handlers={status: _error_handler(opened, status) for status in _STATUSES},
    )
    for _, one in opened:
        app = app if one.wrap is None else one.wrap(app)
    return app


def _error_handler(opened: _Opened, status: int) -> ErrorHandler:
    """Return what answers in the words of the client that most likely asked."""
    handlers = [(door, one.errors[status]) for door, one in opened if status in one.errors]

    async def answer(request: Request, error: Exception) -> Response:
        path = request.url.path
        # The first door where none has the path: max() keeps the first of equals.
        _, handler = max(handlers, key=lambda each: each[0].match_length(path))
        return await handler(request, error)

    return answer
