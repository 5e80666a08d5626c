"""All doors put together on one port."""

from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from coldspark.config import Image
from coldspark.gateway.auth.authenticator import Authenticator
from coldspark.gateway.aws.front import front
from coldspark.gateway.context import Bounds, Context, Ending
from coldspark.gateway.dispatch import Dispatch
from coldspark.gateway.doors import BODY_BYTES_MAX
from coldspark.gateway.gate import Gate
from coldspark.gateway.identity.iam import iam
from coldspark.gateway.identity.sts import sts
from coldspark.gateway.native import routes as native
from coldspark.gateway.native.asking import House, headers_of
from coldspark.gateway.native.door import NativeDoor
from coldspark.gateway.native.services import Services
from coldspark.gateway.native.table import OPERATIONS
from coldspark.gateway.openai import models as openai
from coldspark.gateway.openai.door import PATHS, OpenAIDoor
from coldspark.gateway.s3.door import s3_or
from coldspark.gateway.sagemaker.images import Images
from coldspark.gateway.sagemaker.service import sagemaker
from coldspark.gateway.sagemaker_door import SageMakerDoor
from coldspark.gateway.spool import SpoolRoom
from coldspark.gateway.tally import Tally
from coldspark.runtime.catalogue import Catalogue
from coldspark.runtime.ports import Documents, Key, Platform
from coldspark.store.object_storage import ObjectStore

_NATIVE = frozenset(one.path.split("/")[2] for one in OPERATIONS if one.path.startswith("/v1/"))


def build_context(
    *,
    platform: Platform,
    documents: Documents,
    services: Services,
    authenticator: Authenticator,
    catalogue: Catalogue,
    bounds: Bounds | None = None,
    body_bytes_max: int = BODY_BYTES_MAX,
    is_open: bool = False,
    spool_directory: Path | None = None,
    objects: ObjectStore | None = None,
    images: Mapping[str, Image] | None = None,
) -> Context:
    """Return everything that ``server.serve`` needs.

    ``body_bytes_max`` bounds a body whose endpoint is not known before it is read. ``is_open``:
    callers may come from other machines without a key, so the server has names it does not know.
    ``spool_directory``: on the disk where signed bodies wait for their proof.
    ``images``: what runs for images, beside those that are known.
    ``objects``: whose own buckets the S3 door serves; None: it is not there.
    """
    gate, tally, ending = Gate(authenticator, is_open=is_open), Tally(), Ending()
    house = House(
        platform=platform,
        services=services,
        catalogue=catalogue,
        gate=gate,
        tally=tally,
        ending=ending,
    )
    aws = front(
        [sagemaker(platform, documents, catalogue, Images(images)), sts(), iam()], gate.identify
    )
    app = _app(house, aws_route=Route("/", aws, methods=["POST"]))
    return Context(
        platform=platform,
        dispatch=Dispatch([NativeDoor(), SageMakerDoor(), OpenAIDoor(body_bytes_max)]),
        gate=gate,
        app=app if objects is None else s3_or(objects.own, gate, app),
        tally=tally,
        bounds=bounds or Bounds(),
        ending=ending,
        spool_room=SpoolRoom(spool_directory),
    )


def _app(house: House, *, aws_route: Route) -> Starlette:
    def identify(request: Request) -> Key | None:
        return _identify(house.gate, request)

    return Starlette(
        routes=[*native.routes(house), *openai.routes(house.platform, identify), aws_route],
        exception_handlers={404: _not_found, 405: native.refused, 500: native.broken},
    )


def _identify(gate: Gate, request: Request) -> Key | None:
    raw_path, query = request.scope["raw_path"], request.scope["query_string"]
    headers: Mapping[str, str] = headers_of(request)
    return gate.identify(request.method, raw_path.decode(), query.decode(), headers, b"")


async def _not_found(request: Request, error: Exception) -> Response:
    """Answer in the words of the client that most likely asked.

    Under ``/v1`` that is OpenAI's, unless the native API has something of that name.
    """
    parts = request.url.path.split("/")
    if parts[1] != "v1" or len(parts) < 3 or parts[2] in _NATIVE:
        return await native.refused(request, error)
    near = native.near_routes(request.url.path)
    return openai.unknown_url(request, [*PATHS, "/v1/models", *near])
