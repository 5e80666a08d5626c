"""The native API as Starlette routes: who calls is found out first, errors become JSON."""

import logging
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match, Route

from coldspark.doors.door import DoorDependencies, ErrorHandler, caller_of
from coldspark.doors.native.docs_page import render_page
from coldspark.doors.native.errors import ErrorBody, ErrorDetail, error_reply
from coldspark.doors.native.openapi import document
from coldspark.doors.native.operation_types import Operation
from coldspark.doors.native.operations import OPERATIONS
from coldspark.doors.native.request import NativeRequest, json_response
from coldspark.doors.native.server_info import landing
from coldspark.errors import ColdsparkError, TimedOut

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(dependencies: DoorDependencies) -> list[Route]:
    """Return every route but those of the hot path."""
    described = document(OPERATIONS)
    rendered = render_page(described)

    async def openapi(request: Request) -> Response:
        return json_response(described)

    async def docs(request: Request) -> Response:
        return HTMLResponse(rendered)

    return [
        *(_route(one, dependencies) for one in OPERATIONS),
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/docs", docs, methods=["GET"]),
        Route("/", landing, methods=["GET"]),
    ]


def _route(operation: Operation, dependencies: DoorDependencies) -> Route:
    """Return an operation's route. The hot path's never run: they make a wrong method 405."""
    endpoint = operation.open or _guarded(operation, dependencies)
    return Route(operation.path, endpoint, methods=[operation.method])


def _guarded(operation: Operation, dependencies: DoorDependencies) -> Endpoint:
    run = operation.run or _unreachable

    async def endpoint(request: Request) -> Response:
        try:
            key = caller_of(dependencies.authentication, request)
            return await run(NativeRequest(dependencies, request, key))
        except ColdsparkError as error:
            return error_response(error)
        except TimeoutError:
            return error_response(TimedOut(f"{operation.summary}: it took too long; try again"))
        except ClientDisconnect:
            return Response(status_code=499)

    return endpoint


async def _unreachable(ask: NativeRequest) -> Response:
    raise AssertionError(f"the hot path serves {ask.request.url.path}")


def error_response(error: ColdsparkError) -> Response:
    """Return an error as a response."""
    status, headers, body = error_reply(error)
    return Response(body, status, dict(headers))


def unknown_path(dependencies: DoorDependencies) -> ErrorHandler:
    """Return what answers a path that does not exist, and names those that look like it."""

    async def answer(request: Request, error: Exception) -> Response:
        near = dependencies.doors.similar_paths(request.url.path)
        cure = f"did you mean {' or '.join(near)}?" if near else "see /docs"
        detail = ErrorDetail(
            code="NotFound",
            message=f"there is no {request.method} {request.url.path[:200]}: {cure}",
            near=near or None,
        )
        return json_response(ErrorBody(detail), 404)

    return answer


async def wrong_method(request: Request, error: Exception) -> Response:
    """Answer a method that the path does not have."""
    allowed = ", ".join(_methods(request))
    detail = ErrorDetail(
        code="MethodNotAllowed",
        message=f"{request.method} is not for {request.url.path}: use {allowed}",
    )
    response = json_response(ErrorBody(detail), 405)
    response.headers["allow"] = allowed
    return response


def _methods(request: Request) -> list[str]:
    """Return the methods that the path has: each is a route of its own."""
    methods: set[str] = set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return sorted(methods)


async def internal_error(request: Request, error: Exception) -> Response:
    """Answer a bug of ours; Starlette logs it."""
    return error_response(ColdsparkError("the platform made a mistake; its log says which"))
