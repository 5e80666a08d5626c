"""Events: put and read with boto3, from callers' own streams and from replicas' files."""

from typing import Any

import pytest
from logs_rig import PREFIX, Served, refusal

from coldspark import clock
from coldspark.doors.aws.logs import events as events_module
from coldspark.doors.aws.logs import filter_events
from coldspark.node.logs.line_splitter import encode_records

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
STREAM = {"logGroupName": "g", "logStreamName": "s"}


def texts(answer: dict[str, Any]) -> list[str]:
    return [event["message"] for event in answer["events"]]


@pytest.fixture
def client(logs: Served) -> Any:
    """Return boto3's client, with one group and one stream."""
    client = logs.client()
    client.create_log_group(logGroupName="g")
    client.create_log_stream(**STREAM)
    return client


def put(client: Any, *events: tuple[int, str], **members: Any) -> dict[str, Any]:
    entries = [{"timestamp": at_ms, "message": message} for at_ms, message in events]
    answer: dict[str, Any] = client.put_log_events(**STREAM | members, logEvents=entries)
    return answer


def put_both(logs: Served, client: Any, count: int) -> int:
    """Have the same events in a caller's stream and in a replica's file; return the first time."""
    at_ms = clock.wall_ms() - HOUR_MS
    put(client, *((at_ms + number, f"n{number}") for number in range(count)))
    folder = logs.store.files._directory / "echo" / "main"
    folder.mkdir(parents=True)
    lines = [
        encode_records(at_ms + number, "stdout", [f"n{number}".encode()]) for number in range(count)
    ]
    (folder / "r-1.log.1").write_bytes(b"".join(lines[: count // 3]))
    (folder / "r-1.log").write_bytes(b"".join(lines[count // 3 :]))
    return at_ms


BOTH = [STREAM, {"logGroupName": f"{PREFIX}echo", "logStreamName": "main/r-1"}]


@pytest.mark.parametrize("stream", BOTH, ids=["own", "replica's"])
def test_events_are_read_forwards_and_backwards(
    logs: Served, client: Any, stream: dict[str, str]
) -> None:
    """The token that comes back at an end is the one that was sent."""
    at_ms = put_both(logs, client, 20)
    last = client.get_log_events(**stream, limit=10)
    assert texts(last) == [f"n{number}" for number in range(10, 20)]
    assert last["events"][0]["timestamp"] == at_ms + 10
    before = client.get_log_events(**stream, nextToken=last["nextBackwardToken"], limit=15)
    assert texts(before) == [f"n{number}" for number in range(10)]
    none = client.get_log_events(**stream, nextToken=before["nextBackwardToken"])
    assert none["events"] == []
    assert none["nextBackwardToken"] == before["nextBackwardToken"]
    again = client.get_log_events(**stream, nextToken=none["nextForwardToken"], limit=2)
    assert texts(again) == ["n0", "n1"]

    found, answer = [], client.get_log_events(**stream, startFromHead=True, limit=7)
    while answer["events"]:
        found += texts(answer)
        token = answer["nextForwardToken"]
        answer = client.get_log_events(**stream, nextToken=token, limit=7)
    assert found == [f"n{number}" for number in range(20)]
    assert answer["nextForwardToken"] == token
    assert texts(
        client.get_log_events(**stream, nextToken=answer["nextBackwardToken"], limit=1)
    ) == ["n19"]
    some = client.get_log_events(**stream, startTime=at_ms + 3, endTime=at_ms + 5)
    assert texts(some) == ["n3", "n4"]
    for token in ("n/0", "f/12", "not-a-token", "f/" + "9" * 56):
        assert refusal(client.get_log_events, **stream, nextToken=token) == (
            "InvalidParameterException",
            "The specified nextToken is invalid.",
        )


@pytest.mark.parametrize("stream", BOTH, ids=["own", "replica's"])
def test_a_search_is_paged_by_boto3(logs: Served, client: Any, stream: dict[str, str]) -> None:
    """By pattern, prefix and time; each event has an id of its own that stays."""
    at_ms = put_both(logs, client, 50)
    group = {"logGroupName": stream["logGroupName"]}
    paginator = client.get_paginator("filter_log_events")
    pages = list(paginator.paginate(**group, PaginationConfig={"PageSize": 7}))
    found = [event for page in pages for event in page["events"]]
    assert [event["message"] for event in found] == [f"n{number}" for number in range(50)]
    assert len({event["eventId"] for event in found}) == 50
    assert found == client.filter_log_events(**group)["events"]
    assert {event["logStreamName"] for event in found} == {stream["logStreamName"]}
    assert pages[-1]["searchedLogStreams"] == [
        {"logStreamName": stream["logStreamName"], "searchedCompletely": True}
    ]
    assert texts(
        client.filter_log_events(**group, filterPattern="?n40 ?n41 ?n42 ?n43", limit=3)
    ) == [
        "n40",
        "n41",
        "n42",
    ]
    named = client.filter_log_events(**group, logStreamNames=[stream["logStreamName"]])
    assert len(named["events"]) == 50
    assert client.filter_log_events(**group, logStreamNamePrefix="zzz")["events"] == []
    # Unlike GetLogEvents', the end is within.
    some = client.filter_log_events(**group, startTime=at_ms + 3, endTime=at_ms + 5)
    assert texts(some) == ["n3", "n4", "n5"]
    assert refusal(client.filter_log_events, **group, logStreamNames=["none"])[0] == (
        "ResourceNotFoundException"
    )
    assert refusal(
        client.filter_log_events, **group, logStreamNames=["s"], logStreamNamePrefix="s"
    )[0] == ("InvalidParameterException")
    assert refusal(client.filter_log_events, **group, nextToken="x")[0] == (
        "InvalidParameterException"
    )
    code, words = refusal(client.filter_log_events, **group, filterPattern="{ $.x }")
    assert code == "InvalidParameterException"
    assert words.startswith("Invalid filter pattern: one of != >= <= = > < is expected")


@pytest.mark.parametrize("stream", BOTH, ids=["own", "replica's"])
def test_a_search_reads_only_so_much_at_once(
    logs: Served, client: Any, stream: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may find nothing yet and give a token, as on AWS; no event is lost on the way."""
    put_both(logs, client, 30)
    monkeypatch.setattr(filter_events, "READ_BYTES_MAX", 1)
    monkeypatch.setattr(
        filter_events, "_CHUNK", filter_events.ReadLimits(events=4, size_bytes=10**6)
    )
    pages = client.get_paginator("filter_log_events").paginate(
        logGroupName=stream["logGroupName"], filterPattern="n29"
    )
    answers = list(pages)
    assert len(answers) > 5
    assert [text for page in answers for text in texts(page)] == ["n29"]


def test_streams_are_interleaved_by_time(logs: Served, client: Any) -> None:
    """Of replicas and of callers."""
    logs.printed("first", replica="a")
    logs.printed("second", replica="b")
    found = client.filter_log_events(logGroupName=f"{PREFIX}echo")
    times = [event["timestamp"] for event in found["events"]]
    assert (sorted(texts(found)), times) == (["first", "second"], sorted(times))
    assert texts(
        client.filter_log_events(logGroupName=f"{PREFIX}echo", logStreamNamePrefix="main/b")
    ) == ["second"]
    client.create_log_stream(logGroupName="g", logStreamName="t")
    now_ms = clock.wall_ms()
    put(client, (now_ms, "a"), (now_ms + 2, "c"))
    put(client, (now_ms + 1, "b"), logStreamName="t")
    assert texts(client.filter_log_events(logGroupName="g")) == ["a", "b", "c"]
    assert texts(client.filter_log_events(logGroupName="g", logStreamNames=["t"])) == ["b"]


def test_a_batch_is_checked_in_the_services_words(logs: Served, client: Any) -> None:
    """Order, span and size."""
    now_ms = clock.wall_ms()

    def refused(*events: tuple[int, str]) -> str:
        entries = [{"timestamp": at, "message": message} for at, message in events]
        code, words = refusal(client.put_log_events, **STREAM, logEvents=entries)
        assert code == "InvalidParameterException"
        return words

    assert refused((now_ms, "a"), (now_ms - 1, "b")) == (
        "Log events in a single PutLogEvents request must be in chronological order."
    )
    assert refused((now_ms - 25 * HOUR_MS, "a"), (now_ms, "b")) == (
        "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
    )
    assert refused((now_ms, "x" * 1_048_576)) == (
        "Upload too large: 1048602 bytes exceeds limit of 1048576"
    )
    assert refusal(
        client.put_log_events,
        **STREAM | {"logStreamName": "x"},
        logEvents=[{"timestamp": now_ms, "message": "a"}],
    ) == ("ResourceNotFoundException", "The specified log stream does not exist.")
    assert texts(client.get_log_events(**STREAM)) == []


def test_events_out_of_time_are_told_and_the_others_kept(logs: Served, client: Any) -> None:
    """Ends are exclusive, starts inclusive, as AWS documents them."""
    now_ms = clock.wall_ms()
    answer = put(
        client,
        (0, "too old"),
        (now_ms - 15 * DAY_MS, "too old"),
        (now_ms, "kept"),
        (now_ms + 3 * HOUR_MS, "too new"),
        sequenceToken="whatever",
    )
    assert answer["rejectedLogEventsInfo"] == {
        "tooOldLogEventEndIndex": 2,
        "tooNewLogEventStartIndex": 3,
    }
    assert len(answer["nextSequenceToken"]) == 56
    assert texts(client.get_log_events(**STREAM)) == ["kept"]
    client.put_retention_policy(logGroupName="g", retentionInDays=3)
    answer = put(client, (now_ms - 4 * DAY_MS, "expired"), (now_ms, "kept"))
    assert answer["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}
    assert texts(client.get_log_events(**STREAM)) == ["kept", "kept"]


def test_an_answer_holds_a_megabyte_at_most(logs: Served, client: Any) -> None:
    """The rest is on the next page."""
    now_ms = clock.wall_ms()
    for _ in range(3):
        put(client, (now_ms, "x" * 500_000))
    assert len(client.get_log_events(**STREAM)["events"]) == 2
    pages = list(client.get_paginator("filter_log_events").paginate(logGroupName="g"))
    assert sum(len(page["events"]) for page in pages) == 3
    assert len(pages) > 1


def test_callers_fill_the_disk_only_so_far(
    logs: Served, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal says what to do."""
    monkeypatch.setattr(events_module, "STORED_BYTES_MAX", 100)
    now_ms = clock.wall_ms()
    put(client, (now_ms, "x" * 50))
    entries = [{"timestamp": now_ms, "message": "x" * 50}]
    code, words = refusal(client.put_log_events, **STREAM, logEvents=entries)
    assert (code, "shorter retention" in words) == ("LimitExceededException", True)


def test_times_to_the_end_of_64_bits_are_times_like_others(client: Any) -> None:
    """Some clients ask up to the largest number that they have."""
    put(client, (clock.wall_ms(), "now"))
    end = {"endTime": 2**63 - 1}

    assert texts(client.filter_log_events(logGroupName="g", **end)) == ["now"]
    assert texts(client.get_log_events(**STREAM, **end)) == ["now"]
    assert texts(client.filter_log_events(logGroupName="g", startTime=2**63 - 1)) == []
    assert refusal(client.filter_log_events, logGroupName="g", endTime=2**63)[0] == (
        "InvalidParameterException"
    )
