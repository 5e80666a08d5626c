"""``/v1/keys``: who may call. Only for keys with the scope ``admin``, or while there is none."""

import asyncio

from starlette.responses import Response

from coldspark.database.records import Key
from coldspark.doors.native.request import NativeRequest, json_response
from coldspark.doors.native.shapes import KeyBody, KeysBody, MadeKeyBody, NewKeyBody
from coldspark.doors.ports import KeyAdmin
from coldspark.errors import NotFound
from coldspark.http.auth.scopes import KeyAction

_TIMEOUT_S = 10.0


async def list_keys(ask: NativeRequest) -> Response:
    """Return the valid keys."""
    ask.allow(KeyAction.ADMIN)
    keys = ask.app_state.services.keys.list()
    return json_response(
        KeysBody([KeyBody(key.id, key.name, list(key.scopes), key.created_ms) for key in keys])
    )


async def create_key(ask: NativeRequest) -> Response:
    """Make a key and show its secrets, this once."""
    ask.allow(KeyAction.ADMIN)
    body = await ask.body(NewKeyBody)
    keys = ask.app_state.services.keys
    async with asyncio.timeout(_TIMEOUT_S):
        key = await keys.create(body.name, body.scopes)
    response = json_response(made_body(keys, key), 201)
    response.headers["cache-control"] = "no-store"
    return response


def made_body(keys: KeyAdmin, key: Key) -> MadeKeyBody:
    """Return a new key with its secrets."""
    return MadeKeyBody(
        id=key.id,
        name=key.name,
        scopes=list(key.scopes),
        created_ms=key.created_ms,
        token=keys.token(key.id),
        secret_access_key=keys.secret(key.id),
    )


async def revoke_key(ask: NativeRequest) -> Response:
    """Make a key invalid at once."""
    ask.allow(KeyAction.ADMIN)
    key_id = ask.request.path_params["key"]
    async with asyncio.timeout(_TIMEOUT_S):
        was_there = await ask.app_state.services.keys.revoke(key_id)
    if not was_there:
        raise NotFound(f"there is no key {key_id[:100]!r}")
    return Response(status_code=204)
