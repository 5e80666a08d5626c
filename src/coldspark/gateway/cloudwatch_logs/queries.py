"""StartQuery and what belongs to it: queries of Logs Insights."""

import asyncio

from coldspark.errors import InvalidRequest
from coldspark.gateway.aws.errors import AwsError
from coldspark.gateway.aws.services import Body
from coldspark.gateway.cloudwatch_logs.calls import Call, group_named, streams_of
from coldspark.gateway.cloudwatch_logs.filtering.cursor import PatternError
from coldspark.gateway.cloudwatch_logs.insights import language
from coldspark.gateway.cloudwatch_logs.insights.running import STREAMS_MAX, Running, Source
from coldspark.gateway.cloudwatch_logs.names import (
    bad_token,
    identified,
    page_token,
    read_page_token,
    refuse,
)
from coldspark.store.log_records import Span

_SHORT_S = 0.5
"""So long a start waits for the end: most queries are over by then."""
_SECONDS_MAX = 10**11
_PAGE = 1_000


async def start(call: Call) -> Body:
    """StartQuery: one that is short is over when this answers."""
    text = str(call.body["queryString"])
    try:
        query = language.read(text)
    except PatternError as error:
        raise AwsError("MalformedQueryException", f"Invalid query: {error}") from None
    start_s, end_s = call.whole("startTime", 0), call.whole("endTime", 0)
    if end_s < start_s:
        refuse("endTime must not be before startTime.")
    if end_s >= _SECONDS_MAX:
        refuse("startTime and endTime are in seconds since 1970, not in milliseconds.")
    # The end's whole second is within.
    span = Span(start_ms=start_s * 1_000, end_ms=end_s * 1_000 + 1_000)
    sources = [await _source(call, name, span) for name in _names(call)]
    if len(sources) > 1 and not query.sort and not query.is_grouped:
        # Groups are read one after the other.
        query.sort = [(lambda get: get("@at_ms"), True)]
    limit = call.whole("limit", language.LIMIT_MAX)
    try:
        running = call.queries.start(text, query, sources, min(limit, language.LIMIT_MAX))
    except InvalidRequest as error:
        raise AwsError("LimitExceededException", error.message) from None
    try:
        async with asyncio.timeout(_SHORT_S):
            await running.done.wait()
    except TimeoutError:
        pass
    return {"queryId": running.id}


def _names(call: Call) -> list[str]:
    given = [
        member
        for member in ("logGroupName", "logGroupNames", "logGroupIdentifiers")
        if member in call.body
    ]
    if len(given) != 1:
        refuse("Exactly one of logGroupName, logGroupNames and logGroupIdentifiers is needed.")
    value = call.body[given[0]]
    names = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(identified(str(one), given[0]) for one in names))


async def _source(call: Call, name: str, span: Span) -> Source:
    group = await group_named(call, name)
    span = group.seen(span)
    streams = [
        (one.id, one.name)
        for one in await streams_of(call, group)
        if (one.last_ms or 0) >= span.start_ms
    ]
    if group.endpoint is not None and len(streams) > STREAMS_MAX:
        refuse(
            f"{len(streams)} log streams of {name} would be read, {STREAMS_MAX} at most can be: "
            "give a later startTime."
        )
    return Source(group.kept, group.endpoint, streams, span)


async def results(call: Call) -> Body:
    """GetQueryResults: what was found, once the query is over."""
    running = _known(call)
    token = call.text("nextToken")
    (first,) = (0,) if token is None else read_page_token(token, tuple[int])
    if first < 0:
        bad_token()
    most = call.whole("maxItems", language.LIMIT_MAX) or language.LIMIT_MAX
    rows = running.rows[first : first + most]
    answer: Body = {
        "queryLanguage": "CWLI",
        "results": [[{"field": name, "value": value} for name, value in row] for row in rows],
        "statistics": {
            "recordsMatched": float(running.collected.matched),
            "recordsScanned": float(running.scanned),
            "bytesScanned": float(running.scanned_bytes),
            "logGroupsScanned": float(len(running.sources)),
        },
        "status": running.status,
    }
    if first + most < len(running.rows):
        answer["nextToken"] = page_token(first + most)
    return answer


async def stop(call: Call) -> Body:
    """StopQuery: what was found so far can be read."""
    running = _known(call)
    if running.is_over:
        refuse(f"Query {running.id} is over already: its status is {running.status}.")
    running.is_stopped = True
    return {"success": True}


async def describe(call: Call) -> Body:
    """DescribeQueries: those that are known still, the newest first."""
    group, status = call.text("logGroupName"), call.text("status")
    found = [
        (one, source.group.name)
        for one in call.queries.all()
        for source in one.sources
        if group in (None, source.group.name) and status in (None, one.status)
    ]
    token = call.text("nextToken")
    (first,) = (0,) if token is None else read_page_token(token, tuple[int])
    if first < 0:
        bad_token()
    most = call.whole("maxResults", _PAGE)
    answer: Body = {"queries": [_shown(*one) for one in found[first : first + most]]}
    if first + most < len(found):
        answer["nextToken"] = page_token(first + most)
    return answer


def _shown(running: Running, group: str) -> Body:
    return {
        "queryLanguage": "CWLI",
        "queryId": running.id,
        "queryString": running.text,
        "status": running.status,
        "createTime": running.created_ms,
        "logGroupName": group,
        "queryDuration": running.duration_ms,
        "bytesScanned": float(running.scanned_bytes),
    }


def _known(call: Call) -> Running:
    running = call.queries.find(str(call.body["queryId"]))
    if running is None:
        raise AwsError(
            "ResourceNotFoundException",
            "The specified query is not known: it was one of long ago, or of before a restart.",
        )
    return running
