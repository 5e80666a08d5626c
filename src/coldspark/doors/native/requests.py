"""``/v1/requests`` and ``/v1/bill``: the ledger, line by line and priced."""

import asyncio
from collections.abc import Sequence

from starlette.responses import Response

from coldspark.billing.usage import Usage
from coldspark.doors.native import ledger_pages
from coldspark.doors.native.replies import request_body, usage_body
from coldspark.doors.native.request import NativeRequest, json_response
from coldspark.doors.native.shapes import UsagesBody
from coldspark.doors.ports import BillQuery
from coldspark.errors import InvalidRequest, NotFound
from coldspark.http.auth.scopes import KeyAction
from coldspark.spec.types import EndpointName

_LIMIT, _LIMIT_MAX = 50, 1_000
_TIMEOUT_S = 30.0


async def list_requests(ask: NativeRequest) -> Response:
    """Return the newest lines, or the longest of a stretch, of one endpoint or of all."""
    endpoint = _endpoint(ask)
    limit = ask.number("limit", _LIMIT, _LIMIT_MAX, low=1)
    since_ms, until_ms = ask.optional_number("since"), ask.optional_number("until")
    is_cold = ask.flag("cold")
    if since_ms is not None and until_ms is not None:
        _check_order(since_ms, until_ms)
    order = ledger_pages.check_order(ask.text("sort") or ledger_pages.NEWEST)
    usages = ask.app_state.services.usages
    async with asyncio.timeout(_TIMEOUT_S):
        if order == ledger_pages.NEWEST and not is_cold:
            lines = await usages.usages(endpoint, since_ms=since_ms, until_ms=until_ms, limit=limit)
            return json_response(
                UsagesBody(requests=[usage_body(line) for line in lines], is_complete=True)
            )
        stretch = await ledger_pages.read_page(usages, endpoint, since_ms, until_ms)
        chosen = [line for line in stretch.lines if line.is_cold or not is_cold]
        # Requests are served meanwhile.
        lines = await asyncio.to_thread(ledger_pages.sort_lines, chosen, order)
    return _answer(lines[:limit], is_complete=stretch.is_complete)


def _answer(lines: Sequence[Usage], *, is_complete: bool) -> Response:
    return json_response(
        UsagesBody(requests=[usage_body(line) for line in lines], is_complete=is_complete)
    )


async def get_request(ask: NativeRequest) -> Response:
    """Return one line."""
    request = ask.request.path_params["request"]
    async with asyncio.timeout(_TIMEOUT_S):
        usage = await ask.app_state.services.usages.usage(request)
    if usage is None:
        # Not to be told from a line that the key may not see.
        ask.allow(KeyAction.DEPLOY)
        raise NotFound(f"the ledger has no request {request[:100]!r}")
    ask.allow(KeyAction.DEPLOY, usage.endpoint)
    replica = usage.replica
    start = None if replica is None else ask.app_state.services.warmth.start_of(replica)
    return json_response(request_body(usage, start))


async def get_bill(ask: NativeRequest) -> Response:
    """Return a stretch of the ledger under one price book."""
    question = BillQuery(
        endpoint=_endpoint(ask),
        book=ask.text("book") or "own",
        since_ms=ask.optional_number("since"),
        until_ms=ask.optional_number("until"),
        as_gpu=ask.text("as_gpu"),
        memory_bytes=ask.optional_number("memory"),
    )
    if question.since_ms is not None and question.until_ms is not None:
        _check_order(question.since_ms, question.until_ms)
    async with asyncio.timeout(_TIMEOUT_S):
        return json_response(await ask.app_state.services.bill(question))


def _check_order(since_ms: int, until_ms: int) -> None:
    if since_ms > until_ms:
        raise InvalidRequest(f"since={since_ms} must not be after until={until_ms}", field="since")


def _endpoint(ask: NativeRequest) -> EndpointName | None:
    name = ask.text("endpoint")
    endpoint = None if name is None else EndpointName(name)
    ask.allow(KeyAction.DEPLOY, endpoint)
    return endpoint
