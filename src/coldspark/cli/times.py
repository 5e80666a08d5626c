"""Times as people read them: the local clock, and how long ago."""

from coldspark import clock
from coldspark.errors import InvalidRequest
from coldspark.spec.units import format_duration, parse_duration


def clock_time(at_ms: int | None) -> str | None:
    """Write milliseconds since the epoch as local date and time."""
    if at_ms is None:
        return None
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(at_ms / 1000, tz=UTC).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03d}"


def minute_time(at_ms: int) -> str:
    """Write milliseconds since the epoch as local date and time, to the minute."""
    return (clock_time(at_ms) or "")[: len("2026-11-01 08:00")]


def age(at_ms: int | None) -> str | None:
    """Write how long ago something was."""
    if at_ms is None:
        return None
    return f"{format_duration(max(0.0, (clock.wall_ms() - at_ms) / 1000))} ago"


def parse_time_ms(text: str | None) -> int | None:
    """Read ``2026-11-01``, ``2026-11-01T08:00``, or how far back (``24h``, ``7d``).

    A date without a zone is local. Raises InvalidRequest.
    """
    if text is None:
        return None
    from datetime import datetime

    try:
        return clock.wall_ms() - round(parse_duration(text) * 1000)
    except ValueError:
        pass
    try:
        return round(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except ValueError:
        raise InvalidRequest(
            f"moment {text!r} is not understood: write such as 2026-11-01, 24h or 7d"
        ) from None
