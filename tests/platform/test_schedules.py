"""When schedules happen: cron in zones whose clocks change, and AWS's expressions."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from coldspark.platform.schedule_expressions import Schedule, parse_cron, parse_schedule

BERLIN = "Europe/Berlin"
"""Springs forward on 2026-03-29 from 2:00 to 3:00, falls back on 2026-10-25 from 3:00 to 2:00."""


def ms(text: str, zone: str = BERLIN, fold: int = 0) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return round(moment.timestamp() * 1000)


def local(at_ms: int | None, zone: str = BERLIN) -> str | None:
    if at_ms is None:
        return None
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(ZoneInfo(zone))
    return moment.isoformat(timespec="minutes")


def following(schedule: Schedule, at_ms: int, count: int) -> list[str | None]:
    found: list[str | None] = []
    for _ in range(count):
        next_ms = schedule.next_after(at_ms)
        assert next_ms is not None
        found.append(local(next_ms))
        at_ms = next_ms
    return found


def test_a_time_in_the_skipped_hour_happens_right_after_the_gap() -> None:
    """2:30 does not exist on that day: 3:00 takes its place, and the next day is as ever."""
    daily = parse_cron("30 2 * * *", BERLIN)
    assert following(daily, ms("2026-03-28T12:00"), 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
    ]
    assert local(daily.previous_at_or_before(ms("2026-03-29T03:00"))) == "2026-03-29T03:00+02:00"
    before_ms = ms("2026-03-29T03:00") - 1
    assert local(daily.previous_at_or_before(before_ms)) == "2026-03-28T02:30+01:00"


def test_a_time_in_the_doubled_hour_happens_once() -> None:
    """The first time that the clocks show 2:30, also when it is asked for between the two."""
    daily = parse_cron("30 2 * * *", BERLIN)
    first, second = "2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"
    assert following(daily, ms("2026-10-24T12:00"), 2) == [first, second]
    for minute in ("02:10", "02:30", "02:50"):
        again_ms = ms(f"2026-10-25T{minute}", fold=1)
        assert local(daily.previous_at_or_before(again_ms)) == first
        assert local(daily.next_after(again_ms)) == second


def test_every_hour_counts_elapsed_time() -> None:
    """None is missing and none comes late; the doubled one comes twice."""
    hourly = parse_cron("0 * * * *", BERLIN)
    assert following(hourly, ms("2026-03-29T01:30"), 2) == [
        "2026-03-29T03:00+02:00",
        "2026-03-29T04:00+02:00",
    ]
    assert following(hourly, ms("2026-10-25T01:30"), 3) == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:00+01:00",
        "2026-10-25T03:00+01:00",
    ]


EXPRESSIONS = st.sampled_from(
    [
        "0 8 * * MON-FRI",
        "30 2 * * *",
        "0,45 1-3 * * *",
        "*/20 * * * *",
        "15 */2 * * *",
        "0 0 1 * *",
        "30 3 * * SUN#5",
        "0 12 L * *",
        "59 23 29 2 *",
    ]
)
ZONES = st.sampled_from(
    [
        "UTC",
        BERLIN,
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Casablanca",
    ]
)


@settings(max_examples=examples(150), deadline=None)
@given(
    EXPRESSIONS, ZONES, st.integers(ms("2026-01-01T00:00") // 1000, ms("2027-12-31T00:00") // 1000)
)
def test_what_comes_next_is_what_was_last_once_it_has_come(
    expression: str, zone: str, second: int
) -> None:
    """Forward and back agree, whatever the clocks do: nothing happens twice, or is left out."""
    cron = parse_cron(expression, zone)
    at_ms = second * 1000
    next_ms = cron.next_after(at_ms)
    assert next_ms is not None
    assert next_ms > at_ms
    last_ms = cron.previous_at_or_before(next_ms - 1)
    assert last_ms is not None
    assert last_ms <= at_ms
    assert cron.next_after(last_ms) == next_ms
    assert cron.previous_at_or_before(next_ms) == next_ms


@pytest.mark.parametrize(
    ("text", "comes", "came"),
    [
        ("cron(15 12 * * ? *)", "2026-03-28T12:15+01:00", "2026-03-27T12:15+01:00"),
        ("cron(0 9 ? * 2-6 *)", "2026-03-30T09:00+02:00", "2026-03-27T09:00+01:00"),
        ("cron(0 9 ? * SUN,7 *)", "2026-03-29T09:00+02:00", "2026-03-28T09:00+01:00"),
        ("cron(0 9 ? * 6L *)", "2026-04-24T09:00+02:00", "2026-03-27T09:00+01:00"),
        ("cron(0 9 ? * L *)", "2026-04-04T09:00+02:00", "2026-03-28T09:00+01:00"),
        ("cron(0 9 L * ? *)", "2026-03-31T09:00+02:00", "2026-02-28T09:00+01:00"),
        ("cron(0 9 LW * ? *)", "2026-03-31T09:00+02:00", "2026-02-27T09:00+01:00"),
        ("cron(0 9 ? * 2#1 2027/2)", "2027-01-04T09:00+01:00", None),
        ("cron(0/30 9 1 1 ? 2020-2022,2030)", "2030-01-01T09:00+01:00", "2022-01-01T09:30+01:00"),
        ("cron(0 9 1 1 ? 2020)", None, "2020-01-01T09:00+01:00"),
        ("rate(5 minutes)", "2026-03-28T12:05+01:00", "2026-03-28T12:00+01:00"),
        ("rate(1 day)", "2026-03-29T01:00+01:00", "2026-03-28T01:00+01:00"),
        ("at(2026-03-29T02:30:00)", "2026-03-29T03:00+02:00", None),
        ("at(2026-03-28T12:00:00)", None, "2026-03-28T12:00+01:00"),
    ],
)
def test_an_expression_of_aws_means_what_aws_says(
    text: str, comes: str | None, came: str | None
) -> None:
    """Sunday is 1, ``?`` is any day, a year may be named; times are of the zone."""
    schedule = parse_schedule(text, BERLIN)
    now_ms = ms("2026-03-28T12:00")
    assert local(schedule.next_after(now_ms)) == comes
    assert local(schedule.previous_at_or_before(now_ms)) == came


def test_a_rate_counts_from_its_beginning() -> None:
    """It happens first when it begins."""
    rate = parse_schedule("rate(2 hours)", since_ms=1_000)
    assert rate.previous_at_or_before(999) is None
    assert rate.next_after(0) == 1_000
    assert rate.next_after(1_000) == 7_201_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("every day", "must be at"),
        ("at(2026)", "must be at"),
        ("rate(0 minutes)", "must be such as rate"),
        ("rate(1 minutes)", r"write rate\(1 minute\)"),
        ("rate(2 minute)", r"write rate\(2 minutes\)"),
        ("cron(15 12 * * ?)", "has 5 fields"),
        ("cron(15 12 * * * *)", r"write \? for the day of the month or for the day of the week"),
        ("cron(15 12 ? * ? *)", "for one of them only"),
        ("cron(15 12 15W * ? *)", r"nearest weekday \(15W\) is not supported"),
        ("cron(0 9 ? * 0 *)", "day of the week '0' must be 1-7"),
        ("cron(0 9 ? * #2 *)", "day of the week '' must be 1-7"),
        ("cron(0 25 * * ? *)", "the hour cannot be read"),
        ("cron(0 9 31 2 ? *)", "the day-of-month cannot be read"),
        ("cron(0 9 * * ? 1969)", "must lie in 1970-2199"),
        ("cron(0 9 * * ? soon)", "must be such as 2030"),
    ],
)
def test_an_expression_of_aws_that_cannot_be_is_refused(text: str, said: str) -> None:
    """The message names what is wrong and how to write it."""
    with pytest.raises(ValueError, match=said):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("expression", "zone", "said"),
    [
        ("0 8 * *", "UTC", "has 4 fields"),
        ("0 0 8 * * *", "UTC", "has 6 fields"),
        ("0 25 * * *", "UTC", "the hour cannot be read"),
        ("0 0 30 2 *", "UTC", "the day-of-month cannot be read"),
        ("0 8 * * FRI-MON", "UTC", "the day-of-week cannot be read"),
        ("0 8 * * *", "Europe/Berln", "did you mean 'Europe/Berlin'"),
        ("0 8 * * *", "../etc/passwd", "is not known"),
        ("0 8 * * *", "Europe", "is not known"),
    ],
)
def test_a_cron_or_a_zone_that_cannot_be_is_refused(expression: str, zone: str, said: str) -> None:
    """The message names field and value."""
    with pytest.raises(ValueError, match=said):
        parse_cron(expression, zone)


def test_an_hour_that_begins_in_its_middle_is_not_stepped_over() -> None:
    """On Lord Howe 2:00 becomes 1:30 on 5 April 2026: a quarter past two comes all the same."""
    cron = parse_cron("15 */2 * * *", "Australia/Lord_Howe")
    assert cron.next_after(ms("2026-04-04T13:15", "UTC")) == ms("2026-04-04T15:45", "UTC")
    assert cron.next_after(ms("2026-04-04T15:45", "UTC")) == ms("2026-04-04T17:45", "UTC")
