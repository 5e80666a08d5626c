"""``/v1/keys``: who may call. Only for keys with the scope ``admin``, or while there is none."""

import asyncio

from starlette.responses import Response

from coldspark.database.records import Key
from coldspark.doors.native.ports import KeyAdmin
from coldspark.doors.native.request import Ask, answer
from coldspark.doors.native.shapes import KeyBody, KeysBody, MadeKeyBody, NewKeyBody
from coldspark.errors import NotFound
from coldspark.http.auth.scopes import Action

_TIMEOUT_S = 10.0


async def list_keys(ask: Ask) -> Response:
    """Return the valid keys."""
    ask.allow(Action.ADMIN)
    keys = ask.house.services.keys.list()
    return answer(
        KeysBody([KeyBody(key.id, key.name, list(key.scopes), key.created_ms) for key in keys])
    )


async def create_key(ask: Ask) -> Response:
    """Make a key and show its secrets, this once."""
    ask.allow(Action.ADMIN)
    body = await ask.body(NewKeyBody)
    keys = ask.house.services.keys
    async with asyncio.timeout(_TIMEOUT_S):
        key = await keys.create(body.name, body.scopes)
    response = answer(made_body(keys, key), 201)
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


async def revoke_key(ask: Ask) -> Response:
    """Make a key invalid at once."""
    ask.allow(Action.ADMIN)
    key_id = ask.request.path_params["key"]
    async with asyncio.timeout(_TIMEOUT_S):
        was_there = await ask.house.services.keys.revoke(key_id)
    if not was_there:
        raise NotFound(f"there is no key {key_id[:100]!r}")
    return Response(status_code=204)
