"""All doors put together on one port."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from coldspark.autoscaling.service import AutoscalingService
from coldspark.config import NO_LIMITS, AwsLimits, Image
from coldspark.doors.aws.autoscaling.operations import application_autoscaling
from coldspark.doors.aws.cloudwatch.operations import cloudwatch
from coldspark.doors.aws.identity.iam import iam
from coldspark.doors.aws.identity.sts import sts
from coldspark.doors.aws.logs.operations import cloudwatch_logs
from coldspark.doors.aws.protocol.routes import CBOR_PATH, aws_endpoint
from coldspark.doors.aws.s3.routes import with_s3
from coldspark.doors.aws.sagemaker.asynchronous.jobs import AsyncJobs
from coldspark.doors.aws.sagemaker.asynchronous.routes import PATH as ASYNC_PATH
from coldspark.doors.aws.sagemaker.asynchronous.routes import async_invocations
from coldspark.doors.aws.sagemaker.images import ImageCatalogue
from coldspark.doors.aws.sagemaker.operations import sagemaker
from coldspark.doors.aws.sagemaker.runtime.door import SageMakerDoor
from coldspark.doors.native import routes as native
from coldspark.doors.native.door import NativeDoor
from coldspark.doors.native.operations import OPERATIONS
from coldspark.doors.native.ports import Services
from coldspark.doors.native.request import AppState, headers_of
from coldspark.doors.openai import routes as openai
from coldspark.doors.openai.door import PATHS, OpenAIDoor
from coldspark.http.auth.authentication import Authentication
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.body_spool import SpoolQuota
from coldspark.http.context import HttpContext, HttpLimits, ShutdownSignal
from coldspark.http.counters import RequestCounters
from coldspark.http.door import BODY_BYTES_MAX
from coldspark.http.door_match import DoorMatcher
from coldspark.http.request_ids import request_ids
from coldspark.http.retries import GRACE_S, Retries
from coldspark.objects.object_store import ObjectStore
from coldspark.platform.catalogue import Catalogue
from coldspark.platform.ports import DocumentStore, Key, Platform
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.log_store import LogStore
from coldspark.telemetry.metric_service import MetricService

_NATIVE = frozenset(one.path.split("/")[2] for one in OPERATIONS if one.path.startswith("/v1/"))


def build_context(
    *,
    platform: Platform,
    documents: DocumentStore,
    services: Services,
    authenticator: Authenticator,
    catalogue: Catalogue,
    bounds: HttpLimits | None = None,
    body_bytes_max: int = BODY_BYTES_MAX,
    is_open: bool = False,
    spool_directory: Path | None = None,
    objects: ObjectStore | None = None,
    metrics: MetricService | None = None,
    alarms: AlarmService | None = None,
    aws_limits: AwsLimits = NO_LIMITS,
    retry_grace_s: float = GRACE_S,
    logs: LogStore | None = None,
    jobs: AsyncJobs | None = None,
    scaling: AutoscalingService | None = None,
    images: Mapping[str, Image] | None = None,
) -> HttpContext:
    """Return everything that ``server.serve`` needs.

    ``body_bytes_max`` bounds a body whose endpoint is not known before it is read. ``is_open``:
    callers may come from other machines without a key, so the server has names it does not know.
    ``spool_directory``: on the disk where signed bodies wait for their proof. ``retry_grace_s``:
    how long the next attempt of an SDK that hung up is waited for.
    ``images``: what runs for images, beside those that are known.
    ``objects``: whose own buckets the S3 door serves; None: it is not there.
    ``alarms``: what may take changes of endpoints back; None: nobody watches any.
    ``logs``: what CloudWatch Logs' door reads and writes; None: it is not there.
    ``jobs``: what runs jobs; None: they are refused.
    """
    gate, tally, ending = (
        Authentication(authenticator, is_open=is_open),
        RequestCounters(),
        ShutdownSignal(),
    )
    house = AppState(
        platform=platform,
        services=services,
        catalogue=catalogue,
        authentication=gate,
        counters=tally,
        shutdown=ending,
        jobs=None if jobs is None else jobs.runner,
    )
    known = ImageCatalogue(images)
    data = services.artifacts
    door = sagemaker(platform, documents, catalogue, alarms, jobs, aws_limits, known, data)
    aws_services = [door, sts(), iam()]
    if metrics is not None and alarms is not None:
        aws_services.append(cloudwatch(metrics, alarms, documents))
    if logs is not None:
        aws_services.append(cloudwatch_logs(platform, logs))
    if scaling is not None:
        aws_services.append(application_autoscaling(scaling))
    aws = aws_endpoint(aws_services, gate.identify)
    taken = async_invocations(platform, jobs, gate, request_ids())
    aws_routes = [
        Route("/", aws, methods=["POST"]),
        Route(CBOR_PATH, aws, methods=["POST"]),
        Route(ASYNC_PATH, taken, methods=["POST"]),
    ]
    app = _app(house, aws_routes)
    return HttpContext(
        platform=platform,
        door_matcher=DoorMatcher([NativeDoor(), SageMakerDoor(), OpenAIDoor(body_bytes_max)]),
        authentication=gate,
        app=app if objects is None else with_s3(objects.local, gate, app),
        counters=tally,
        limits=bounds or HttpLimits(),
        shutdown=ending,
        spool_quota=SpoolQuota(spool_directory),
        retries=Retries(retry_grace_s),
    )


def _app(house: AppState, aws_routes: Sequence[Route]) -> Starlette:
    def identify(request: Request) -> Key | None:
        return _identify(house.authentication, request)

    return Starlette(
        routes=[*native.routes(house), *openai.routes(house.platform, identify), *aws_routes],
        exception_handlers={404: _not_found, 405: native.no_such_route, 500: native.internal_error},
    )


def _identify(gate: Authentication, request: Request) -> Key | None:
    raw_path, query = request.scope["raw_path"], request.scope["query_string"]
    headers: Mapping[str, str] = headers_of(request)
    return gate.identify(request.method, raw_path.decode(), query.decode(), headers, b"")


async def _not_found(request: Request, error: Exception) -> Response:
    """Answer in the words of the client that most likely asked.

    Under ``/v1`` that is OpenAI's, unless the native API has something of that name.
    """
    parts = request.url.path.split("/")
    if parts[1] != "v1" or len(parts) < 3 or parts[2] in _NATIVE:
        return await native.no_such_route(request, error)
    near = native.similar_routes(request.url.path)
    return openai.unknown_url(request, [*PATHS, "/v1/models", *near])
