"""Queries of Logs Insights, by boto3 as it comes: a subset that says what it cannot."""

import asyncio
import json
from typing import Any

import pytest
from logs_rig import PREFIX, Served, refusal

from coldspark.gateway.cloudwatch_logs.filtering.cursor import PatternError
from coldspark.gateway.cloudwatch_logs.insights import collecting, language
from coldspark.gateway.cloudwatch_logs.insights.running import Queries
from coldspark.gateway.cloudwatch_logs.insights.values import EventRow
from coldspark.runtime import clock
from coldspark.store.log_records import LogEvent

HOUR_S = 3_600
LINES = [
    {"level": "INFO", "ms": 10, "model": "a", "user": {"id": "u-1"}},
    {"level": "ERROR", "ms": 30, "model": "a", "user": {"id": "u-2"}, "tags": ["x", "y"]},
    {"level": "INFO", "ms": 20, "model": "b", "took-time": 7},
    {"level": "ERROR", "ms": 200, "model": "b", "why": "too slow"},
]


@pytest.fixture
def client(logs: Served) -> Any:
    """Return boto3's client, with a group of four events, a second apart."""
    client = logs.client()
    client.create_log_group(logGroupName="g")
    client.create_log_stream(logGroupName="g", logStreamName="s")
    put(client, *map(json.dumps, LINES))
    return client


def put(client: Any, *messages: str, group: str = "g") -> None:
    first_ms = (clock.wall_ms() - 60_000) // 60_000 * 60_000
    client.put_log_events(
        logGroupName=group,
        logStreamName="s",
        logEvents=[
            {"timestamp": first_ms + 1_000 * place, "message": message}
            for place, message in enumerate(messages)
        ],
    )


def asked(client: Any, text: str, **members: Any) -> list[dict[str, str]]:
    """Return the rows of a query, without pointers."""
    now_s = clock.wall_ms() // 1_000
    given = {"logGroupName": "g", "startTime": now_s - HOUR_S, "endTime": now_s + HOUR_S}
    id = client.start_query(**given | members, queryString=text)["queryId"]
    answer = client.get_query_results(queryId=id)
    assert answer["status"] == "Complete"
    rows = [{one["field"]: one["value"] for one in row} for row in answer["results"]]
    return [{name: value for name, value in row.items() if name != "@ptr"} for row in rows]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("fields ms | limit 2", [{"ms": "200"}, {"ms": "20"}]),
        (
            'filter level = "ERROR" | fields ms, user.id, tags.1',
            [{"ms": "200"}, {"ms": "30", "user.id": "u-2", "tags.1": "y"}],
        ),
        ("fields ms | sort ms desc | limit 1", [{"ms": "200"}]),
        ("fields ms | sort model asc, ms desc | limit 2", [{"ms": "30"}, {"ms": "10"}]),
        ("fields ms / 8 as eighth | filter eighth >= 25", [{"eighth": "25"}]),
        ("filter ms in [10, 20] and not model = 'a' | fields ms", [{"ms": "20"}]),
        ("filter @message like /too s.ow/ | fields why", [{"why": "too slow"}]),
        ("filter why =~ 'slow' or ispresent(`took-time`) | stats count(*)", [{"count(*)": "2"}]),
        ("filter level not like 'ERR' | stats sum(ms) as total", [{"total": "30"}]),
        (
            "stats count(*) as n, avg(ms), max(ms) by model | sort n desc, model asc",
            [
                {"model": "a", "n": "2", "avg(ms)": "20", "max(ms)": "30"},
                {"model": "b", "n": "2", "avg(ms)": "110", "max(ms)": "200"},
            ],
        ),
        ("stats pct(ms, 50) as p50, count_distinct(model) as m", [{"p50": "20", "m": "2"}]),
        ("stats earliest(ms), latest(ms)", [{"earliest(ms)": "10", "latest(ms)": "200"}]),
        ("stats count(*) as n by level | filter n > 5", []),
        ("filter level = 'NONE' | stats count(*) as n, avg(ms)", [{"n": "0"}]),
        (
            'parse @message "\\"model\\": \\"*\\"" as m | stats count(*) as n by m | sort m asc',
            [{"m": "a", "n": "2"}, {"m": "b", "n": "2"}],
        ),
        ("# a remark\nfields toupper(model) as M | display M | limit 1", [{"M": "B"}]),
    ],
)
def test_queries_give_what_they_ask_for(client: Any, text: str, rows: list[dict[str, str]]) -> None:
    """The newest come first, unless it is sorted; what a row lacks is left out."""
    assert asked(client, text) == rows


def test_events_are_put_together_by_time(client: Any) -> None:
    """A bin is named by its start, in UTC."""
    (row,) = asked(client, "stats count(*) as n by bin(1d) as day")

    assert row["n"] == "4"
    assert row["day"].endswith(" 00:00:00.000")


def test_moments_are_compared_as_numbers_and_shown_as_dates(client: Any) -> None:
    """As ``filter @timestamp > 1700000000000`` is written for AWS."""
    first_ms = (clock.wall_ms() - 60_000) // 60_000 * 60_000
    text = f"fields @timestamp | filter @timestamp >= {first_ms + 2_000} | sort @timestamp asc"
    shown = [row["@timestamp"] for row in asked(client, text)]

    assert [one[-6:] for one in shown] == ["02.000", "03.000"]
    assert asked(client, "filter @timestamp > 99999999999999 | fields ms") == []
    (row,) = asked(client, "stats max(@timestamp) as newest")
    assert row["newest"] == str(first_ms + 3_000)


def test_what_replicas_print_is_queried_beside_other_groups(logs: Served, client: Any) -> None:
    """Several groups are one list by time."""
    logs.printed('{"level": "ERROR", "ms": 1}', "no JSON")
    now_s = clock.wall_ms() // 1_000
    id = client.start_query(
        logGroupNames=["g", f"{PREFIX}echo"],
        startTime=now_s - HOUR_S,
        endTime=now_s + HOUR_S,
        queryString="fields @log, @logStream, @message | limit 3",
    )["queryId"]
    answer = client.get_query_results(queryId=id)
    rows = [{one["field"]: one["value"] for one in row} for row in answer["results"]]

    assert [row["@log"] for row in rows] == [f"{PREFIX}echo"] * 2 + ["g"]
    assert rows[0]["@logStream"] == "main/r-1"
    assert answer["statistics"]["recordsScanned"] == 6.0


def test_results_come_in_pages_and_queries_are_listed(client: Any) -> None:
    """By group and status; a start in the future finds nothing."""
    now_s = clock.wall_ms() // 1_000
    given = {"logGroupName": "g", "startTime": now_s - HOUR_S, "endTime": now_s}
    id = client.start_query(**given, queryString="fields ms | sort ms asc")["queryId"]
    pages = []
    token: dict[str, str] = {}
    while True:
        answer = client.get_query_results(queryId=id, maxItems=3, **token)
        pages.append([row[0]["value"] for row in answer["results"]])
        if "nextToken" not in answer:
            break
        token = {"nextToken": answer["nextToken"]}

    assert pages == [["10", "20", "30"], ["200"]]
    (listed,) = client.describe_queries(logGroupName="g", status="Complete")["queries"]
    assert (listed["queryId"], listed["queryString"]) == (id, "fields ms | sort ms asc")
    assert client.describe_queries(logGroupName="other")["queries"] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("test", "one of the commands"),
        ("fields @message | dedup x", "one of the commands"),
        ("filter @message like /(a|b)+/", "character"),
        ("filter @message like /a", "never closed"),
        ("stats sum(ms) / count(*)", "| or the end"),
        ("stats p90(ms)", "one of count"),
        ("fields now()", "not supported here"),
        ("limit 0", "from 1 to 10000"),
        ("stats count(*) | fields x", "cannot stand behind stats"),
        ("sort x | stats count(*)", "before sort and limit"),
        ("parse @message /(?<a>b)/ as x", "a pattern such as"),
        ('parse @message "a=*" as x, y', "as many names"),
        (f"filter {'(' * 99}1{')' * 99}", "deeper"),
        (f"fields {'-' * 99}1", "too deeply"),
        (f"filter {'not ' * 99}1", "deeper"),
        ("stats pct(ms, 101)", "from 0 to 100"),
        ("stats count(*) by bin(5)", "a stretch of time"),
        ("", "one of the commands"),
    ],
)
def test_what_is_not_understood_is_refused(client: Any, text: str, words: str) -> None:
    """With the place, and what is expected there."""
    given = {"logGroupName": "g", "startTime": 0, "endTime": 1}
    code, message = refusal(client.start_query, **given, queryString=text)

    assert code == "MalformedQueryException"
    assert words in message


def test_calls_that_can_find_nothing_are_refused(client: Any) -> None:
    """In AWS's words where it has some."""
    text = {"queryString": "fields @message"}
    span = {"startTime": 0, "endTime": 1}
    for members, words in (
        (span, "Exactly one"),
        ({"logGroupName": "g", "startTime": 2, "endTime": 1}, "must not be before"),
        ({"logGroupName": "g", "startTime": 0, "endTime": clock.wall_ms()}, "in seconds"),
        ({"logGroupName": "none"} | span, "does not exist"),
        ({"logGroupName": "g", "queryLanguage": "SQL"} | span, "CWLI"),
    ):
        assert words in refusal(client.start_query, **text, **members)[1]
    assert refusal(client.get_query_results, queryId="x")[0] == "ResourceNotFoundException"
    assert refusal(client.stop_query, queryId="x")[0] == "ResourceNotFoundException"


def test_a_query_that_waits_its_turn_can_be_stopped_once(logs: Served, client: Any) -> None:
    """Its status says so, and there is nothing to stop any more."""
    now_s = clock.wall_ms() // 1_000

    async def free() -> None:
        logs.queries._turn.release()

    logs.run(logs.queries._turn.acquire())
    id = client.start_query(
        logGroupName="g", startTime=now_s - HOUR_S, endTime=now_s, queryString="fields ms"
    )["queryId"]
    assert client.get_query_results(queryId=id)["status"] == "Scheduled"
    assert client.stop_query(queryId=id)["success"]
    logs.run(free())
    logs.run(logs.queries._queries[id].done.wait())
    found = client.get_query_results(queryId=id)
    assert (found["status"], found["results"]) == ("Cancelled", [])
    assert "over already" in refusal(client.stop_query, queryId=id)[1]


def test_a_query_is_stopped_and_too_many_are_refused(logs: Served, client: Any) -> None:
    """They run one after the other; what was not read is not guessed."""

    async def play() -> None:
        queries = Queries(logs.store)
        async with queries._turn:
            query = language.read("fields @message")
            first = queries.start("x", query, (), 10)
            await asyncio.sleep(0)
            assert first.status == "Scheduled"
            first.is_stopped = True
            for _ in range(29):
                queries.start("x", query, (), 10)
            with pytest.raises(Exception, match="try again later"):
                queries.start("x", query, (), 10)
        await asyncio.wait_for(first.done.wait(), 10)
        assert first.status == "Cancelled"
        await queries._tasks.drain(10)

    logs.run(play())


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sort keeps its limit, and stats fail rather than leave rows out."""

    def row(number: int) -> EventRow:
        event = LogEvent(number, number, json.dumps({"n": number}), (number, 0, 0))
        return EventRow(event, {"@at_ms": number})

    newest = collecting.Collected(language.read("fields n | sort n desc"), 10)
    for number in range(5_000):
        newest.take(row(number))
    assert [shown[0][1] for shown in newest.rows()] == [str(4_999 - at) for at in range(10)]
    assert len(newest._sorted) < 2_000

    monkeypatch.setattr(collecting, "GROUPS_MAX", 100)
    grouped = collecting.Collected(language.read("stats count(*) by n"), 10)
    for number in range(100):
        grouped.take(row(number))
    with pytest.raises(collecting.TooMuch, match="over 100 rows"):
        grouped.take(row(100))


def test_no_text_breaks_the_reader() -> None:
    """Whatever comes: a query, or a refusal."""
    pieces = [
        "fields",
        " a",
        "|",
        "(",
        ")",
        "'",
        "stats count(",
        "by bin(",
        "like /",
        "-",
        "`",
        "*",
    ]
    for first in pieces:
        for second in pieces:
            for third in pieces:
                try:
                    language.read(f"fields x | {first}{second} {third}")
                except PatternError:
                    pass
