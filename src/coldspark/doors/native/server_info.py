"""The server itself: is it up, what can its machine do, and where does one go from here."""

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from coldspark import __version__
from coldspark.doors.native.prometheus import exposition
from coldspark.doors.native.request import NativeRequest, json_response
from coldspark.doors.native.shapes import HealthBody
from coldspark.http.auth.scopes import KeyAction

_DOCTOR_TIMEOUT_S = 60.0
_LINKS = {"docs": "/docs", "openapi": "/openapi.json", "health": "/healthz", "metrics": "/metrics"}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>coldspark</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px/1.5 system-ui;max-width:40em;margin:4em auto;padding:0 1em}}</style>
<h1>coldspark {version}</h1>
<p>Serverless GPU inference on this machine.</p>
<ul>{links}</ul>
<p>AWS clients post to this address; OpenAI clients take it with <code>/v1</code>.</p>
</html>
"""


async def healthz(request: Request) -> Response:
    """Say that the server is up. Needs no key and wakes nothing."""
    return json_response(HealthBody("ok", __version__))


async def landing(request: Request) -> Response:
    """Say what this is, to a person or a program."""
    if "text/html" in request.headers.get("accept", ""):
        links = "".join(f'<li><a href="{path}">{name}</a></li>' for name, path in _LINKS.items())
        return HTMLResponse(_PAGE.format(version=__version__, links=links))
    return json_response({"name": "coldspark", "version": __version__, "links": _LINKS})


async def metrics(ask: NativeRequest) -> Response:
    """Return counts and views for Prometheus."""
    ask.allow(KeyAction.DEPLOY)
    content = exposition(ask.app_state.platform, ask.app_state.counters.total())
    return Response(content, headers={"content-type": CONTENT_TYPE_LATEST})


async def doctor(ask: NativeRequest) -> Response:
    """Return what the machine can do."""
    ask.allow(KeyAction.DEPLOY)
    async with asyncio.timeout(_DOCTOR_TIMEOUT_S):
        return json_response(await ask.app_state.services.doctor())
