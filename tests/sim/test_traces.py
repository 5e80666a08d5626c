"""Traces: what is recorded is kept, what is not is drawn and counted, what is wrong has a line."""

import pytest

from coldspark.sim.traces import read_trace
from coldspark.sim.traffic import Durations

TWO_S = Durations.fixed(2.0)


def test_requests_are_sorted_and_blank_durations_are_drawn() -> None:
    """The period ends with the hour of the last arrival."""
    lines = ["arrival_s,duration_s,key", "30,,a", "10,1.5,b", "3700,4,a"]
    found = read_trace(lines, service=TWO_S)
    assert list(found.traffic.arrivals_s) == [10, 30, 3700]
    assert list(found.traffic.services_s) == [1.5, 2.0, 4.0]
    assert (found.period_s, found.durations_drawn) == (7200, 1)


def test_one_key_can_be_taken_alone() -> None:
    """Such as one model of many."""
    lines = ["arrival_s,duration_s,key", "30,1,a", "10,1,b"]
    assert list(read_trace(lines, service=None, key="a").traffic.arrivals_s) == [30]


def test_a_trace_of_a_calendar_begins_in_its_first_day() -> None:
    """The hour of the day stays, months before it do not."""
    day = 86_400
    lines = ["arrival_s,duration_s", f"{20_000 * day + 7200},1", f"{20_001 * day},1"]
    assert list(read_trace(lines, service=None).traffic.arrivals_s) == [7200, day]


def test_windows_are_spread_over_their_length() -> None:
    """As many as were counted, each within its window."""
    lines = ["t_s,window_s,count", "600,60,3", "660,60,0", "720,60,2"]
    found = read_trace(lines, service=TWO_S, seed=1)
    assert len(found.traffic) == 5
    assert [0 <= t < 60 for t in found.traffic.arrivals_s].count(True) == 3
    assert [120 <= t < 180 for t in found.traffic.arrivals_s].count(True) == 2
    assert (found.period_s, found.durations_drawn) == (180, 5)


@pytest.mark.parametrize("header", [" Arrival_S , duration_s", "arrival_s;duration_s"])
def test_headers_are_read_as_spreadsheets_write_them(header: str) -> None:
    """With spaces, capitals, or semicolons."""
    row = "5;2" if ";" in header else "5, 2"
    found = read_trace([header, row], service=None).traffic
    assert (list(found.arrivals_s), list(found.services_s)) == ([5.0], [2.0])


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("arrival_s,duration_s\n1,", None, "some durations are blank"),
        ("arrival_s,duration_s\nsoon,1", None, "line 2: arrival_s='soon' is no number"),
        ("arrival_s,duration_s\n1,-1", None, "line 2: duration_s='-1'"),
        ("arrival_s,duration_s\n1,nan", None, "line 2: duration_s='nan'"),
        ("arrival_s,duration_s\n", None, "no requests"),
        ("arrival_s,duration_s\n1,1", "a", "no column 'key'"),
        ("arrival_s,duration_s,key\n1,1,b", "a", "no requests of key 'a'"),
        ("arrival_s,duration_s,key\n1,1,b\n2,x,a", "a", "line 3: duration_s='x'"),
        ("arrival_s,duration_s\nnoon of Monday,1", None, "write dates as 2026-01-31T12:00:00Z"),
        ("arrival_s,duration_s\n0,1\n1e10,1", None, "days, over 400: are its times in seconds?"),
        ("time,took\n1,1", None, "duration_s, or t_s, window_s and count; it is 'time,took'"),
        ("", None, "the trace is empty"),
        ("\n\n", None, "the trace is empty"),
        ("t_s,window_s,count\n0,60,5", None, "has no durations"),
    ],
)
def test_what_cannot_be_read_is_reported(text: str, key: str | None, words: str) -> None:
    """With the line and the value."""
    with pytest.raises(ValueError) as refusal:
        read_trace(text.splitlines(), service=None, key=key)
    assert words in str(refusal.value)


def test_dates_are_moments_too() -> None:
    """A log's times as ISO 8601 writes them, with a zone or in UTC."""
    lines = ["arrival_s,duration_s", "2026-01-01T00:10:00Z,2", "2026-01-01 01:00:00+01:00,2"]
    assert list(read_trace(lines, service=None).traffic.arrivals_s) == [0.0, 600.0]


def test_milliseconds_since_1970_are_refused_even_where_the_trace_is_short() -> None:
    """Ten seconds of them were taken for nearly three hours."""
    lines = ["arrival_s,duration_s", "1767225600000,2", "1767225610000,2"]
    with pytest.raises(ValueError, match=r"line 2: arrival_s='1767225600000'.*divide by 1,000"):
        read_trace(lines, service=None)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["arrival_s,duration_s", "1,-2"], "line 2: duration_s='-2' .* 0 or more"),
        (["t_s,window_s,count", "0,60,-3"], "line 2: count='-3' .* 0 or more"),
        ([], "the trace is empty: its first line must name the columns"),
    ],
)
def test_a_refusal_says_what_would_do(lines: list[str], told: str) -> None:
    """The field, its value, and the cure."""
    with pytest.raises(ValueError, match=told):
        read_trace(lines, service=TWO_S)
