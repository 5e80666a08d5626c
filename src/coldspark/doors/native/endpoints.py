"""``/v1/endpoints``: list, look, deploy, delete."""

import asyncio

import msgspec
from starlette.responses import Response

from coldspark.doors.door import DoorDependencies
from coldspark.doors.native.coldstart.shapes import EndpointsBody, PoolBody
from coldspark.doors.native.definitions import changes, definition_of
from coldspark.doors.native.replies import deployed_body, endpoint_body
from coldspark.doors.native.request import NativeRequest, json_response
from coldspark.doors.native.shapes import DefinitionBody, PlanBody
from coldspark.errors import InvalidRequest, NotFound
from coldspark.http.auth.scopes import KeyAction
from coldspark.spec.types import ArtifactId, EndpointDefinition, EndpointName

_CHANGE_TIMEOUT_S = 60.0


async def list_endpoints(ask: NativeRequest) -> Response:
    """Return the endpoints that the caller may look at."""
    warmth = ask.app_state.services.warmth
    views = ask.app_state.platform.endpoints()
    mine = [endpoint_body(one, warmth) for one in views if ask.may(KeyAction.DEPLOY, one.name)]
    # What all endpoints hold together is not for a key of some.
    pool = warmth.template_pool() if ask.may(KeyAction.DEPLOY, None) else None
    templates = None if pool is None else msgspec.convert(pool, PoolBody, from_attributes=True)
    return json_response(EndpointsBody(endpoints=mine, templates=templates))


async def get_endpoint(ask: NativeRequest) -> Response:
    """Return one endpoint."""
    ask.allow(KeyAction.DEPLOY, ask.endpoint)
    view = ask.app_state.platform.endpoint(ask.endpoint)
    return json_response(endpoint_body(view, ask.app_state.services.warmth))


async def put_endpoint(ask: NativeRequest) -> Response:
    """Create or change an endpoint, or say what that would do."""
    ask.allow(KeyAction.DEPLOY, ask.endpoint)
    body = await ask.body(DefinitionBody)
    warmth = ask.app_state.services.warmth
    wanted = definition_of(ask.endpoint, body, ask.app_state.catalogue)
    present = _present(ask.app_state, ask.endpoint)
    if ask.flag("dry_run"):
        if present != wanted:
            ask.app_state.platform.check_capacity(wanted)
        return json_response(_plan(present, wanted))
    if present == wanted:
        view = ask.app_state.platform.endpoint(ask.endpoint)
        return json_response(deployed_body(view, warmth, is_unchanged=True))
    async with asyncio.timeout(_CHANGE_TIMEOUT_S):
        await _check_artifacts(ask.app_state, wanted)
        view = await ask.app_state.platform.deploy(wanted)
    return json_response(
        deployed_body(view, warmth, is_unchanged=False), 201 if present is None else 200
    )


async def delete_endpoint(ask: NativeRequest) -> Response:
    """Delete an endpoint."""
    ask.allow(KeyAction.DEPLOY, ask.endpoint)
    async with asyncio.timeout(_CHANGE_TIMEOUT_S):
        await ask.app_state.platform.remove(ask.endpoint)
    return Response(status_code=204)


def _present(dependencies: DoorDependencies, name: EndpointName) -> EndpointDefinition | None:
    try:
        return dependencies.platform.endpoint(name).definition
    except NotFound:
        return None


def _plan(present: EndpointDefinition | None, wanted: EndpointDefinition) -> PlanBody:
    if present == wanted:
        return PlanBody("unchanged", [], [])
    warnings = []
    if present is not None and present.source != wanted.source:
        warnings.append(
            f"the endpoint was made by the door {present.source!r} and will belong to this one"
        )
    return PlanBody("create" if present is None else "update", changes(present, wanted), warnings)


async def _check_artifacts(dependencies: DoorDependencies, wanted: EndpointDefinition) -> None:
    """Refuse a deploy whose archives are not here: it could never start."""
    for variant in wanted.variants:
        spec = variant.revision.spec
        if spec.code is not None:
            await _check_artifact(dependencies, ArtifactId(spec.code), "code")
        if spec.model is not None and spec.model.startswith("artifact:"):
            await _check_artifact(
                dependencies, ArtifactId(spec.model.removeprefix("artifact:")), "model"
            )


async def _check_artifact(dependencies: DoorDependencies, id: ArtifactId, field: str) -> None:
    if not await dependencies.services.artifacts.has(id):
        raise InvalidRequest(
            f"{field}: no artifact {id} was uploaded; PUT it to /v1/artifacts/{id} first",
            field=field,
        )
