"""When something happens: cron expressions, and ``at``, ``rate`` and ``cron`` with a year.

Moments are milliseconds since the epoch; nothing here reads a clock. Where a zone's clocks change:

- a time of the day that is skipped happens at the first moment after the gap
- a time of the day that comes twice happens the first time only
- an expression whose minute or hour begins with ``*`` counts elapsed time: it happens in every hour
  that is there, so twice in a doubled one

Cron itself is evaluated by ``cronsim``, which follows Debian's; it is loaded when one is read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Protocol

from coldspark.spec.strict_keys import nearest_name

if TYPE_CHECKING:
    from cronsim import CronSim

_SLACK = timedelta(hours=3)
"""No zone's clocks change by more; local times within it may come in another order."""
_HAPPENINGS_MAX = 1_000
"""So many are looked at; those of a minute within the slack are 360."""
_EXPRESSION = re.compile(r"\s*(at|rate|cron)\s*\(\s*(.*?)\s*\)\s*", re.DOTALL)
_UNITS_MS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_YEARS = range(1970, 2200)
_DAYS_OF_WEEK = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class Schedule(Protocol):
    """Moments that follow from an expression."""

    def next_after(self, ms: int) -> int | None:
        """Return the first one after a moment; None: there is none."""

    def previous_at_or_before(self, ms: int) -> int | None:
        """Return the last one until a moment, itself included; None: there is none."""


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its IANA name. Raises ValueError."""
    from zoneinfo import ZoneInfo, available_timezones

    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        near = nearest_name(name, available_timezones())
        cure = f"did you mean {near!r}?" if near else "write a name such as Europe/Berlin or UTC"
        raise ValueError(f"time_zone={name!r} is not known: {cure}") from None


@dataclass(frozen=True, slots=True)
class AtSchedule:
    """Once."""

    at_ms: int

    def next_after(self, ms: int) -> int | None:
        """Return the moment while it is to come."""
        return self.at_ms if self.at_ms > ms else None

    def previous_at_or_before(self, ms: int) -> int | None:
        """Return the moment once it has come."""
        return self.at_ms if self.at_ms <= ms else None


@dataclass(frozen=True, slots=True)
class RateSchedule:
    """Every so often, for the first time at ``since_ms``."""

    every_ms: int
    since_ms: int

    def next_after(self, ms: int) -> int:
        """Return the first one after a moment."""
        if ms < self.since_ms:
            return self.since_ms
        return self.since_ms + ((ms - self.since_ms) // self.every_ms + 1) * self.every_ms

    def previous_at_or_before(self, ms: int) -> int | None:
        """Return the last one until a moment."""
        if ms < self.since_ms:
            return None
        return self.since_ms + (ms - self.since_ms) // self.every_ms * self.every_ms


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """Five fields in a zone, and the years in which they count (None: all)."""

    expression: str
    zone: tzinfo
    years: frozenset[int] | None = None

    def next_after(self, ms: int) -> int | None:
        """Return the first one after a moment; None: within 50 years there is none."""
        found = next((at for at in self._run(ms, is_back=False) if at > ms), None)
        # Forwards an hour is stepped over whose beginning the clocks leave out: on Lord Howe they
        # go back by half of one. Backwards every minute of it is seen.
        while found is not None:
            earlier = self.previous_at_or_before(found - 1)
            if earlier is None or earlier <= ms:
                break
            found = earlier
        return found

    def previous_at_or_before(self, ms: int) -> int | None:
        """Return the last one until a moment; None: within 50 years there was none."""
        return next((at for at in self._run(ms, is_back=True) if at <= ms), None)

    def _run(self, ms: int, *, is_back: bool) -> Iterator[int]:
        """Yield moments from a little on the other side of ``ms`` on.

        By local time alone, a moment in a doubled hour may seem to lie behind when it is ahead.
        """
        moment: datetime | None = _moment(ms, self.zone)
        assert moment is not None
        moment = _shifted(moment, _SLACK if is_back else -_SLACK)
        for _ in range(_HAPPENINGS_MAX):
            run = _cronsim(self.expression, moment, is_back=is_back)
            for found in run:
                if self.years is not None and found.year not in self.years:
                    moment = self._in_a_year(found.year, is_back=is_back)
                    break
                yield _ms(found)
            else:
                return
            if moment is None:
                return

    def _in_a_year(self, year: int, *, is_back: bool) -> datetime | None:
        """Return the edge of the next of the years, from which on to look."""
        years = self.years or frozenset()
        if is_back:
            before = max((each for each in years if each < year), default=None)
            return None if before is None else datetime(before + 1, 1, 1, tzinfo=self.zone)
        after = min((each for each in years if each > year), default=None)
        edge = None if after is None else datetime(after, 1, 1, tzinfo=self.zone)
        return None if edge is None else _shifted(edge, timedelta(minutes=-1))


def parse_cron(expression: str, time_zone: str = "UTC") -> CronSchedule:
    """Read five fields: minute, hour, day of the month, month, day of the week (0-7, SUN-SAT).

    Raises ValueError with what is wrong and how to write it.
    """
    count = len(expression.split())
    if count != 5:
        raise ValueError(
            f"cron={expression!r} has {count} fields: write minute, hour, day of the month,"
            " month and day of the week, such as '0 8 * * MON-FRI'"
        )
    return _checked(CronSchedule(" ".join(expression.split()), zone_of(time_zone)), expression)


def parse_schedule(text: str, time_zone: str = "UTC", *, since_ms: int = 0) -> Schedule:
    """Read a schedule expression: ``at(…)``, ``rate(…)`` or ``cron(…)`` of six fields.

    ``since_ms`` is when a rate begins. Raises ValueError.
    """
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"schedule {text!r} must be at(yyyy-mm-ddThh:mm:ss), rate(5 minutes)"
            " or cron(15 12 * * ? *)"
        )
    kind, inner = match[1], match[2]
    if kind == "rate":
        return _rate(text, inner, since_ms)
    zone = zone_of(time_zone)
    return _at(text, inner, zone) if kind == "at" else _year_cron(text, inner, zone)


def _at(text: str, inner: str, zone: tzinfo) -> AtSchedule:
    try:
        moment = datetime.strptime(inner, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone)
    except ValueError:
        raise ValueError(f"schedule {text!r} must be at(yyyy-mm-ddThh:mm:ss)") from None
    # A time of the day that is skipped is read as if the clocks had not changed: the gap later.
    found = _moment(_ms(moment), zone)
    if found.replace(tzinfo=None) != moment.replace(tzinfo=None):
        return AtSchedule(_after_gap_ms(moment))
    return AtSchedule(_ms(moment))


def _after_gap_ms(moment: datetime) -> int:
    """Return the first moment after the gap that a local time lies in."""
    low, high = _ms(moment.replace(fold=1)), _ms(moment.replace(fold=0))
    before = _moment(low, moment.tzinfo).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if _moment(middle, moment.tzinfo).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def _rate(text: str, inner: str, since_ms: int) -> RateSchedule:
    match = re.fullmatch(r"(\d{1,9})\s+(minute|hour|day)(s?)", inner)
    if match is None or int(match[1]) < 1:
        raise ValueError(f"schedule {text!r} must be such as rate(1 hour) or rate(5 minutes)")
    if (int(match[1]) == 1) == bool(match[3]):
        unit = match[2] if int(match[1]) == 1 else f"{match[2]}s"
        raise ValueError(f"schedule {text!r}: write rate({int(match[1])} {unit})")
    return RateSchedule(int(match[1]) * _UNITS_MS[match[2]], since_ms)


def _year_cron(text: str, inner: str, zone: tzinfo) -> CronSchedule:
    fields = inner.upper().split()
    if len(fields) != 6:
        raise ValueError(
            f"schedule {text!r} has {len(fields)} fields: write minute, hour, day of the month,"
            " month, day of the week and year, such as cron(15 12 * * ? *)"
        )
    minute, hour, day, month, weekday, year = fields
    if (day == "?") == (weekday == "?"):
        raise ValueError(
            f"schedule {text!r}: write ? for the day of the month or for the day of the week,"
            " and for one of them only"
        )
    if "W" in day and day != "LW":
        raise ValueError(
            f"schedule {text!r}: the nearest weekday ({day}) is not supported; LW and"
            " days of the week are, such as cron(15 12 ? * MON-FRI *)"
        )
    try:
        days = "*" if weekday == "?" else ",".join(map(_weekdays, weekday.split(",")))
        years = None if year == "*" else _years(year)
    except ValueError as error:
        raise ValueError(f"schedule {text!r}: {error}") from None
    expression = " ".join([minute, hour, "*" if day == "?" else day, month, days])
    return _checked(CronSchedule(expression, zone, years), text)


def _weekdays(term: str) -> str:
    """Return a term of days of the week, 1-7 from Sunday on, as cron's, 0-6."""
    if term in ("*", "L"):
        return "6" if term == "L" else term
    head, mark, tail = re.fullmatch(r"([^#/]*)([#/]?)(.*)", term, re.DOTALL).groups()  # type: ignore[union-attr]
    last = "L" if head.endswith("L") else ""
    ends = [_weekday(each) if each != "*" else each for each in head.removesuffix("L").split("-")]
    return f"{'-'.join(ends)}{last}{mark}{tail}"


def _weekday(word: str) -> str:
    if word in _DAYS_OF_WEEK:
        return str(_DAYS_OF_WEEK.index(word))
    if not re.fullmatch("[1-7]", word):
        raise ValueError(f"day of the week {word!r} must be 1-7 or SUN-SAT")
    return str(int(word) - 1)


def _years(text: str) -> frozenset[int]:
    """Read years: numbers, ranges, steps, commas."""
    found: set[int] = set()
    for term in text.split(","):
        match = re.fullmatch(r"(?:(\d{4})(?:-(\d{4}))?|\*)(?:/(\d{1,3}))?", term)
        if match is None or match[3] in ("0", "00", "000"):
            raise ValueError(f"year {term!r} must be such as 2030, 2030-2035 or 2030/2")
        first = int(match[1] or _YEARS[0])
        last = int(match[2]) if match[2] else (_YEARS[-1] if match[3] else first)
        if first not in _YEARS or last not in _YEARS or last < first:
            raise ValueError(f"year {term!r} must lie in {_YEARS[0]}-{_YEARS[-1]}, the first first")
        found.update(range(first, last + 1, int(match[3] or 1)))
    return frozenset(found)


def _checked(cron: CronSchedule, written: str) -> CronSchedule:
    """Return an expression that can be read, and that names a time that there is."""
    from cronsim import CronSimError

    try:
        run = _cronsim(cron.expression, datetime(2000, 1, 1, tzinfo=UTC), is_back=False)
        found = next(run, None)
    except (CronSimError, ValueError, AssertionError) as error:
        what = str(error).removeprefix("Bad ") or "expression"
        raise ValueError(
            f"cron={written!r}: the {what} cannot be read; write such as '0 8 * * MON-FRI'"
        ) from None
    if found is None:
        raise ValueError(f"cron={written!r} names no time: there is no such day in 50 years")
    return cron


def _cronsim(expression: str, moment: datetime, *, is_back: bool) -> "CronSim":
    from cronsim import CronSim

    return CronSim(expression, moment, reverse=is_back)


def _moment(ms: int, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC).astimezone(zone)


def _shifted(moment: datetime, by: timedelta) -> datetime:
    """Return a moment so much elapsed time away, in its own zone."""
    return (moment.astimezone(UTC) + by).astimezone(moment.tzinfo)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
