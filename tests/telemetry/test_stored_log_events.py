"""Callers' own logs on disk: ordered, bounded, and gone when they shall be."""

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from coldspark.database.database import Database
from coldspark.errors import AlreadyExists, NotFound
from coldspark.telemetry.log_records import BEFORE_ALL, LogGroup, LogStream, ReadLimits, TimeRange
from coldspark.telemetry.logs_table import CHUNK_EVENTS, LogEvents, size_of

DAY_MS = 86_400_000
ALL = ReadLimits(events=10_000, size_bytes=1_000_000)


class Rig:
    """A store of log events, and its clock."""

    def __init__(self, path: Path) -> None:
        self.now_ms = 100 * DAY_MS
        self.database = Database.open(path / "coldspark.db")
        self.logs = LogEvents(self.database, lambda: self.now_ms)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def group(self, name: str = "g") -> LogGroup:
        found: LogGroup = self.do(self.logs.group(name))
        return found

    def stream(self, name: str = "s") -> LogStream:
        found: LogStream = self.do(self.logs.stream(self.group(), name))
        return found

    def texts(self, **options: Any) -> list[str]:
        span, bounds = options.pop("span", TimeRange()), options.pop("bounds", ALL)
        page = self.do(self.logs.page(self.stream(), span, bounds, **options))
        return [event.message for event in page]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Return a store with one group and one stream."""
    rig = Rig(tmp_path)
    rig.do(rig.logs.create_group("g", {"team": "a"}))
    rig.do(rig.logs.create_stream(rig.group(), "s"))
    yield rig
    rig.database.close()


def test_names_are_taken_once(rig: Rig) -> None:
    """Groups and streams."""
    with pytest.raises(AlreadyExists):
        rig.do(rig.logs.create_group("g", {}))
    with pytest.raises(AlreadyExists):
        rig.do(rig.logs.create_stream(rig.group(), "s"))
    with pytest.raises(NotFound):
        rig.do(rig.logs.put(rig.group(), "other", [(1, "x")]))


def test_events_are_read_in_order_of_time_both_ways(rig: Rig) -> None:
    """Whatever the order in which the batches came."""
    rig.do(rig.logs.put(rig.group(), "s", [(30, "c"), (40, "d")]))
    rig.do(rig.logs.put(rig.group(), "s", [(10, "a"), (30, "c2")]))

    assert rig.texts(after=BEFORE_ALL) == ["a", "c", "c2", "d"]
    assert rig.texts(bounds=ReadLimits(events=2, size_bytes=1_000)) == ["c2", "d"]
    assert rig.texts(after=BEFORE_ALL, span=TimeRange(start_ms=30, end_ms=40)) == ["c", "c2"]
    assert rig.texts(after=BEFORE_ALL, bounds=ReadLimits(events=9, size_bytes=1)) == ["a"]
    second = rig.do(rig.logs.page(rig.stream(), TimeRange(), ALL, after=BEFORE_ALL))[1]
    assert rig.texts(after=second.position) == ["c2", "d"]
    assert rig.texts(before=second.position) == ["a"]


def test_a_stream_tells_what_it_holds(rig: Rig) -> None:
    """Times and bytes; a group's bytes are its streams'."""
    assert (rig.stream().first_ms, rig.stream().stored_bytes) == (None, 0)
    rig.do(rig.logs.put(rig.group(), "s", [(10, "é"), (20, "b")]))

    stream = rig.stream()
    assert (stream.first_ms, stream.last_ms, stream.ingested_ms) == (10, 20, rig.now_ms)
    assert stream.stored_bytes == size_of("é") + size_of("b") == 28 + 27
    assert rig.group().stored_bytes == rig.do(rig.logs.stored_bytes()) == 55


def test_a_scan_goes_through_all_streams_by_time(rig: Rig) -> None:
    """It goes on where it stopped."""
    rig.do(rig.logs.create_stream(rig.group(), "t"))
    rig.do(rig.logs.put(rig.group(), "s", [(10, "a"), (30, "c")]))
    rig.do(rig.logs.put(rig.group(), "t", [(20, "b")]))

    two = rig.do(
        rig.logs.scan(rig.group(), TimeRange(), ReadLimits(events=2, size_bytes=99), BEFORE_ALL)
    )
    rest = rig.do(rig.logs.scan(rig.group(), TimeRange(), ALL, two[-1][1].position))
    assert [event.message for _, event in [*two, *rest]] == ["a", "b", "c"]
    assert {stream for stream, _ in two} == {rig.stream("s").id, rig.stream("t").id}


def test_what_is_deleted_is_gone_at_once_and_its_events_go_in_chunks(rig: Rig) -> None:
    """A group of the same name begins empty."""
    events = [(number, "x") for number in range(CHUNK_EVENTS + 1)]
    rig.do(rig.logs.put(rig.group(), "s", events))
    assert rig.do(rig.logs.drop_group("g"))
    assert not rig.do(rig.logs.drop_group("g"))
    rig.do(rig.logs.create_group("g", {}))
    assert rig.do(rig.logs.streams(rig.group())) == []
    assert rig.group().stored_bytes == 0

    chunks = 0
    while rig.do(rig.logs.expire()):
        chunks += 1
    assert chunks == 3
    assert rig.do(rig.logs.stored_bytes()) == 0


def test_what_is_over_its_retention_goes(rig: Rig) -> None:
    """In chunks; the stream's first time and bytes follow."""
    old, new = rig.now_ms - 8 * DAY_MS, rig.now_ms - 6 * DAY_MS
    rig.do(rig.logs.put(rig.group(), "s", [(old, "old")] * (CHUNK_EVENTS + 5) + [(new, "new")]))
    group = rig.group()
    rig.do(rig.logs.change_group(LogGroup(name="g", created_ms=0, retention_days=7)))

    assert [rig.do(rig.logs.expire()) for _ in range(3)] == [True, True, False]
    assert rig.texts() == ["new"]
    assert (rig.stream().first_ms, rig.stream().stored_bytes) == (new, size_of("new"))
    assert rig.group().created_ms == group.created_ms


def test_logs_survive_a_restart(rig: Rig, tmp_path: Path) -> None:
    """What was put is there again."""
    rig.do(rig.logs.put(rig.group(), "s", [(10, "a")]))
    rig.database.close()
    rig.database = Database.open(tmp_path / "coldspark.db")
    rig.logs = LogEvents(rig.database, lambda: rig.now_ms)
    assert rig.texts() == ["a"]
    assert rig.group().tags == {"team": "a"}
