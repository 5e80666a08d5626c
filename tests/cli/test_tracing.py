"""``requests`` and ``trace``: find the request to look at, and draw all of its time."""

from typing import Any

import pytest
from fake_api import FakeApi
from shell import Shell

from coldspark.cli import output, waterfall

FALL = {
    "received_us": 0,
    "queued_us": 0,
    "placed_us": 0,
    "fetched_us": 0,
    "booted_us": 14_000,
    "loaded_us": 5_500,
    "inferred_us": 8_500,
    "returned_us": 0,
    "unaccounted_us": 0,
}
START = {
    "replica": "r-1",
    "rung": "standby",
    "started_by": "fork of template inference.py (pid 7), with its model",
    "resolve_us": 300,
    "is_environment_built": False,
    "template": None,
}
REQUEST: dict[str, Any] = {
    "request": "req-1",
    "endpoint": "chat",
    "variant": "main",
    "revision": "0123456789abcdef",
    "replica": "r-1",
    "gpu": "A10G",
    "is_simulated": True,
    "arrived_ms": 1_764_000_000_123,
    "duration_ms": 28,
    "busy_ms": 9,
    "status": 200,
    "error": None,
    "is_cold": True,
    "busy_nanos": 1_234,
    "waterfall": FALL,
    "start": START,
    "start_nanos_estimated": 2_831,
}


def draw(width: int, **stages_us: int) -> list[str]:
    """Draw without colour."""
    return waterfall.draw(stages_us, width=width, is_coloured=False)


def test_a_waterfall_is_drawn_in_proportion() -> None:
    """Each bar begins where the last ended; stages that were not are left out."""
    assert draw(74, queued=10_000, inferred=30_000) == [
        "queued         10.0 ms    25.0 %  ██████████",
        "inferred       30.0 ms    75.0 %            " + "█" * 30,
        "unaccounted       0 µs     0.0 %",
        "total          40.0 ms   100.0 %",
    ]


def test_all_of_the_time_is_attributed() -> None:
    """What no stage explains has its line too, and the shares add up."""
    lines = draw(80, booted=14_000, inferred=85_900, unaccounted=100)
    shares = [float(line.split(" %")[0].split()[-1]) for line in lines]
    assert lines[-2].startswith("unaccounted")
    assert sum(shares[:-1]) == pytest.approx(shares[-1]) == 100.0


def test_a_stage_too_short_to_see_is_drawn_all_the_same() -> None:
    """Nothing that took time is invisible, and nothing so short looks long."""
    booted, inferred, unaccounted, _ = draw(80, booted=1, inferred=50_000, unaccounted=1)
    assert booted.endswith("▏")
    assert unaccounted.endswith("▏")
    assert inferred.endswith("█")


@pytest.mark.parametrize("width", [20, 22, 28, 33, 42, 60, 80, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """First the bars go, then the shares; the times stay."""
    lines = draw(width, received=3, queued=500, loaded=3_200_000, inferred=7, returned=1)
    assert max(map(len, lines)) <= width
    assert [line for line in lines if "loaded" in line and "3.20" in line]


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0 µs"),
        (999, "999 µs"),
        (1_000, "1.00 ms"),
        (14_000, "14.0 ms"),
        (999_499, "999 ms"),
        (999_500, "1.00 s"),
        (3_214_000, "3.21 s"),
        (300_000_000, "5.0 min"),
    ],
)
def test_a_time_has_the_unit_that_reads_best(us: int, text: str) -> None:
    """From microseconds to minutes."""
    assert waterfall.duration(us) == text


def test_a_trace_tells_who_where_and_why(coldspark: Shell, api: FakeApi) -> None:
    """The wait, the rung it woke from, and the cost split."""
    api.replies["/v1/requests/req-1"] = (200, REQUEST)
    out = coldspark("trace", "req-1").out
    for words in (
        "revision  0123456789abcdef",
        "replica   r-1",
        "A10G (simulated)",
        "waited     19.5 ms (70 % of its time), most of it (14.0 ms) for the replica's process",
        "woke from  standby: fork of template inference.py (pid 7), with its model",
        "cost       about $0.00000407: $0.00000123 busy + about $0.00000283 for the start",
        "total          28.0 ms   100.0 %",
    ):
        assert words in out


def test_a_start_that_is_forgotten_is_said_to_be(coldspark: Shell, api: FakeApi) -> None:
    """After a restart of the server nobody knows; nothing is made up."""
    api.replies["/v1/requests/req-1"] = (200, REQUEST | {"start": None})
    assert "woke from  not known any more" in coldspark("trace", "req-1").out


def test_a_warm_request_waited_for_nothing(coldspark: Shell, api: FakeApi) -> None:
    """And paid for no start."""
    warm = {"is_cold": False, "start_nanos_estimated": None, "waterfall": {"inferred_us": 9}}
    api.replies["/v1/requests/req-1"] = (200, REQUEST | warm)
    out = coldspark("trace", "req-1").out
    assert "waited     for nothing" in out
    assert "served by  a replica that was there: fork of template" in out
    assert "cost       $0.00000123 busy" in out


def test_colour_is_for_terminals(
    coldspark: Shell, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe gets plain text."""
    api.replies["/v1/requests/req-1"] = (200, REQUEST)
    assert "\033" not in coldspark("trace", "req-1").out
    monkeypatch.setattr(output, "is_terminal", lambda stream=None: True)
    assert "\033[31m█" in coldspark("trace", "req-1", COLUMNS="80").out


def test_a_trace_folds_to_the_width_that_is_asked_for(coldspark: Shell, api: FakeApi) -> None:
    """Its words too; in a pipe without a width they stay whole, to be searched."""
    api.replies["/v1/requests/req-1"] = (200, REQUEST)
    assert max(map(len, coldspark("trace", "req-1", "--width", "40").out.splitlines())) <= 40
    assert max(map(len, coldspark("trace", "req-1", COLUMNS="40").out.splitlines())) > 60


def test_requests_say_what_took_longest(coldspark: Shell, api: FakeApi) -> None:
    """So that one knows which to trace."""
    api.replies["/v1/requests"] = (200, {"requests": [REQUEST], "is_complete": True})
    head, row = coldspark("requests", "chat").out.splitlines()
    assert head.split() == [
        "request",
        "endpoint",
        "when",
        "status",
        "took",
        "mostly",
        "cold",
        "cost",
    ]
    for word in ("req-1", "28.0 ms", "booted", "yes", "$0.00000123"):
        assert word in row
    assert api.asked == ["GET /v1/requests?endpoint=chat&limit=20"]


def test_the_slowest_are_asked_for_and_their_stage_is_shown(coldspark: Shell, api: FakeApi) -> None:
    """The server sorts: it has all lines."""
    api.replies["/v1/requests"] = (200, {"requests": [REQUEST], "is_complete": False})
    ran = coldspark("requests", "--by", "loaded", "--cold", "-n", "3")
    assert "loaded" in ran.out.splitlines()[0]
    assert "5.50 ms" in ran.out.splitlines()[1]
    assert "narrow it by --since" in ran.err
    coldspark("requests", "--slowest")
    assert api.asked == [
        "GET /v1/requests?sort=loaded&cold=true&limit=3",
        "GET /v1/requests?sort=duration&limit=20",
    ]


def test_a_stage_that_is_none_is_a_usage_error(coldspark: Shell, api: FakeApi) -> None:
    """The words that are known are named; nothing is asked."""
    ran = coldspark("requests", "--by", "lunch")
    assert ran.code == 2
    assert "unaccounted" in ran.err
    assert api.asked == []


def test_no_requests_are_said_to_be_none(coldspark: Shell, api: FakeApi) -> None:
    """Standard output stays empty, as with ``ls``."""
    api.replies["/v1/requests"] = (200, {"requests": []})
    ran = coldspark("requests", "chat")
    assert (ran.code, ran.out, ran.err) == (0, "", "no requests yet\n")
    assert coldspark("requests", "chat", "--cold").err == "no such requests\n"
