"""``/v1/models``: endpoints as models, and what else OpenAI's clients ask for in vain."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from coldspark.doors.door import DoorDependencies, ErrorHandler, caller_of
from coldspark.doors.openai.errors import OpenAIErrorBody, OpenAIErrorDetail, error_reply
from coldspark.doors.openai.invocations import PATHS
from coldspark.errors import ColdsparkError, NotFound
from coldspark.http.auth.scopes import KeyAction, is_allowed
from coldspark.platform.ports import EndpointView
from coldspark.spec.types import EndpointName


class OpenAIModel(msgspec.Struct):
    """One model, as OpenAI lists it."""

    id: str
    created: int
    """Seconds since the epoch."""
    object: str = "model"
    owned_by: str = "coldspark"


class OpenAIModels(msgspec.Struct):
    """The list of models."""

    data: list[OpenAIModel]
    object: str = "list"


def routes(dependencies: DoorDependencies) -> list[Route]:
    """Return the door's routes but those of the hot path."""
    platform, authentication = dependencies.platform, dependencies.authentication

    async def list_models(request: Request) -> Response:
        try:
            key = caller_of(authentication, request)
        except ColdsparkError as error:
            return error_response(error)
        views = platform.endpoints()
        allowed = [view for view in views if is_allowed(key, KeyAction.INVOKE, view.name)]
        return _answer(OpenAIModels([_model(view) for view in allowed]))

    async def get_model(request: Request) -> Response:
        name = EndpointName(request.path_params["model"].partition("/")[0])
        try:
            if not is_allowed(caller_of(authentication, request), KeyAction.INVOKE, name):
                raise NotFound(f"the model {name!r} does not exist, or your key may not use it")
            return _answer(_model(platform.endpoint(name)))
        except ColdsparkError as error:
            return error_response(error)

    return [
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{model:path}", get_model, methods=["GET"]),
    ]


def error_response(error: ColdsparkError) -> Response:
    """Return an error as a response."""
    status, headers, body = error_reply(error)
    return Response(body, status, dict(headers))


def unknown_path(dependencies: DoorDependencies) -> ErrorHandler:
    """Return what answers a path that does not exist, as OpenAI does, and says which do."""

    async def answer(request: Request, error: Exception) -> Response:
        path = request.url.path
        known = [*PATHS, "/v1/models", *dependencies.doors.similar_paths(path)]
        detail = OpenAIErrorDetail(
            f"Invalid URL ({request.method} {path[:200]}); there is {', '.join(known)}",
            "invalid_request_error",
            param=None,
            code=None,
        )
        return _answer(OpenAIErrorBody(detail), 404)

    return answer


def _model(view: EndpointView) -> OpenAIModel:
    return OpenAIModel(id=view.name, created=view.created_ms // 1_000)


def _answer(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")
