"""Replicas' log files, read as streams: by time, both ways, in blocks, while they turn over."""

from pathlib import Path

import pytest
from example_counts import examples
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from coldspark import clock
from coldspark.node.logs.line_splitter import encode_records
from coldspark.node.logs.replica_logs import ReplicaLogs
from coldspark.spec.types import FleetId, ReplicaId
from coldspark.telemetry.log_records import BEFORE_ALL, LogEvent, ReadLimits, TimeRange
from coldspark.telemetry.replica_log_files import ReplicaLogFiles

ALL = ReadLimits(events=100_000, size_bytes=1_000_000_000)
NAME = "main/r.1"


def files(path: Path) -> ReplicaLogFiles:
    return ReplicaLogFiles(path, clock.monotonic_s)


def write(path: Path, records: list[tuple[int, str]], older: list[tuple[int, str]] = ()) -> None:  # type: ignore[assignment]
    """Write a replica's two files."""
    folder = path / "echo" / "main"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("r%2E1.log", records), ("r%2E1.log.1", older)):
        data = b"".join(encode_records(at, "stdout", [text.encode()]) for at, text in content)
        (folder / name).unlink(missing_ok=True)
        if data:
            (folder / name).write_bytes(data)


def texts(events: list[LogEvent]) -> list[str]:
    return [event.message for event in events]


def test_what_replicas_print_is_a_stream(tmp_path: Path) -> None:
    """Living and ended; the platform's own words are marked, empty lines are none."""
    logs = ReplicaLogs(tmp_path)
    log = logs.open(ReplicaId("r.1"), FleetId("echo/main"), 1_000_000)
    began_ms = clock.wall_ms()
    log.writer("stdout")(b"one\n\ntwo\n")
    log.append("said by us")
    log.writer("stderr")(b"cut sh")

    reader = files(tmp_path)
    assert reader.endpoints() == ["echo"]
    (stream,) = reader.streams("echo")
    assert stream == reader.stream("echo", NAME)
    assert stream.name == NAME
    assert stream.first_ms is not None
    assert began_ms <= stream.first_ms <= (stream.last_ms or 0) <= clock.wall_ms()
    assert stream.stored_bytes == reader.size_bytes("echo") > 0
    page = reader.page("echo", NAME, TimeRange(), ALL, after=BEFORE_ALL)
    assert texts(page) == ["one", "two", "[coldspark] said by us"]
    logs.close(ReplicaId("r.1"))
    assert reader.page("echo", NAME, TimeRange(), ALL, after=BEFORE_ALL) == page


def test_there_is_nothing_where_nothing_was_printed(tmp_path: Path) -> None:
    """Also before there is a directory."""
    reader = files(tmp_path / "none")
    assert reader.endpoints() == []
    assert not reader.has("echo")
    assert reader.stream("echo", "main/../../x") is None
    assert reader.page("echo", NAME, TimeRange(), ALL) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
@given(data=st.data(), gaps=st.lists(st.integers(0, 3), max_size=150), width=st.integers(1, 4_000))
def test_pages_are_what_the_whole_would_be(
    tmp_path: Path, data: st.DataObject, gaps: list[int], width: int
) -> None:
    """Any part of any log: forwards and backwards, page by page, none lost and none twice."""
    at, records = 1_000, []
    for number, gap in enumerate(gaps):
        at += gap
        records.append((at, f"{number} ".ljust(1 + number * 37 % width, "x")))
    turned = data.draw(st.integers(0, len(records)))
    # Half a log is never written within a millisecond.
    assume(not 0 < turned < len(records) or records[turned][0] > records[0][0])
    write(tmp_path, records[turned:], records[:turned])
    start = data.draw(st.integers(990, at + 10))
    end = data.draw(st.none() | st.integers(990, at + 10))
    count = data.draw(st.integers(1, 40))
    span, bounds = TimeRange(start_ms=start, end_ms=end), ReadLimits(events=count, size_bytes=10**9)
    expected = [text for ms, text in records if start <= ms and (end is None or ms < end)]

    reader, forwards, after = files(tmp_path), [], BEFORE_ALL
    while page := reader.page("echo", NAME, span, bounds, after=after):
        forwards += texts(page)
        after = page[-1].position
    backwards, before = [], None
    while page := reader.page("echo", NAME, span, bounds, before=before):
        backwards = texts(page) + backwards
        before = page[0].position

    assert forwards == expected
    assert backwards == expected


def test_reading_goes_on_where_a_log_turned_over(tmp_path: Path) -> None:
    """A place outlives the file that it was found in."""
    write(tmp_path, [(10, "a"), (10, "b"), (20, "c")])
    reader = files(tmp_path)
    first = reader.page(
        "echo", NAME, TimeRange(), ReadLimits(events=2, size_bytes=999), after=BEFORE_ALL
    )

    write(tmp_path, [(30, "d")], [(10, "a"), (10, "b"), (20, "c")])
    assert texts(reader.page("echo", NAME, TimeRange(), ALL, after=first[-1].position)) == [
        "c",
        "d",
    ]
    write(tmp_path, [(40, "e")], [(30, "d")])
    assert texts(reader.page("echo", NAME, TimeRange(), ALL, after=first[-1].position)) == [
        "d",
        "e",
    ]


def test_a_log_that_is_larger_than_memory_allows_is_not_read_for_its_end(tmp_path: Path) -> None:
    """Bisection: of 64 MB, a page in the middle reads a few blocks."""
    folder = tmp_path / "echo" / "main"
    folder.mkdir(parents=True)
    with (folder / "r%2E1.log").open("wb") as file:
        for second in range(1_000):
            file.write(encode_records(1_000 * second, "stdout", [b"x" * 8_000] * 8))
    reader, few = files(tmp_path), ReadLimits(events=8, size_bytes=10**9)
    before = _read_bytes()

    middle = reader.page("echo", NAME, TimeRange(start_ms=500_000), few, after=BEFORE_ALL)
    back = reader.page("echo", NAME, TimeRange(end_ms=500_000), few)

    assert {event.at_ms for event in middle} == {500_000}
    assert {event.at_ms for event in back} == {499_000}
    assert _read_bytes() - before < 4_000_000


def _read_bytes() -> int:
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counts["rchar"])


def test_a_search_goes_through_streams_by_time_and_stops_at_its_bounds(tmp_path: Path) -> None:
    """It goes on where it stopped, also where nothing was found."""
    logs = tmp_path / "echo"
    for replica, times in (("a", (10, 30, 50)), ("b", (20, 30, 40))):
        (logs / "main").mkdir(parents=True, exist_ok=True)
        content = [encode_records(at, "stdout", [f"{replica}{at}".encode()]) for at in times]
        (logs / "main" / f"{replica}.log").write_bytes(b"".join(content))
    reader, names = files(tmp_path), ["main/a", "main/b"]

    def search(resume: object, *, events: int = 99, read: int = 10**6, text: str = "") -> object:
        return reader.search(
            "echo",
            names,
            TimeRange(),
            lambda message: text in message,
            ReadLimits(events=events, size_bytes=10**6),
            resume=resume,  # type: ignore[arg-type]
            read_bytes_max=read,
            until_s=clock.monotonic_s() + 60,
        )

    whole = search(None)
    assert whole.resume is None  # type: ignore[attr-defined]
    assert texts(whole.events) == ["a10", "b20", "a30", "b30", "b40", "a50"]  # type: ignore[attr-defined]
    first = search(None, events=3)
    assert texts(search(first.resume).events) == ["b30", "b40", "a50"]  # type: ignore[attr-defined]
    found, resume, calls = [], None, 0
    while True:
        part = search(resume, read=1, text="50")
        found += texts(part.events)  # type: ignore[attr-defined]
        resume, calls = part.resume, calls + 1  # type: ignore[attr-defined]
        if resume is None:
            break
    assert (found, calls) == (["a50"], 7)


def test_an_ended_replicas_files_can_be_removed(tmp_path: Path) -> None:
    """With the empty directories; the writer of one that lives goes on in a new file."""
    write(tmp_path, [(10, "a")], [(5, "b")])
    reader = files(tmp_path)
    assert reader.remove("echo", NAME)
    assert not reader.remove("echo", NAME)
    assert reader.endpoints() == []


def test_a_clock_that_is_set_back_puts_no_line_out_of_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads by time must find every line."""
    times = iter([2_000, 1_000, 3_000])
    monkeypatch.setattr(clock, "wall_ms", lambda: next(times))
    log = ReplicaLogs(tmp_path).open(ReplicaId("r.1"), FleetId("echo/main"), 1_000_000)
    for word in ("one", "two", "three"):
        log.append(word)
    page = files(tmp_path).page("echo", NAME, TimeRange(), ALL, after=BEFORE_ALL)
    assert [event.at_ms for event in page] == [2_000, 2_000, 3_000]
