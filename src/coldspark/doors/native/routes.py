"""The native API as Starlette routes: who calls is found out first, errors become JSON."""

import difflib
import logging
from collections.abc import Awaitable, Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match, Route

from coldspark.doors.native.docs_page import render_page
from coldspark.doors.native.errors import ErrorBody, ErrorDetail, error_reply
from coldspark.doors.native.openapi import document
from coldspark.doors.native.operation_types import Operation
from coldspark.doors.native.operations import OPERATIONS
from coldspark.doors.native.request import AppState, NativeRequest, headers_of, json_response
from coldspark.doors.native.server_info import landing
from coldspark.errors import ColdsparkError, TimedOut
from coldspark.platform.ports import Key

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(house: AppState) -> list[Route]:
    """Return every route but those of the hot path."""
    described = document(OPERATIONS)
    rendered = render_page(described)

    async def openapi(request: Request) -> Response:
        return json_response(described)

    async def docs(request: Request) -> Response:
        return HTMLResponse(rendered)

    return [
        *(_route(one, house) for one in OPERATIONS),
        Route("/openapi.json", openapi, methods=["GET"]),
        Route("/docs", docs, methods=["GET"]),
        Route("/", landing, methods=["GET"]),
    ]


def _route(operation: Operation, house: AppState) -> Route:
    """Return an operation's route. The hot path's never run: they make a wrong method 405."""
    endpoint = operation.open or _guarded(operation, house)
    return Route(operation.path, endpoint, methods=[operation.method])


def _guarded(operation: Operation, house: AppState) -> Endpoint:
    run = operation.run or _unreachable

    async def endpoint(request: Request) -> Response:
        try:
            return await run(NativeRequest(house, request, _key(house, request)))
        except ColdsparkError as error:
            return error_response(error)
        except TimeoutError:
            return error_response(TimedOut(f"{operation.summary}: it took too long; try again"))
        except ClientDisconnect:
            return Response(status_code=499)

    return endpoint


async def _unreachable(ask: NativeRequest) -> Response:
    raise AssertionError(f"the hot path serves {ask.request.url.path}")


def _key(house: AppState, request: Request) -> Key | None:
    scope = request.scope
    return house.authentication.identify(
        request.method,
        scope["raw_path"].decode("ascii"),
        scope["query_string"].decode("ascii"),
        headers_of(request),
        b"",  # Only AWS's signatures cover a body; this API takes bearer keys.
    )


def error_response(error: ColdsparkError) -> Response:
    """Return an error as a response."""
    status, headers, body = error_reply(error)
    return Response(body, status, dict(headers))


async def no_such_route(request: Request, error: Exception) -> Response:
    """Answer what no route takes: an unknown path, or a wrong method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = ", ".join(_methods(request))
        detail = ErrorDetail(
            code="MethodNotAllowed",
            message=f"{request.method} is not for {request.url.path}: use {allowed}",
        )
        response = json_response(ErrorBody(detail), 405)
        response.headers["allow"] = allowed
        return response
    near = similar_routes(request.url.path)
    cure = f"did you mean {' or '.join(near)}?" if near else "see /docs"
    detail = ErrorDetail(
        code="NotFound",
        message=f"there is no {request.method} {request.url.path[:200]}: {cure}",
        near=near or None,
    )
    return json_response(ErrorBody(detail), error.status_code)


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


def similar_routes(path: str) -> list[str]:
    """Return up to three routes that look like a path."""
    known: Sequence[str] = list(dict.fromkeys(one.path for one in OPERATIONS))
    return difflib.get_close_matches(path[:200], known, n=3, cutoff=0.6)
